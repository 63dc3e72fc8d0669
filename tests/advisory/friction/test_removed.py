"""Left out by `ECP_FRICTION=0`, friction leaves nothing behind, and the ledger reads what it once said."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.shared import PROJECT

pytestmark = pytest.mark.unit

PROBE = """
import sys
import django
django.setup()
from django.apps import apps
from django.core.management import get_commands
from django.urls import resolve
from ecp_project.celery import app
from ledger.core.statement import registered
from ledger.services.projections import _said
app.loader.import_default_modules()
assert not apps.is_installed("advisory.friction")
assert not [name for name in sys.modules if name.startswith("advisory.friction")], "imported"
assert not [name for name in get_commands() if name.startswith("friction_")], "commands"
assert not [name for name in app.tasks if name.startswith("friction.")], "tasks"
assert not [kind.v for kind in registered() if "friction" in kind.v], "kinds"
assert resolve("/api/v1/friction/advice/").func.__name__ == "unknown_route"
assert _said({"v": "ecp.friction.bypass/1", "decision_id": "x"}).bypassed is None
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"ECP_FRICTION": "0", "DJANGO_SETTINGS_MODULE": "ecp_project.settings.test"}
    return subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, *arguments],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_nothing_of_it_is_loaded() -> None:
    done = run("-c", PROBE)
    assert done.returncode == 0, done.stderr


def test_the_installation_is_sound_without_it() -> None:
    done = run("manage.py", "check")
    assert done.returncode == 0, done.stderr
