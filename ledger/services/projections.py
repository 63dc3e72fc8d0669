"""The search projection.

Follows the log in slices, may lag, is rebuilt at any time (LEDGER sections 8 and 10). What it holds follows
from the entries below its cursor alone: not from how they were sliced, nor from when.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Subquery

from ecp_project.kernel.errors import BadRequest
from ledger.core.columns import DECISION
from ledger.core.entry import EntrySyntax, parse_entry
from ledger.core.statement import Projection, kind_of
from ledger.models import POSITIONS_PER_LOG, Cursor, Entry, EntrySearch, Head, Log

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NAME = "search"
SLICE = 2_000
ROUNDS = 20  # slices in one task, so that it stays well below the broker's visibility timeout
BUSY = 200  # entries that were appended while one slice was projected
INSERT_SQL = """
INSERT INTO ledger_entrysearch (entry_id, zone, level, bypassed, explanation, body)
SELECT r.entry_id, r.zone, r.level, r.bypassed, to_tsvector('simple', r.words), r.body
FROM jsonb_to_recordset(%s::jsonb)
    AS r(entry_id bigint, zone text, level text, bypassed boolean, words text, body jsonb)
ON CONFLICT (entry_id) DO NOTHING
"""
MAX_WORDS = 20_000
# Nothing is found by these in the index of facts: id and times are columns of the entry, texts are searched
# by their words. And what is new in every entry makes the index grow all over, not at its ends.
_NO_FACTS = frozenset({"id", "ts", "explanation", "text", "context_summary"})


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


def keep_up(*, log_id: int, limit: int = SLICE) -> int:
    """Bring the projection towards the head, slice by slice; returns by how many entries.

    While much is appended, one slice is all: appends go first, and the rest is caught up with afterwards.
    """
    done, size = 0, _size(log_id)
    for _ in range(ROUNDS):
        step = project_search(log_id=log_id, limit=limit)
        done += step
        before, size = size, _size(log_id)
        if not step or size - before > BUSY:
            break
    return done


def _size(log_id: int) -> int:
    return Head.objects.values_list("size", flat=True).get(log_id=log_id)


class _Row(NamedTuple):
    """What one entry adds to the projection by itself."""

    entry_id: int
    zone: str | None
    level: str | None
    bypassed: bool | None
    words: str
    body: dict[str, Any]


def _read(entry_id: int, raw: bytes) -> tuple[_Row, Projection | None]:
    """The entry's own row, and what it says about an earlier decision."""
    stmt = parse_entry(raw).stmt
    said = _said(stmt)
    is_own = said.target in {None, stmt["id"]}
    own = said if is_own else Projection()
    row = _Row(entry_id, own.zone, own.level, own.bypassed, _words(stmt), _facts(stmt))
    return row, None if is_own else said


def _said(stmt: dict[str, Any]) -> Projection:
    try:
        return kind_of(stmt["v"]).project(stmt)
    except BadRequest:  # of an app that is not installed here: the entry is kept and found, but not read
        return Projection()


def _insert(log_id: int, rows: list[tuple[int, Any]]) -> None:
    read = [_read(entry_id, bytes(raw)) for entry_id, raw in rows]
    with connection.cursor() as cursor:
        cursor.execute(INSERT_SQL, [_document([row for row, _ in read])])
    for row, said in read:
        if said is not None:
            _apply(log_id, row.entry_id, said)


def _document(rows: Sequence[_Row]) -> str:
    """All rows as one JSON text: PostgreSQL's array literals would cost more than the search words."""
    return json.dumps([row._asdict() for row in rows])


def _apply(log_id: int, entry_id: int, said: Projection) -> None:
    """A later statement about a decision: the columns follow it, in log order.

    A statement about a decision that comes only after it changes nothing.
    """
    changes = _changes(said)
    if changes and said.target is not None:
        # One look-up by a unique key, whatever the planner thinks of the tables: a join may scan both.
        target = Entry.objects.filter(log_id=log_id, uid=said.target).values("id")
        rows = EntrySearch.objects.filter(entry_id=Subquery(target), entry_id__lt=entry_id)
        rows.update(**changes)  # names from the literal below


def _changes(said: Projection) -> dict[str, Any]:
    return {
        name: value
        for name, value in (("zone", said.zone), ("level", said.level), ("bypassed", said.bypassed))
        if value is not None
    }


