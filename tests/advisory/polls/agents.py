"""Agents on loopback: one server, whose path says how the agent behaves and which one it is."""

from __future__ import annotations

import importlib.util
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from tests.shared import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterator


def seed_of(slug: str) -> bytes:
    """The seed of an agent's key follows from its name."""
    return sha256(slug.encode()).digest()


def example() -> Any:
    """The agent that examples/poll_agent.py is."""
    spec = importlib.util.spec_from_file_location("poll_agent", PROJECT / "examples" / "poll_agent.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass
class Town:
    """Where the agents live, and whoever called."""

    port: int
    calls: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    def address(self, behaviour: str, slug: str) -> str:
        return f"http://127.0.0.1:{self.port}/{behaviour}/{slug}"

    def calls_to(self, slug: str) -> list[tuple[dict[str, str], bytes]]:
        return [(headers, body) for who, headers, body in self.calls if who == slug]


Reply = tuple[int, bytes, dict[str, str]]


def reply(behaviour: str, slug: str, body: bytes, *, earlier: int, agent: Any) -> Reply:
    """Status, body and headers; `flaky` fails once and `stubborn` for ever."""
    invitation = json.loads(body)
    declined = {"declined": "yes", "invitation_id": invitation["invitation_id"]}
    if behaviour == "flaky":
        behaviour = "answer" if earlier else "stubborn"
    if behaviour == "answer":
        return 200, agent.answer(invitation, slug=slug, seed=seed_of(slug)), {}
    replies: dict[str, Reply] = {
        "accept": (202, b"", {}),
        "decline": (200, agent.canonical(declined), {}),
        "forge": (200, agent.answer(invitation, slug=slug, seed=seed_of("somebody else")), {}),
        "junk": (200, b"<html>hello</html>", {}),
        "gone": (410, b"", {}),
        "stubborn": (503, b"", {"Retry-After": "7"}),
        "redirect": (302, b"", {"Location": "http://127.0.0.1:9/"}),
        "huge": (200, b"x" * 100_000, {}),
    }
    return replies[behaviour]


@contextmanager
def living() -> Iterator[Town]:
    agent = example()
    town = Town(0)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            _, behaviour, slug = self.path.split("/")
            body = self.rfile.read(int(self.headers["Content-Length"]))
            earlier = len(town.calls_to(slug))
            town.calls.append((slug, {name.lower(): value for name, value in self.headers.items()}, body))
            status, content, headers = reply(behaviour, slug, body, earlier=earlier, agent=agent)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: Any) -> None:
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    town.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield town
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
