"""What a running installation shows of itself: ports of its processes, one request through all log files.

Steps of the story in tests/platform/test_launcher.py, since an installation of their own costs half a minute.
"""

from __future__ import annotations

import json
import re
import time
import urllib.request
from datetime import datetime
from typing import TYPE_CHECKING, Any

import psycopg

from ecp_project.launcher import _ports_free
from tests.installation import free_port, until

if TYPE_CHECKING:
    from tests.installation import Installation

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CANARY = "ecp_celery_canary_last_success_timestamp_seconds", ""
# What psycopg and Django call a connection that is gone, or a server that is on its way down or up.
LOST = {"OperationalError", "InterfaceError", "AdminShutdown", "CrashShutdown", "CannotConnectNow"}
SOME_TASKS_S, FEW_SESSIONS = 6, 5
SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


def metrics_port() -> int:
    """The first of free ports for all that have numbers to show."""
    return next(port for port in iter(free_port, 0) if _ports_free(port, 4))


def ports(installation: Installation) -> tuple[int, int, int]:
    """Of the web process, the worker and the checkpointer."""
    first = int(installation.surroundings["ECP_METRICS_PORT"])
    return first, first + 1, first + 2


def ask(port: int, path: str = "/metrics") -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        text: str = answer.read().decode()
        return text


def samples(port: int) -> dict[tuple[str, str], float]:
    return {(name, labels): float(value) for name, labels, value in SAMPLE.findall(ask(port))}


def stored(shown: dict[tuple[str, str], float]) -> float:
    """Entries of all kinds."""
    return sum(
        value for (name, labels), value in shown.items() if name == "ecp_ledger_entries_total" and labels
    )


def record(installation: Installation, told: str) -> dict[str, Any]:
    key = re.search(r"API key +(\S+)", told)
    document = re.search(r"-d '(.*)'", told)
    assert key is not None
    assert document is not None
    request = urllib.request.Request(
        f"http://127.0.0.1:{installation.port}/api/v1/decisions/",
        document[1].encode(),
        {
            "Authorization": f"Bearer {key[1]}",
            "Content-Type": "application/json",
            "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01",
        },
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - loopback
        found: dict[str, Any] = json.load(answer)
        return found


def each_process_shows_its_own_numbers_and_a_request_its_trace(installation: Installation, told: str) -> None:
    web, worker, checkpointer = ports(installation)
    before = samples(web)  # the sample agent has decided a little already
    log = record(installation, told)["log"].rpartition("/")[2]

    shown = samples(web)
    assert stored(shown) == stored(before) + 1
    assert shown["ecp_ledger_mode", 'mode="active"'] == 1
    single = "ecp_ledger_append_seconds_count", 'path="single"'
    assert shown[single] == before.get(single, 0) + 1
    assert not any(name.startswith("ecp_celery") for name, _ in shown)

    assert ask(worker, "/livez") == ask(checkpointer, "/livez") == "ok"
    assert samples(worker)["ecp_celery_queue_depth", 'queue="default"'] >= 0

    def is_signed() -> bool:
        now = samples(checkpointer)
        label = f'log="{log}"'
        return now["ecp_ledger_checkpoint_size", label] == now["ecp_ledger_size", label] > 0

    until(is_signed)
    lines = [json.loads(line) for line in (installation.home / "logs" / "web.log").read_text().splitlines()]
    (line,) = [line for line in lines if line.get("trace_id") == TRACE]
    assert (line["event"], line["logger"], line["status"]) == ("request", "ecp.request", 201)


def worker_does_quietly_what_beat_sends(
    installation: Installation, *, without_database: tuple[datetime, datetime]
) -> None:
    """The first task comes half a minute after the first start, so ask when nothing else is left to do."""
    _web, worker, _checkpointer = ports(installation)

    def is_done() -> bool:
        try:
            return abs(time.time() - samples(worker).get(CANARY, 0)) < 60
        except OSError:  # a worker that was just started shows nothing yet
            return False

    until(is_done, 60)
    began, ended = without_database
    for line in worker_lines(installation):
        if line.get("logger") == "celery.app.trace":  # only what a task lost with the database may be told
            assert began <= datetime.fromisoformat(line["ts"]) <= ended, line
            assert LOST & causes(line["exception"]), line


def tasks_share_sessions(installation: Installation) -> None:
    """Beat sends a dozen tasks meanwhile; ended with each of them, sessions would be twice as many."""
    servers = json.loads((installation.home / "state" / "servers.json").read_text(encoding="utf-8"))
    asked = "SELECT sessions FROM pg_stat_database WHERE datname = current_database()"
    with psycopg.connect(servers["DATABASE_URL_MIGRATOR"], autocommit=True) as watcher:
        counts = []
        for pause in (SOME_TASKS_S, 0):
            (sessions,) = watcher.execute(asked).fetchone() or (0,)
            counts.append(sessions)
            time.sleep(pause)
    assert counts[1] - counts[0] < FEW_SESSIONS, counts


def causes(exception: dict[str, Any]) -> set[str]:
    """Types of an exception and of all that it came from."""
    return {exception["type"]} | (causes(exception["cause"]) if "cause" in exception else set())


def worker_lines(installation: Installation) -> list[dict[str, Any]]:
    text = (installation.home / "logs" / "worker.log").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]