def _facts(stmt: dict[str, Any]) -> dict[str, Any]:
    """The members that entries are found by: of sealed values, that there are some."""
    facts = {name: value for name, value in stmt.items() if name not in _NO_FACTS}
    if "sealed" in facts:
        facts["sealed"] = True
    return facts


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


# --- the projection against the entries (LEDGER section 15, M16 and M17)
DIFFERENT_SQL = """
SELECT r.entry_id,
       CASE WHEN s.entry_id IS NULL THEN 'the entry is missing from the search projection'
            ELSE 'the search projection differs from the entry in ' || concat_ws(', ',
                 CASE WHEN s.zone IS DISTINCT FROM r.zone THEN 'zone' END,
                 CASE WHEN s.level IS DISTINCT FROM r.level THEN 'level' END,
                 CASE WHEN s.bypassed IS DISTINCT FROM r.bypassed THEN 'bypassed' END,
                 CASE WHEN s.explanation IS DISTINCT FROM to_tsvector('simple', r.words)
                      THEN 'explanation' END,
                 CASE WHEN s.body IS DISTINCT FROM r.body THEN 'body' END) END
FROM jsonb_to_recordset(%s::jsonb)
     AS r(entry_id bigint, zone text, level text, bypassed boolean, words text, body jsonb)
LEFT JOIN ledger_entrysearch s ON s.entry_id = r.entry_id
WHERE s.entry_id IS NULL OR s.zone IS DISTINCT FROM r.zone OR s.level IS DISTINCT FROM r.level
   OR s.bypassed IS DISTINCT FROM r.bypassed OR s.body IS DISTINCT FROM r.body
   OR s.explanation IS DISTINCT FROM to_tsvector('simple', r.words)
ORDER BY r.entry_id
"""
BEYOND_SQL = """
SELECT s.entry_id FROM ledger_entrysearch s LEFT JOIN ledger_entry e ON e.id = s.entry_id
WHERE s.entry_id >= %s AND s.entry_id < %s AND (e.id IS NULL OR s.entry_id >= %s) ORDER BY s.entry_id
"""


def projection_differences(log: Log) -> Iterator[tuple[int, str]]:
    """(position, what) of every row that a rebuild would write otherwise. Reads only.

    Entries that the projection has not reached yet are no difference: it may lag.
    """
    base = log.id * POSITIONS_PER_LOG
    done = Cursor.objects.filter(name=NAME, log=log).values_list("next_seq", flat=True).first() or 0
    later = _later(base, done)
    for start in range(0, done, SLICE):
        ids = (base + start, base + min(start + SLICE, done))
        entries = Entry.objects.filter(id__gte=ids[0], id__lt=ids[1]).order_by("id")
        rows = [
            _after(read[0], later.get(uid, ()))
            for entry_id, uid, raw in entries.values_list("id", "uid", "entry")
            if (read := _readable(entry_id, bytes(raw))) is not None
        ]
        if not rows:
            continue
        with connection.cursor() as cursor:
            cursor.execute(DIFFERENT_SQL, [_document(rows)])
            yield from ((entry_id - base, what) for entry_id, what in cursor.fetchall())
    with connection.cursor() as cursor:
        cursor.execute(BEYOND_SQL, (base, base + POSITIONS_PER_LOG, base + done))
        for (entry_id,) in cursor.fetchall():
            yield entry_id - base, "the search projection holds a row without an entry"


def _readable(entry_id: int, raw: bytes) -> tuple[_Row, Projection | None] | None:
    """None for bytes that are no entry: a finding of its own, to which nothing can be compared."""
    try:
        return _read(entry_id, raw)
    except (EntrySyntax, KeyError):
        return None


def _later(base: int, done: int) -> dict[UUID, list[tuple[int, dict[str, Any]]]]:
    """Later statements by the decision they are about, in log order: (entry id, columns they set)."""
    found: dict[UUID, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
    rows = Entry.objects.filter(id__gte=base, id__lt=base + done).exclude(kind=DECISION).order_by("id")
    for entry_id, raw in rows.values_list("id", "entry").iterator(chunk_size=SLICE):
        _, said = _readable(entry_id, bytes(raw)) or (None, None)
        if said is not None and said.target is not None and (changes := _changes(said)):
            found[UUID(said.target)].append((entry_id, changes))
    return found


def _after(row: _Row, later: Sequence[tuple[int, dict[str, Any]]]) -> _Row:
    for entry_id, changes in later:
        if entry_id > row.entry_id:
            row = row._replace(**changes)
    return row
