"""Hearing of changes of an advice in a thread of its own."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from ecp_client import advice as asking
from ecp_client.errors import EcpClientError, Unavailable
from ecp_client.transport import Http

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecp_client.advice import Advice
    from ecp_client.transport import Access

logger = logging.getLogger("ecp_client")
_LOOK_S = 5.0  # a stop is heard within this time
_AFTER_FAILURE_S = 2.0


class Watch:
    """A thread that asks again and again; it keeps no program alive."""

    def __init__(
        self,
        access: Access,
        advice: Advice,
        changed: Callable[[Advice], object],
        timeout: float,
        timeout_s: float,
    ) -> None:
        self.advice = advice  # as it was last told
        self.problem: EcpClientError | None = None  # what ended the watch, if something did
        self._changed = changed
        self._deadline = time.monotonic() + timeout
        self._timeout_s = timeout_s
        self._stopped = threading.Event()
        self._http = Http(access)  # its own connection: a wait must not hold up other calls
        self._thread = threading.Thread(target=self._run, name="ecp-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """No further calls, save one that has begun."""
        self._stopped.set()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for its end; whether it has ended."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._stopped.is_set() and (left := self._deadline - time.monotonic()) > 0:
                if self._heard(min(left, _LOOK_S)):
                    return
        finally:
            self._http.close()

    def _heard(self, seconds: float) -> bool:
        """Listen for a while; whether nothing more is to be heard."""
        try:
            found = self._http.hold(asking.await_change(self.advice, seconds, self._timeout_s))
        except Unavailable as error:
            logger.debug("an advice could not be looked at: %s", error)
            return self._stopped.wait(_AFTER_FAILURE_S)
        except EcpClientError as error:
            self.problem = error
            return True
        if found is None or self._stopped.is_set():
            return False
        self.advice = found
        try:
            return self._changed(found) is True
        except Exception:
            # The agent's own code, whatever it raises: later changes still have to reach it.
            logger.exception("the callback of an advice raised")
            return False
