"""What the client says in the log: each thing at most once a minute, never a key or a private value."""

from __future__ import annotations

import logging
import threading
import time

logger = logging.getLogger("ecp_client")
EVERY_S = 60.0


class Told:
    """Remembers when which thing was said last, and how often it was kept back since."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # guarded by self._lock
        self._last: dict[str, tuple[float, int]] = {}
        self._standing: set[str] = set()

    def warn(self, what: str, sentence: str) -> None:
        now = time.monotonic()
        with self._lock:
            said, kept_back = self._last.get(what, (-EVERY_S, 0))
            if now - said < EVERY_S:
                self._last[what] = (said, kept_back + 1)
                return
            self._last[what] = (now, 0)
        more = f" ({kept_back:,} more of these since the last time)" if kept_back else ""
        logger.warning("%s%s", sentence, more)

    def warn_once(self, what: str, sentence: str) -> None:
        """Say it until `over` says that it is over."""
        with self._lock:
            if what in self._standing:
                return
            self._standing.add(what)
        logger.warning("%s", sentence)

    def over(self) -> None:
        if self._standing:
            with self._lock:
                self._standing.clear()
            logger.info("the ledger takes decisions again")
