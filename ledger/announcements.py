"""What the checkpointer tells listeners: how far a log is signed (CONSOLE section 10).

NOTIFY makes transactions commit one after the other, so it stands in none: not in an append, nor in the
transaction of a checkpoint. It is a statement of its own, of the one process that signs, and at most one a
second for each log.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

CHANNEL = "ecp_ledger"
PAUSE = timedelta(seconds=1)
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(slots=True)
class Announced:
    """The size of a log that was announced last, and when."""

    size: int
    at: datetime = _NEVER

    def is_due(self, size: int, now: datetime) -> bool:
        """Whether `size` is to be announced now; the caller does it. What is held back comes later."""
        if size <= self.size or timedelta() <= now - self.at < PAUSE:  # a clock set back holds nothing back
            return False
        self.size, self.at = size, now
        return True


def announcement(log_id: int, size: int) -> str:
    return json.dumps({"log": log_id, "size": size}, separators=(",", ":"))


def announced(payload: str) -> tuple[int, int] | None:
    """Log and size; None for what somebody else sent on the channel."""
    try:
        document = json.loads(payload)
        log_id, size = document["log"], document["size"]
    except (ValueError, TypeError, KeyError):
        return None
    return (log_id, size) if type(log_id) is int and type(size) is int and size >= 0 else None
