"""Live views, open and read by a process of their own: `python -m tests.perf.watchers PORT COOKIE N`.

Says `open` when every stream has had its greeting; ends when its standard input does, and tells how often the
streams heard that the log has grown.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE_S = 60.0
AT_ONCE = 8


@dataclass(slots=True)
class Heard:
    """How many of the streams heard of growth, and how often all together."""

    grown: int = 0
    streams: int = 0


class _Stream(asyncio.Protocol):
    def __init__(self, request: bytes) -> None:
        self._request = request
        self._head = b""
        self.greeted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.grown = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self.grown += data.count(b"event: grown")
        if not self.greeted.done():
            self._head += data
            if not self._head.startswith(b"HTTP/1.1 200"[: len(self._head)]):
                self.greeted.set_exception(RuntimeError(self._head[:400].decode()))
            elif b"event: hello" in self._head:
                self.greeted.set_result(None)


async def _watch(port: int, cookie: str, number: int) -> Heard:
    request = f"GET /console/stream/ HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookie}\r\n\r\n".encode()
    loop, turn = asyncio.get_running_loop(), asyncio.Semaphore(AT_ONCE)

    async def opened() -> _Stream:
        async with turn:
            _, stream = await loop.create_connection(lambda: _Stream(request), "127.0.0.1", port)
            await asyncio.wait_for(stream.greeted, PATIENCE_S)
            return stream

    streams = await asyncio.gather(*(opened() for _ in range(number)))
    sys.stdout.write("open\n")
    sys.stdout.flush()
    await loop.run_in_executor(None, sys.stdin.read)
    return Heard(sum(stream.grown for stream in streams), sum(stream.grown > 0 for stream in streams))


@contextmanager
def watching(port: int, cookie: str, number: int) -> Iterator[Heard]:
    """So many open streams around the block; afterwards the yielded object says what they heard."""
    heard = Heard()
    command = [sys.executable, "-m", "tests.perf.watchers", str(port), cookie, str(number)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:  # noqa: S603 - ours
        assert child.stdout is not None
        assert child.stdin is not None
        if child.stdout.readline() != "open\n":
            raise RuntimeError("the streams could not be opened")
        yield heard
        child.stdin.close()
        heard.grown, heard.streams = map(int, child.stdout.readline().split())


def main() -> None:
    port, cookie, number = sys.argv[1:]
    heard = asyncio.run(_watch(int(port), cookie, int(number)))
    sys.stdout.write(f"{heard.grown} {heard.streams}\n")


if __name__ == "__main__":
    main()
