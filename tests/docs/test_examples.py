"""The examples of the documents run as they stand, against a served ledger with a running checkpointer."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ledger.models import Checkpoint, Guard, Log, Organisation, Role
from ledger.services.projections import project_search
from tests.docs.documents import PROJECT
from tests.docs.shell import Shell, has_curl
from tests.people import ALL_SCOPES, person

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

pytestmark = pytest.mark.e2e
READY_S = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def await_ready(url: str, log: Path) -> None:
    deadline = time.monotonic() + READY_S
    while True:
        try:
            with urllib.request.urlopen(f"{url}/readyz", timeout=5):  # noqa: S310 - http, ours
                return
        except OSError as error:
            if time.monotonic() > deadline:
                raise AssertionError(log.read_text(encoding="utf-8")[-2000:]) from error
            time.sleep(0.2)


@pytest.fixture
def served(committed_db: str, server_environment: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Environment of a shell whose `$URL` answers; web server and checkpointer are real processes."""
    del committed_db
    port = free_port()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ECP_", "DJANGO_"))}
    surroundings = kept | dict(server_environment) | {
        "ECP_PORT": str(port), "ECP_WEB_PROCESSES": "1", "ECP_METRICS_PORT": "0", "ECP_COMMIT": "unknown",
    }  # fmt: skip
    manage = [sys.executable, "manage.py"]
    subprocess.run([*manage, "ledger_keygen"], cwd=PROJECT, env=surroundings, check=True, capture_output=True)  # noqa: S603 - ours
    web = [sys.executable, "-m", "gunicorn", "ecp_project.wsgi:application",
           "--config", "python:ecp_project.gunicorn_conf"]  # fmt: skip
    log = Path(surroundings["ECP_HOME"]) / "processes.log"
    with log.open("wb") as told:
        processes = [
            subprocess.Popen(command, cwd=PROJECT, env=surroundings, stdout=told, stderr=told)  # noqa: S603 - ours
            for command in (web, [*manage, "ledger_checkpointer"])
        ]
    try:
        url = f"http://127.0.0.1:{port}"
        await_ready(url, log)
        yield surroundings | {"URL": url}
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(30)


def settle(surroundings: Mapping[str, str], slug: str) -> dict[str, str]:
    """Make what `make run` and a first visit to the console make: organisation, agent, API key, a person."""

    def manage(*arguments: str) -> str:
        done = subprocess.run(  # noqa: S603 - ours
            [sys.executable, "manage.py", *arguments], cwd=PROJECT, env=surroundings, check=False,
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    manage("org_create", slug, "--title", slug.title())
    await_open(slug)
    manage("agent_create", "pricing-bot", "--org", slug, "--title", "Shelf prices")
    issued = manage(
        "apikey_create", "--org", slug, "--agent", "pricing-bot", "--scopes", ",".join(ALL_SCOPES), "--json"
    )
    ada = person("ada", Organisation.objects.get(slug=slug), Role.OPERATOR)
    password = secrets.token_urlsafe(18)
    ada.set_password(password)
    ada.save(update_fields=["password"])
    return {"KEY": json.loads(issued)["key"], "PASSWORD": password}


def await_open(slug: str) -> None:
    """A new log takes entries once the checkpointer has looked at it."""
    deadline = time.monotonic() + READY_S
    while not Guard.objects.filter(log__slug=slug).exists():
        assert time.monotonic() < deadline, "the checkpointer does not look at the log"
        time.sleep(0.1)


def come_to_rest() -> None:
    """Between two examples a reader takes seconds: the log gets signed, and the worker projects it."""
    deadline = time.monotonic() + READY_S
    for log in Log.objects.select_related("head"):
        while not Checkpoint.objects.filter(log=log, size__gte=log.head.size).exists() and log.head.size:
            assert time.monotonic() < deadline, f"{log} is not signed"
            time.sleep(0.05)
        while project_search(log_id=log.id):
            pass


@pytest.mark.skipif(not has_curl(), reason="curl is not installed")
@pytest.mark.parametrize(
    ("name", "organisation"), [("README.md", "northwind-retail"), ("docs/API.md", "acme")]
)
def test_examples_run_and_print_what_the_document_shows(
    served: dict[str, str], settings: Any, tmp_path: Path, name: str, organisation: str
) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]  # as the server's
    folder = tmp_path / "checkout"
    folder.mkdir()
    surroundings = served | settle(served, organisation)
    Shell(folder, surroundings, come_to_rest).run(PROJECT / name)
