"""Without the app nothing of it is left: no address, task, statement kind or import."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.shared import PROJECT

pytestmark = pytest.mark.unit
LOOK = """
import json, sys, django
django.setup()
from django.core.management import call_command
from django.urls import Resolver404, resolve
from ecp_project.celery import app
from ledger.core.statement import registered
app.loader.import_default_modules()
call_command("check")
try:
    view = resolve("/api/v1/polls/").func
    found = getattr(view, "cls", view).__name__
except Resolver404:
    found = "404"
print(json.dumps({
    "view": found,
    "tasks": [name for name in app.tasks if name.startswith("polls.")],
    "beat": [name for name in app.conf.beat_schedule if name.startswith("polls.")],
    "kinds": [kind.v for kind in registered() if "poll" in kind.v],
    "modules": [name for name in sys.modules if name.startswith("advisory.polls")],
}))
"""


def looked(polls: str) -> dict[str, object]:
    done = subprocess.run(  # noqa: S603 - our own lines
        [sys.executable, "-c", LOOK],
        cwd=PROJECT, capture_output=True, text=True, check=False,
        env=os.environ | {"ECP_POLLS": polls, "DJANGO_SETTINGS_MODULE": "ecp_project.settings.test"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_without_the_app_nothing_of_it_is_left() -> None:
    assert looked("0") == {"view": "unknown_route", "tasks": [], "beat": [], "kinds": [], "modules": []}


def test_with_the_app_it_is_all_there() -> None:
    found = looked("1")
    assert found["view"] == "PollList"
    assert len(list(found["beat"])) == 6  # type: ignore[call-overload]  # a list of names
    assert len(list(found["kinds"])) == 4  # type: ignore[call-overload]  # as above
