"""What strangers may see of a public log: no search, no person, nothing sealed (CONSOLE section 13)."""

from __future__ import annotations

import re
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import connection

from ecp_project.kernel.errors import BadRequest, NotFound
from ledger.models import POSITIONS_PER_LOG, Checkpoint, Entry, Log
from ledger.selectors.proofs import newest_checkpoint

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

SMALLEST = 5  # a cell below it could point at single cases
MAX_DIGITS = 12
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# The decisions' own zones; one that a person attributed later is not told here.
TALLY_SQL = """
SELECT to_char(rcvd AT TIME ZONE 'UTC', 'YYYY-MM'), coalesce(zone, ''), count(*)
FROM ledger_entry WHERE log_id = %s AND kind = 'ecp.decision/1' AND seq >= %s AND seq < %s GROUP BY 1, 2
"""


@dataclass(slots=True)
class _Tally:
    """Decisions of a log by month and zone, as far as this process has counted."""

    counted: int = 0
    cells: Counter[tuple[str, str]] = field(default_factory=Counter)


# guarded by _lock: entries never change, so each is counted once by a process and not at each visit
_tallies: dict[tuple[str, datetime], _Tally] = {}
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Month:
    """A month and, for each zone in turn, how many decisions; None where that would be under 5."""

    name: str
    cells: Sequence[int | None]


def public_logs() -> list[Log]:
    return list(Log.objects.filter(is_public=True).select_related("organisation").order_by("id"))


def signed_at(*, log_id: int, size: int) -> datetime:
    return Checkpoint.objects.values_list("created", flat=True).get(log_id=log_id, size=size)


def months_of(*, log: Log, zones: Sequence[str]) -> list[Month]:
    """Newest month first, over the signed part of the log."""
    signed = newest_checkpoint(log.id)
    cells = _counted(log, signed.size if signed else 0)
    names = sorted({month for month, _zone in cells}, reverse=True)
    return [Month(name, [_large(cells[name, zone]) for zone in zones]) for name in names]


def _counted(log: Log, size: int) -> Counter[tuple[str, str]]:
    with _lock:
        tally = _tallies.setdefault((log.origin, log.created_at), _Tally())
        if size > tally.counted:
            with connection.cursor() as cursor:
                cursor.execute(TALLY_SQL, (log.id, tally.counted, size))
                for month, zone, number in cursor.fetchall():
                    tally.cells[month, zone] += number
            tally.counted = size
        return tally.cells.copy()


def _large(number: int) -> int | None:
    return number if number >= SMALLEST else None


def public_entry(*, log: Log, text: str) -> Entry:
    """One record by id or position; the caller has seen to it that the log is public."""
    text = text.strip().lower()
    rows = Entry.objects.filter(log_id=log.id).select_related("log__organisation")
    if _UUID.fullmatch(text):
        rows = rows.filter(uid=UUID(text))
    elif text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS:
        rows = rows.filter(id=log.id * POSITIONS_PER_LOG + int(text))
    else:
        raise BadRequest("bad_value", "a record is found by its id or its position")
    entry: Entry | None = rows.first()
    if entry is None:
        raise NotFound("not_found", "this log has no such record")
    return entry
