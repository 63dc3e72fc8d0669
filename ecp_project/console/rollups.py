"""Hourly counts of decisions, kept up by position (CONSOLE section 11).

What the table holds once it has come as far as the search projection follows from the entries alone: not from
how they were sliced, nor from when or how often a step ran.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import connection, transaction

from ecp_project.console.models import Rollup
from ecp_project.kernel.errors import BadRequest
from ledger.core.columns import DECISION
from ledger.core.statement import Projection, kind_of
from ledger.models import POSITIONS_PER_LOG, Cursor, EntrySearch
from ledger.selectors.console import SEARCH_CURSOR
from ledger.selectors.matching import FIRST_AT_SQL

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from django.db.models import QuerySet

NAME = "rollup"
SLICE = 20_000
ROUNDS = 50  # slices in one task: a million entries
ADD_SQL = f"""
INSERT INTO console_rollup (log_id, hour, agent, action, risk, zone, level, bypassed, count)
SELECT e.log_id, date_trunc('hour', e.rcvd, 'UTC'), coalesce(e.agent, ''), coalesce(e.action, ''),
       coalesce(e.risk, ''), coalesce(s.zone, ''), coalesce(s.level, ''), coalesce(s.bypassed, false),
       count(*)
FROM ledger_entry e JOIN ledger_entrysearch s ON s.entry_id = e.id
WHERE e.id >= %(first)s AND e.id < %(end)s AND e.kind = '{DECISION}'
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
ON CONFLICT (log_id, hour, agent, action, risk, zone, level, bypassed)
DO UPDATE SET count = console_rollup.count + excluded.count
"""  # noqa: S608 - a constant of the code
HOURS_SQL = """
SELECT date_trunc('hour', rcvd, 'UTC') FROM ledger_entry
WHERE log_id = %s AND uid = ANY(%s::uuid[]) AND id < %s GROUP BY 1
"""


def counted_size(log_id: int) -> int:
    """Entries below this position are counted."""
    done = Cursor.objects.filter(name=NAME, log_id=log_id).values_list("next_seq", flat=True).first()
    return done or 0


def positions_at(*, log_id: int, size: int, instants: Sequence[datetime]) -> dict[datetime, int]:
    """First position below `size` that was received at each instant or after it."""
    values: dict[str, Any] = {
        "size": size,
        "base": log_id * POSITIONS_PER_LOG,
        "instants": list(set(instants)),
    }
    with connection.cursor() as cursor:
        cursor.execute(FIRST_AT_SQL, values)
        return dict(cursor.fetchall())


def rollup_step(*, log_id: int, limit: int = SLICE) -> int:
    """Count at most `limit` further entries, none beyond the search projection; returns how many.

    Safe to run twice, or at once: whoever holds the cursor's row works, the others have nothing to do.
    """
    with transaction.atomic():
        Cursor.objects.get_or_create(name=NAME, log_id=log_id)
        cursor = Cursor.objects.select_for_update(skip_locked=True).filter(name=NAME, log_id=log_id).first()
        if cursor is None:
            return 0
        first = cursor.next_seq
        end = min(first + limit, _searched(log_id))
        if end <= first:
            return 0
        _add(log_id, first, end)
        for hour in _changed_hours(log_id, first, end):
            _count_again(log_id, hour, end)
        Cursor.objects.filter(name=NAME, log_id=log_id).update(next_seq=end)
    return end - first


def keep_up(*, log_id: int, limit: int = SLICE) -> int:
    done = 0
    for _ in range(ROUNDS):
        step = rollup_step(log_id=log_id, limit=limit)
        done += step
        if not step:
            break
    return done


def rollup_rebuild(*, log_id: int, limit: int = SLICE) -> int:
    """Forget this log's counts and take them anew; returns how many entries were gone through."""
    with transaction.atomic():
        Cursor.objects.get_or_create(name=NAME, log_id=log_id)
        Cursor.objects.select_for_update().get(name=NAME, log_id=log_id)
        Rollup.objects.filter(log_id=log_id).delete()
        Cursor.objects.filter(name=NAME, log_id=log_id).update(next_seq=0)
    done = 0
    while step := rollup_step(log_id=log_id, limit=limit):
        done += step
    return done


def _searched(log_id: int) -> int:
    done = Cursor.objects.filter(name=SEARCH_CURSOR, log_id=log_id).values_list("next_seq", flat=True).first()
    return done or 0


def _add(log_id: int, first: int, end: int) -> None:
    base = log_id * POSITIONS_PER_LOG
    with connection.cursor() as cursor:
        cursor.execute(ADD_SQL, {"first": base + first, "end": base + end})


def _changed_hours(log_id: int, first: int, end: int) -> list[datetime]:
    """Hours whose decisions a later statement of this slice has given another zone, level or bypass.

    The projection may have followed that statement already when the decision was counted, or not yet, so
    nobody knows what to take off: such an hour is counted again as a whole.
    """
    base = log_id * POSITIONS_PER_LOG
    later = EntrySearch.objects.filter(entry_id__gte=base + first, entry_id__lt=base + end)
    targets = list(_targets(later.exclude(entry__kind=DECISION)))
    if not targets:
        return []
    with connection.cursor() as cursor:
        cursor.execute(HOURS_SQL, [log_id, targets, base + end])
        return [hour for (hour,) in cursor.fetchall()]


def _targets(later: QuerySet[EntrySearch]) -> Iterator[UUID]:
    for body in later.values_list("body", flat=True).iterator(chunk_size=2_000):
        said = _said(body)
        if said.target is not None and (said.zone, said.level, said.bypassed) != (None, None, None):
            yield UUID(said.target)


def _said(stmt: Mapping[str, Any]) -> Projection:
    try:
        return kind_of(stmt["v"]).project(stmt)
    except BadRequest:  # of an app that is not installed here
        return Projection()


def _count_again(log_id: int, hour: datetime, end: int) -> None:
    """All of that hour below `end`, whose entries stand side by side in the log."""
    Rollup.objects.filter(log_id=log_id, hour=hour).delete()
    next_hour = hour + timedelta(hours=1)
    first_at = positions_at(log_id=log_id, size=end, instants=[hour, next_hour])
    _add(log_id, first_at[hour], first_at[next_hour])
