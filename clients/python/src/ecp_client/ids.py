"""UUIDv7 that ascend within a process, also within one millisecond or when the clock steps back."""

from __future__ import annotations

import os
import secrets
import threading

from ecp_client._core.kernel.ids import uuid7

_TAIL_BITS = 74
_STEP_BITS = 32


class Ids:
    """RFC 9562 section 6.2, method 2: the random part of an id is that of the last one plus a random step."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # guarded by self._lock
        self._ms = 0
        self._tail = 0

    def next(self, now_ms: int) -> str:
        with self._lock:
            if now_ms > self._ms:
                self._restart(now_ms)
            else:
                self._tail += 1 + secrets.randbits(_STEP_BITS)
                if self._tail >> _TAIL_BITS:
                    self._restart(self._ms + 1)
            ms, tail = self._ms, self._tail
        return uuid7(now_ms=ms, rand=tail.to_bytes(10, "big"))

    def _restart(self, ms: int) -> None:
        self._ms = ms
        # the highest bit stays free for the steps of this millisecond
        self._tail = int.from_bytes(os.urandom(10), "big") >> (80 - _TAIL_BITS + 1)


ids = Ids()


def _forget() -> None:
    """A forked child would go on from the parent's last id, and both could meet."""
    global ids  # noqa: PLW0603 - one generator for each process
    ids = Ids()


os.register_at_fork(after_in_child=_forget)


def new_id(now_ms: int) -> str:
    return ids.next(now_ms)
