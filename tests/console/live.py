"""A stream process for tests: the same application under the same server, in a thread."""

from __future__ import annotations

import http.client
import json
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlencode, urlsplit

import pytest
import uvicorn

from ecp_project.console.management.commands.console_stream import Server, bound
from ecp_project.console.sse import Pace
from ecp_project.console.stream import StreamApplication

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.test import Client

PATIENCE_S = 10


class Told:
    """One open stream, read event by event."""

    def __init__(
        self, address: str, *, cookie: str = "", path: str = "/console/stream/", **headers: str
    ) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=PATIENCE_S)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        self._connection.request("GET", path, headers=given | ({"Cookie": cookie} if cookie else {}))
        self.answer = self._connection.getresponse()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def status(self) -> int:
        return self.answer.status

    def problem(self) -> dict[str, Any]:
        assert self.answer.getheader("Content-Type") == "application/problem+json"
        document: dict[str, Any] = json.loads(self.answer.read())
        return document

    def next(self) -> tuple[str, dict[str, Any]]:
        """Name and data of the next event; comments and the rest are passed over."""
        name = ""
        while line := self.answer.readline().decode():
            field, _, value = line.strip().partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                return name, json.loads(value)
        return "", {}

    def until(self, wanted: str) -> dict[str, Any]:
        while True:
            name, data = self.next()
            assert name, f"the stream ended without {wanted}"
            if name == wanted:
                return data

    def close(self) -> None:
        self.answer.close()
        self._connection.close()


class Live:
    def __init__(self, address: str, application: StreamApplication) -> None:
        self.address = address
        self.application = application

    def open(
        self, browser: Client | None = None, *, path: str = "", headers: Any = None, query: Any = None
    ) -> Told:
        """Open a stream with the session of a test's browser."""
        cookies = browser.cookies.items() if browser else ()
        cookie = "; ".join(f"{name}={morsel.value}" for name, morsel in cookies)
        path = path or "/console/stream/" + (f"?{urlencode(query)}" if query else "")
        return Told(self.address, cookie=cookie, path=path, **(headers or {}))

    def until(self, clients: int) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while len(self.application.hub) != clients:
            assert time.monotonic() < deadline, f"{len(self.application.hub)} streams are open"
            time.sleep(0.01)


@contextmanager
def serving(pace: Pace) -> Iterator[Live]:
    application = StreamApplication(per_user=6, pace=pace)
    socket = bound("127.0.0.1:0")
    port = socket.getsockname()[1]
    config = uvicorn.Config(
        application, http="h11", ws="none", lifespan="on", loop="asyncio", log_config=None,
        timeout_graceful_shutdown=2,
    )  # fmt: skip
    server = Server(config, application.hub)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield Live(f"http://127.0.0.1:{port}", application)
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


@pytest.fixture
def live(fresh_process: str) -> Iterator[Live]:
    """The stream process of this worker's database; the heads are read five times a second."""
    assert fresh_process
    with serving(Pace(heads_s=0.2)) as found:
        yield found
