"""A ledger served to clients: as processes of its own, or by this process's threads where that is enough."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.core.wsgi import get_wsgi_application

from ledger.models import Checkpoint, Guard, Log, Organisation, Role
from ledger.services.projections import project_search
from tests.people import ALL_SCOPES, People, person

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ledger.checkpointer import Checkpointer

PROJECT = Path(__file__).resolve().parent.parent
READY_S = 60
TURN_S = 0.2


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


class Processes:
    """Web server and checkpointer; the web server can be killed and started again."""

    def __init__(self, surroundings: Mapping[str, str]) -> None:
        self.url = f"http://127.0.0.1:{surroundings['ECP_PORT']}"
        self.surroundings = surroundings
        self._log = Path(surroundings["ECP_HOME"]) / "processes.log"
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        commands = {
            "web": ["-m", "gunicorn", "ecp_project.wsgi:application",
                    "--config", "python:ecp_project.gunicorn_conf"],
            "checkpointer": ["manage.py", "ledger_checkpointer"],
        }  # fmt: skip
        with self._log.open("ab") as told:
            self._running[name] = subprocess.Popen(  # noqa: S603 - ours
                [sys.executable, *commands[name]], cwd=PROJECT, env=dict(self.surroundings),
                stdout=told, stderr=told, start_new_session=True,
            )  # fmt: skip
        if name == "web":
            await_ready(self.url, self._log)

    def kill(self, name: str) -> None:
        """SIGKILL to the process and its children, as a machine that loses power would end them."""
        process = self._running.pop(name)
        os.killpg(process.pid, 9)
        process.wait(30)

    def stop(self) -> None:
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            process.wait(30)


@pytest.fixture
def processes(committed_db: str, server_environment: Mapping[str, str]) -> Iterator[Processes]:
    del committed_db
    # Coverage is measured where tests ask the code itself; in each of these processes it costs seconds.
    outside = ("ECP_", "DJANGO_", "COVERAGE_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(outside)}
    surroundings = kept | dict(server_environment) | {
        "ECP_PORT": str(free_port()), "ECP_WEB_PROCESSES": "1", "ECP_METRICS_PORT": "0",
        "ECP_COMMIT": "unknown",
    }  # fmt: skip
    manage(surroundings, "ledger_keygen")
    found = Processes(surroundings)
    try:
        found.start("checkpointer")
        found.start("web")
        yield found
    finally:
        found.stop()


@pytest.fixture
def served(processes: Processes) -> dict[str, str]:
    """Environment of a shell whose `$URL` answers; web server and checkpointer are real processes."""
    return dict(processes.surroundings) | {"URL": processes.url}


def manage(surroundings: Mapping[str, str], *arguments: str) -> str:
    done = subprocess.run(  # noqa: S603 - ours
        [sys.executable, "manage.py", *arguments], cwd=PROJECT, env=surroundings, check=False,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def settle(surroundings: Mapping[str, str], slug: str) -> dict[str, str]:
    """Make what `make run` and a first visit to the console make: organisation, agent, API key, a person."""
    manage(surroundings, "org_create", slug, "--title", slug.title())
    await_open(slug)
    manage(surroundings, "agent_create", "pricing-bot", "--org", slug, "--title", "Shelf prices")
    scopes = ",".join(ALL_SCOPES)
    issued = manage(
        surroundings, "apikey_create", "--org", slug, "--agent", "pricing-bot", "--scopes", scopes, "--json"
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


# --- in this process


class _Handler(WSGIRequestHandler):
    def log_message(self, *_: object) -> None: ...


@dataclass(frozen=True, slots=True)
class Address:
    """Where the ledger of `people` answers; `key` is that of Ada's agent `pricing-bot`."""

    url: str
    key: str
    people: People


@pytest.fixture
def answering(people: People, checkpointer: Checkpointer) -> Iterator[Address]:
    """The ledger of `people` over HTTP, by threads of this process, with a checkpoint five times a second."""
    server = ThreadedWSGIServer(("127.0.0.1", 0), _Handler)
    server.set_app(get_wsgi_application())
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    over = threading.Event()

    def sign() -> None:
        while not over.wait(TURN_S):
            checkpointer.turn()

    signing = threading.Thread(target=sign)
    serving.start()
    signing.start()
    try:
        yield Address(f"http://127.0.0.1:{server.server_port}", people.ada_agent.key, people)
    finally:
        over.set()
        signing.join()
        server.shutdown()
        serving.join()
        server.server_close()
