"""A closed-loop load client: each connection sends its next request when the answer to the last one is in.

HTTP/1.1 with keep-alive over plain asyncio protocols: the client shares the two cores with what it measures,
and a comfortable client would use up more of them than the server.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE_S = 60.0


@dataclass(slots=True)
class Result:
    """Latencies in seconds of all requests that were answered; statuses; what one answered line each held."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    @property
    def rate(self) -> float:
        """Answers per second."""
        return len(self.latencies) / self.seconds

    def percentile(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def expect(self, *statuses: int) -> Result:
        others = {status: count for status, count in self.statuses.items() if status not in statuses}
        if others or not self.latencies:
            raise RuntimeError(f"answers that were not expected: {others or 'none at all'}")
        return self


class _Connection(asyncio.Protocol):
    def __init__(self, make: Callable[[], bytes], result: Result, deadline: float) -> None:
        self.make, self.result, self.deadline = make, result, deadline
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.buffer = b""
        self.missing = -1  # bytes of the body that are still to come; -1 while in the head
        self.started = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._send()

    def _send(self) -> None:
        if time.perf_counter() >= self.deadline:
            self.transport.close()
            return
        request = self.make()
        self.started = time.perf_counter()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self.missing < 0:
            self.buffer += data
            head, mark, body = self.buffer.partition(b"\r\n\r\n")
            if not mark:
                return
            self.result.statuses[int(head[9:12])] += 1
            lower = head.lower()
            place = lower.index(b"content-length:") + 15
            self.missing = int(lower[place:].split(b"\r", 1)[0]) - len(body)
            self.is_last = b"connection: close" in lower
        else:
            self.missing -= len(data)
        if self.missing == 0:
            self.result.latencies.append(time.perf_counter() - self.started)
            self.buffer, self.missing = b"", -1
            if self.is_last:
                self.transport.close()
            else:
                self._send()

    def connection_lost(self, error: Exception | None) -> None:
        del error
        if not self.done.done():
            self.done.set_result(None)


async def _one_client(port: int, make: Callable[[], bytes], result: Result, deadline: float) -> None:
    loop = asyncio.get_running_loop()
    while time.perf_counter() < deadline:  # again after the server has closed, as it does now and then
        _, connection = await loop.create_connection(
            lambda: _Connection(make, result, deadline), "127.0.0.1", port
        )
        await asyncio.wait_for(connection.done, deadline - time.perf_counter() + PATIENCE_S)


async def _all_clients(port: int, make: Callable[[], bytes], clients: int, seconds: float) -> Result:
    result, started = Result(), time.perf_counter()
    await asyncio.gather(*(_one_client(port, make, result, started + seconds) for _ in range(clients)))
    result.seconds = time.perf_counter() - started
    return result


def load(port: int, make: Callable[[], bytes], *, clients: int, seconds: float) -> Result:
    """Run `clients` connections for `seconds`; `make` gives the next whole request."""
    return asyncio.run(_all_clients(port, make, clients, seconds))


def request(method: str, path: str, key: str, body: bytes = b"", media: str = "application/json") -> bytes:
    """One HTTP/1.1 request as bytes."""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
    if method == "POST":
        head += f"Content-Type: {media}\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def new_id() -> bytes:
    """A UUIDv7 (RFC 9562 section 5.7), cheaper than a UUID object."""
    digits = f"{time.time_ns() // 1_000_000:012x}{os.urandom(10).hex()}"
    return f"{digits[:8]}-{digits[8:12]}-7{digits[13:16]}-8{digits[17:20]}-{digits[20:]}".encode()
