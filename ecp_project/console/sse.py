"""Fan-out of the live feed: who listens to which log, and what each is told (CONSOLE section 10).

Pure: no framework, no database, no socket. A client has one slot, the newest state of its log; whoever writes
it replaces what was there. What to tell follows from that state and from what the client was told before, so
a client that reads slowly costs no more than one that reads at once, and nothing queues. No event carries
content: a page fetches what is new with the reader's own rights.
"""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ecp_project.kernel.errors import RateLimited

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping

IN_ALL = 500
FULL_RETRY_S = 10
RETRY_MS = 3000
DOOR = "ecp.door"  # key of the ASGI scope, where a request finds the door


@dataclass(frozen=True, slots=True)
class State:
    """What a feed tells of a log: entries recorded, entries under the newest checkpoint, mode."""

    size: int
    signed: int
    mode: str


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds: between two signs of life, between two readings of the heads, of a stream, of one write."""

    comment_s: float = 15.0
    heads_s: float = 5.0
    life_s: float = 900.0
    write_s: float = 30.0


@dataclass(slots=True, eq=False)
class Client:
    """One open stream. The loop that serves it waits for `wake`; `slot` is guarded by the hub's lock."""

    user: int
    log_id: int
    slot: State
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    is_over: bool = False

    def end(self) -> None:
        self.is_over = True
        self.wake.set()


class Hub:
    """The open streams of one process.

    Streams enter from the threads that check sessions; everything else happens in the loop that serves them.
    """

    def __init__(self, *, per_user: int, in_all: int = IN_ALL) -> None:
        self._per_user = per_user
        self._in_all = in_all
        self._lock = threading.Lock()
        # guarded by self._lock
        self._clients: set[Client] = set()
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._clients)

    def enter(self, *, user: int, log_id: int, state: State) -> Client:
        client = Client(user, log_id, state)
        with self._lock:
            if len(self._clients) >= self._in_all:
                raise RateLimited("rate_limited", "Too many live views are open.", retry_after=FULL_RETRY_S)
            if sum(other.user == user for other in self._clients) >= self._per_user:
                raise RateLimited(
                    "rate_limited",
                    f"At most {self._per_user} live views of one person are open at one time.",
                    retry_after=FULL_RETRY_S,
                )
            client.is_over = self._is_closed
            self._clients.add(client)
        return client

    def leave(self, client: Client) -> None:
        with self._lock:
            self._clients.discard(client)

    def logs(self) -> set[int]:
        with self._lock:
            return {client.log_id for client in self._clients}

    def tell(self, states: Mapping[int, State]) -> None:
        """Put what was read of these logs into the slots of their clients."""
        for client in self._listeners(states):
            self._put(client, states[client.log_id])

    def tell_signed(self, log_id: int, size: int) -> None:
        """Put a checkpoint that was announced into the slots; what is signed is recorded."""
        for client in self._listeners({log_id}):
            now = client.slot
            self._put(client, replace(now, size=max(size, now.size), signed=max(size, now.signed)))

    def close(self) -> None:
        """Say goodbye to all, and to whoever still comes."""
        with self._lock:
            self._is_closed = True
            clients = list(self._clients)
        for client in clients:
            client.end()

    def _listeners(self, log_ids: Iterable[int]) -> list[Client]:
        wanted = set(log_ids)
        with self._lock:
            return [client for client in self._clients if client.log_id in wanted]

    @staticmethod
    def _put(client: Client, state: State) -> None:
        if state != client.slot:
            client.slot = state
            client.wake.set()


@dataclass(slots=True)
class Door:
    """What the view of the feed's address finds in a stream process: it lets one client in."""

    hub: Hub
    client: Client | None = None
    log: str = ""
    after: int | None = None

    def let_in(self, *, user: int, log_id: int, log: str, state: State, after: int | None) -> None:
        self.client = self.hub.enter(user=user, log_id=log_id, state=state)
        self.log, self.after = log, after


def event(name: str, data: Mapping[str, object], *, id_: int | None = None) -> bytes:
    """One event of `text/event-stream` (WHATWG HTML, section 9.2)."""
    head = f"event: {name}\n" + (f"id: {id_}\n" if id_ is not None else "")
    return f"{head}data: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


def greeting(log: str, state: State, after: int | None) -> tuple[bytes, State]:
    """What a client hears first, and the state that it then knows; behind `after` it has missed something."""
    hello = event("hello", {"log": log, "size": state.size, "mode": state.mode}, id_=state.size)
    missed = b"" if after is None else news(log, replace(state, size=min(after, state.size)), state)
    return f"retry: {RETRY_MS}\n".encode() + hello + missed, state


def news(log: str, told: State, now: State) -> bytes:
    """Events that lead from what a client was told to what is; empty when nothing is new."""
    found = b""
    if now.size > told.size:
        grown = {"log": log, "size": now.size, "added": now.size - told.size}
        found += event("grown", grown, id_=now.size)
    if now.signed > told.signed:
        found += event("checkpoint", {"log": log, "size": now.signed}, id_=now.size)
    if now.mode != told.mode:
        found += event("mode", {"log": log, "mode": now.mode}, id_=now.size)
    return found


async def told(
    client: Client, *, log: str, after: int | None, pace: Pace, clock: Callable[[], float]
) -> AsyncIterator[bytes]:
    """Everything one client is told, to its end."""
    until = clock() + pace.life_s
    piece, known = greeting(log, client.slot, after)
    yield piece
    while not client.is_over and (left := until - clock()) > 0:
        try:
            await asyncio.wait_for(client.wake.wait(), min(pace.comment_s, left))
        except TimeoutError:
            if left > pace.comment_s:
                yield b":\n\n"
            continue
        client.wake.clear()
        now = client.slot
        if piece := news(log, known, now):
            yield piece
        known = now
    yield event("bye", {"log": log})
