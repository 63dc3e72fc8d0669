"""gunicorn's threaded worker, holding about as many connections as the other web processes.

All web processes wait at one listening socket, and whichever wakes first has the connection. Clients that
keep their connections, as agents and reverse proxies do, then stay where they fell: of 32 often 25 in one
process, at times all of them, and a process that replaces another finds none. So each process tells the
others how many connections it holds. One that holds more than another gives way for a moment before it
accepts. One that holds far more ends connections after an answer ("Connection: close", RFC 9112 section 9.6),
and they come back evenly.

Where each connection can have a thread of its own, the thread that gave an answer stays for the next request
of the same client, which mostly follows at once. Otherwise the connection goes back to the main thread, which
watches it and wakes a thread again: a tenth of what a small request costs.
"""

from __future__ import annotations

import mmap
import select
import time
from typing import TYPE_CHECKING, Any

from gunicorn.workers.gthread import ThreadWorker

if TYPE_CHECKING:
    import socket

    from gunicorn.arbiter import Arbiter
    from gunicorn.workers.gthread import TConn

PLACES = 256  # more than processes live at once while some replace others
AWAY = -1  # nobody there, or somebody who accepts nothing now
PAUSE_S, PAUSES = 0.0005, 20  # who is behind gets 10 ms to come, and is taken to be stuck after that
QUIET_S = 0.005  # no connection waited for this long, so the one that was left to others was taken
SPARE = 2  # connections more than another that nobody minds
LOOK_EVERY_S = 0.05
STAY_MS = 10  # at most this long a new connection waits for a thread that stays with another

# Connections of each accepting process, in memory that forked processes share.
_board = memoryview(mmap.mmap(-1, PLACES * 4)).cast("i")
for _place in range(PLACES):
    _board[_place] = AWAY


def _fewest() -> int:
    """Connections of the accepting process that holds the fewest; 0 where none tells."""
    return min((count for count in _board if count != AWAY), default=0)


class EvenWorker(ThreadWorker):
    """Sees to it that no process is busy while another idles."""

    place: int | None = None  # on the board; given by the master before it forks
    _accepting: bool  # gunicorn's; its stubs leave it out

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._most_kept = self.max_keepalived
        self._threads: int = self.cfg.threads
        self._pauses = 0
        self._gave_way = 0.0  # monotonic
        self._look_at = 0.0  # monotonic

    def wait_for_and_dispatch_events(self, timeout: float | None) -> None:
        """One round of gunicorn's loop: all its counting happens between two calls of this."""
        self._tell()
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK_EVERY_S
            is_far_ahead = self.nr_conns > _fewest() + max(SPARE, self.nr_conns // 4)
            # gunicorn ends a connection after its answer while more than this are kept.
            self.max_keepalived = 0 if is_far_ahead and self.place is not None else self._most_kept
        super().wait_for_and_dispatch_events(timeout)

    def accept(self, listener: socket.socket) -> None:
        if time.monotonic() - self._gave_way > QUIET_S:
            self._pauses = 0
        if self.place is not None and self._pauses < PAUSES and self.nr_conns > _fewest():
            self._pauses += 1
            time.sleep(PAUSE_S)  # the listener stays readable if nobody took the connection
            self._gave_way = time.monotonic()
            return
        self._pauses = 0
        super().accept(listener)

    def handle(self, conn: TConn) -> bool:
        """Requests of one connection, in a thread of the pool; what gunicorn's says of the last one."""
        answer = super().handle(conn)
        while answer is True and self._has_next(conn):  # there is another true value: ask again later
            answer = super().handle(conn)
        return answer

    def _has_next(self, conn: TConn) -> bool:
        if not self.alive or self.nr_conns > self._threads or conn.is_http2 or self.cfg.is_ssl:
            return False
        waiting = select.poll()
        waiting.register(conn.sock, select.POLLIN)
        return bool(waiting.poll(STAY_MS))

    def _tell(self) -> None:
        if self.place is not None:
            _board[self.place] = self.nr_conns if self._accepting else AWAY


def take_place(server: Arbiter, worker: EvenWorker) -> None:
    """Before a fork: a place on the board that no living process has; none left, and it tells nothing."""
    taken = {getattr(other, "place", None) for other in server.WORKERS.values()}
    worker.place = next((place for place in range(PLACES) if place not in taken), None)


def leave_place(worker: EvenWorker) -> None:
    """After a process has ended, however it ended."""
    if worker.place is not None:
        _board[worker.place] = AWAY
