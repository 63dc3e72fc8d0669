"""Web processes share kept connections evenly, also after one was replaced; threads stay with clients."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.installation import until
from tests.served import PROJECT, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CONNECTIONS, THREADS = 24, 4
PATIENCE_S = 30


@pytest.fixture
def port(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[int]:
    """Web processes with the product's own configuration: two, or as many as asked for."""
    port = free_port()
    surroundings = os.environ | {
        "ECP_PORT": str(port), "ECP_WEB_PROCESSES": str(getattr(request, "param", 2)),
        "ECP_WEB_THREADS": str(THREADS), "ECP_METRICS_PORT": "0",
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics"),
    }  # fmt: skip
    command = [sys.executable, "-m", "gunicorn", "tests.project.which_process:application",
               "--config", "python:ecp_project.gunicorn_conf"]  # fmt: skip
    server = subprocess.Popen(command, cwd=PROJECT, env=surroundings)  # noqa: S603 - ours
    try:
        yield port
    finally:
        server.kill()  # its workers notice that they lost their parent
        server.wait()


class Kept:
    """A client that keeps its connection, and opens another when the server ends it."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)

    def ask(self, path: str = "/") -> int:
        """Number of the process that answers, or of its thread."""
        for _ in range(2):
            try:
                self.connection.request("GET", path)
                return int(self.connection.getresponse().read())
            except (OSError, http.client.HTTPException):
                self.connection.close()  # a process that was killed ended it; the next request opens another
        return -1


def _spread(clients: list[Kept], is_good: Callable[[Counter[int]], bool]) -> Counter[int]:
    """How many connections each process answers, asked until it is good or patience ends."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = Counter(client.ask() for client in clients)
        if is_good(found) or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


@pytest.fixture
def clients(port: int) -> Iterator[list[Kept]]:
    clients = [Kept(port) for _ in range(CONNECTIONS)]
    yield clients
    for client in clients:
        client.connection.close()


@pytest.mark.unit
def test_kept_connections_fall_evenly_on_processes(clients: list[Kept]) -> None:
    def is_even(found: Counter[int]) -> bool:
        return -1 not in found and len(found) == 2 and min(found.values()) >= CONNECTIONS // 3

    spread = _spread(clients, is_even)
    assert is_even(spread), spread
    killed = next(iter(spread))
    os.kill(killed, signal.SIGKILL)
    spread = _spread(clients, lambda found: killed not in found and is_even(found))
    assert killed not in spread
    assert is_even(spread), spread


@pytest.mark.unit
@pytest.mark.parametrize("port", [1], indirect=True)
def test_a_thread_stays_with_its_client_and_nobody_waits_for_that(port: int) -> None:
    first = Kept(port)
    until(lambda: first.ask() != -1)
    first.connection.close()
    stopping = threading.Event()
    busy, found = [Kept(port) for _ in range(THREADS)], [Counter[int]() for _ in range(THREADS)]

    def go_on(number: int) -> None:
        while not stopping.is_set():
            found[number][busy[number].ask("/thread")] += 1

    threads = [threading.Thread(target=go_on, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()

    def has_one_of_its_own() -> bool:
        mostly = [one.most_common(1)[0] for one in found if one.total() > 200]
        shares = [count / one.total() for (_, count), one in zip(mostly, found, strict=False)]
        return len({thread for thread, _ in mostly}) == THREADS and min(shares) > 0.8

    until(has_one_of_its_own)
    newcomers = [Kept(port) for _ in range(THREADS)]
    started = time.monotonic()
    assert -1 not in {client.ask() for client in newcomers}
    waited = time.monotonic() - started
    stopping.set()
    for thread in threads:
        thread.join()
    for client in (*busy, *newcomers):
        client.connection.close()
    assert waited < 2  # and not until a client pauses, which these never do
    assert all(-1 not in one for one in found)
