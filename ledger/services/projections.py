"""The search projection.

Follows the log in slices, may lag, is rebuilt at any time (LEDGER sections 8 and 10).
"""

from __future__ import annotations

import json
from typing import Any

from django.db import connection, transaction

from ledger.core.entry import parse_entry
from ledger.core.statement import Projection, kind_of
from ledger.models import POSITIONS_PER_LOG, Cursor, Entry, EntrySearch, Log

NAME = "search"
SLICE = 2_000
INSERT_SQL = """
INSERT INTO ledger_entrysearch (entry_id, zone, level, bypassed, explanation, body)
SELECT r.entry_id, r.zone, r.level, r.bypassed, to_tsvector('simple', r.words), r.body
FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::boolean[], %s::text[], %s::jsonb[])
    AS r(entry_id, zone, level, bypassed, words, body)
ON CONFLICT (entry_id) DO NOTHING
"""
MAX_WORDS = 20_000


def projection_lag(log: Log) -> int:
    """Entries that searches do not see yet."""
    done = Cursor.objects.filter(name=NAME, log=log).values_list("next_seq", flat=True).first() or 0
    return int(log.head.size) - done


def project_search(*, log_id: int, limit: int = SLICE) -> int:
    """Bring the projection forward by at most `limit` entries; returns how many.

    Safe to run twice, or at once.
    """
    with transaction.atomic():
        Cursor.objects.get_or_create(name=NAME, log_id=log_id)
        cursor = Cursor.objects.select_for_update(skip_locked=True).filter(name=NAME, log_id=log_id).first()
        if cursor is None:  # another worker is at it
            return 0
        base = log_id * POSITIONS_PER_LOG
        rows = list(
            Entry.objects.filter(id__gte=base + cursor.next_seq, id__lt=base + cursor.next_seq + limit)
            .order_by("id")
            .values_list("id", "entry")
        )
        if not rows:
            return 0
        _insert(log_id, rows)
        Cursor.objects.filter(name=NAME, log_id=log_id).update(next_seq=rows[-1][0] - base + 1)
    return len(rows)


def _insert(log_id: int, rows: list[tuple[int, Any]]) -> None:
    columns: list[list[Any]] = [[], [], [], [], [], []]
    later: list[Projection] = []
    for entry_id, raw in rows:
        stmt = parse_entry(bytes(raw)).stmt
        said = kind_of(stmt["v"]).project(stmt)
        own = said if said.target in {None, stmt["id"]} else Projection()
        if own is not said:
            later.append(said)
        values = (entry_id, own.zone, own.level, own.bypassed, _words(stmt), json.dumps(stmt))
        for column, value in zip(columns, values, strict=True):
            column.append(value)
    with connection.cursor() as cursor:
        cursor.execute(INSERT_SQL, columns)
    for said in later:
        _apply(log_id, said)


def _apply(log_id: int, said: Projection) -> None:
    """A later statement about a decision: the columns follow it, in log order."""
    changes = {
        name: value
        for name, value in (("zone", said.zone), ("level", said.level), ("bypassed", said.bypassed))
        if value is not None
    }
    if changes and said.target is not None:
        rows = EntrySearch.objects.filter(entry__log_id=log_id, entry__uid=said.target)
        rows.update(**changes)  # names from the literal above


def _words(stmt: dict[str, Any]) -> str:
    """What free text searches: action, explanation or text, and the context summary."""
    parts = [str(stmt.get(name, "")) for name in ("action", "explanation", "text", "agent")]
    summary = stmt.get("context_summary", {})
    parts += [f"{name} {value}" for name, value in summary.items() if isinstance(value, str)]
    return " ".join(parts)[:MAX_WORDS]


def rebuild(*, log: Log) -> int:
    """Empty this log's projection and write it anew from the entries."""
    base = log.id * POSITIONS_PER_LOG
    with transaction.atomic():
        EntrySearch.objects.filter(entry_id__gte=base, entry_id__lt=base + POSITIONS_PER_LOG).delete()
        Cursor.objects.filter(name=NAME, log=log).delete()
    done = 0
    while step := project_search(log_id=log.id):
        done += step
    return done
