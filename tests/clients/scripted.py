"""A real HTTP server that answers as a test tells it, for what a ledger seldom does."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from types import TracebackType

NDJSON, PROBLEM = "application/x-ndjson", "application/problem+json"


class Told(NamedTuple):
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.body.splitlines()]

    @property
    def ids(self) -> list[str]:
        return [record["id"] for record in self.records]


class Reply(NamedTuple):
    status: int
    body: bytes = b""
    media_type: str = NDJSON
    headers: tuple[tuple[str, str], ...] = ()


CUT = Reply(0)  # the connection is closed without an answer
Behaviour = "Callable[[Told], Reply]"


def stored(told: Told) -> Reply:
    """Every line is stored."""
    lines = [
        {"line": number, "status": 201, "id": uid, "seq": number, "leaf_hash": "00" * 32}
        for number, uid in enumerate(told.ids, 1)
    ]
    if told.path.endswith("/batch/") or told.headers.get("content-type") == NDJSON:
        return Reply(200, b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    receipt = {"v": "ecp.receipt/1", "status": "logged", **lines[0]}
    return Reply(201, json.dumps(receipt | {"status": "logged"}).encode(), "application/json")


def problem(status: int, code: str, **headers: str) -> Reply:
    document = {"type": f"urn:ecp:problem:{code}", "status": status, "code": code, "detail": "as told"}
    return Reply(status, json.dumps(document).encode(), PROBLEM, tuple(headers.items()))


def per_line(told: Told, judge: Callable[[dict[str, Any]], tuple[int, str]]) -> Reply:
    """207 with what `judge` says of each record: (status, problem code)."""
    lines = []
    for number, record in enumerate(told.records, 1):
        status, code = judge(record)
        lines.append(
            {"line": number, "status": status, "id": record["id"]} | ({"code": code} if code else {})
        )
    return Reply(207, b"".join(json.dumps(line).encode() + b"\n" for line in lines))


@dataclass
class Scripted:
    """`answers` are used up one by one; afterwards every request is answered by `always`."""

    answers: list[Callable[[Told], Reply] | Reply] = field(default_factory=list)
    always: Callable[[Told], Reply] = stored
    told: list[Told] = field(default_factory=list)
    tls: ssl.SSLContext | None = None

    def __enter__(self) -> Self:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {name.lower(): value for name, value in self.headers.items()}
                told = Told(self.command, self.path, headers, body, time.monotonic())
                outer.told.append(told)
                chosen = outer.answers.pop(0) if outer.answers else outer.always
                reply = chosen if isinstance(chosen, Reply) else chosen(told)
                if reply.status == 0:
                    self.close_connection = True
                    return
                self.send_response(reply.status)
                self.send_header("Content-Type", reply.media_type)
                self.send_header("Content-Length", str(len(reply.body)))
                for name, value in reply.headers:
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(reply.body)

            do_GET = do_POST = answer  # noqa: N815 - the names that http.server calls

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if self.tls is not None:
            self._server.socket = self.tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        scheme = "http" if self.tls is None else "https"
        return f"{scheme}://127.0.0.1:{self._server.server_address[1]}"

    @property
    def posts(self) -> list[Told]:
        return [told for told in self.told if told.method == "POST"]
