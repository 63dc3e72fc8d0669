"""Decisions of a public log by month and zone, from the hourly counts (CONSOLE section 13)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import connection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ledger.models import Log

SMALLEST = 5  # a cell below it could point at single cases
MONTHS_SQL = """
SELECT to_char(hour AT TIME ZONE 'UTC', 'YYYY-MM'), zone, sum(count)::bigint
FROM console_rollup WHERE log_id = %s GROUP BY 1, 2
"""


@dataclass(frozen=True, slots=True)
class Month:
    """A month and, for each zone in turn, how many decisions; None where that would be under 5."""

    name: str
    cells: Sequence[int | None]


def months_of(*, log: Log, zones: Sequence[str]) -> list[Month]:
    """Newest month first."""
    cells: Counter[tuple[str, str]] = Counter()
    with connection.cursor() as cursor:
        cursor.execute(MONTHS_SQL, [log.pk])
        for month, zone, number in cursor.fetchall():
            cells[month, zone] += number
    names = sorted({month for month, _zone in cells}, reverse=True)
    return [Month(name, [_large(cells[name, zone]) for zone in zones]) for name in names]


def _large(number: int) -> int | None:
    return number if number >= SMALLEST else None
