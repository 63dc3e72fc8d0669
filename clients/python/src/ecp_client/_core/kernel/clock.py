# A copy of ecp_project/kernel/clock.py, made by clients/python/copy_core.py; change it there.
"""Instants as the ledger writes them: UTC, six digits of a second, 27 characters (LEDGER section 3)."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]

# Hour 24 and second 60 are left out here, as Python versions differ about them; the day of the month is not.
TIME_PATTERN = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{6}Z"
_is_time = re.compile(TIME_PATTERN, re.ASCII).fullmatch


def utc_now() -> datetime:
    return datetime.now(UTC)


def format_time(instant: datetime) -> str:
    """`YYYY-MM-DDTHH:MM:SS.ffffffZ` of an aware instant; a naive one is a bug of the caller."""
    if instant.tzinfo is None:
        raise AssertionError(f"an instant without a zone: {instant}")
    return instant.astimezone(UTC).isoformat(timespec="microseconds")[:26] + "Z"


def parse_time(text: str) -> datetime:
    """Read exactly the form that `format_time` writes; anything else is a ValueError."""
    if _is_time(text) is None:
        raise ValueError("not a time of the form YYYY-MM-DDTHH:MM:SS.ffffffZ")
    return datetime.fromisoformat(text)
