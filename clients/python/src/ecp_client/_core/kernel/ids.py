# A copy of ecp_project/kernel/ids.py, made by clients/python/copy_core.py; change it there.
"""UUIDv7 (RFC 9562 section 5.7): ids that sort by the millisecond in which they were made."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID

UUID_PATTERN = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
UUID7_PATTERN = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
UUID7_RE = re.compile(UUID7_PATTERN, re.ASCII)

_RANDOM_BYTES = 10
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


def uuid7_number(*, now_ms: int, rand: bytes) -> int:
    """UUIDv7 of a Unix time in milliseconds and 10 random bytes, of which 74 bits are used."""
    if len(rand) != _RANDOM_BYTES or not 0 <= now_ms < 1 << 48:
        raise AssertionError(f"{len(rand)} random bytes at millisecond {now_ms}")
    random_bits = int.from_bytes(rand, "big")
    return (
        now_ms << 80
        | 0x7 << 76
        | (random_bits >> 62 & 0xFFF) << 64
        | 0b10 << 62
        | random_bits & 0x3FFF_FFFF_FFFF_FFFF
    )


def uuid7(*, now_ms: int, rand: bytes) -> str:
    """The same in lower case with its hyphens."""
    digits = f"{uuid7_number(now_ms=now_ms, rand=rand):032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def new_row_id(now: datetime) -> UUID:
    """Id of a stored row: ascending, so that its indexes grow at their end and are not written all over."""
    return UUID(int=uuid7_number(now_ms=_milliseconds(now), rand=os.urandom(_RANDOM_BYTES)))


def new_uuid7(now: datetime) -> str:
    return uuid7(now_ms=_milliseconds(now), rand=os.urandom(_RANDOM_BYTES))


def derived_uuid7(at: datetime, seed: bytes) -> str:
    """Make the same id in every writer that sees this instant and seed, so that several make one entry."""
    return uuid7(now_ms=_milliseconds(at), rand=sha256(seed).digest()[:_RANDOM_BYTES])


def is_uuid7(text: str) -> bool:
    return UUID7_RE.fullmatch(text) is not None


def _milliseconds(instant: datetime) -> int:
    return (instant - _EPOCH) // _MILLISECOND
