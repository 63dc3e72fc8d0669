"""What the record page reads: the statement, what it refers to, what refers to it, and its neighbours."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db.models import Q

from ecp_project.kernel.errors import NotFound
from ledger.core.columns import DECISION
from ledger.core.entry import EntrySyntax, parse_entry, stmt_digest
from ledger.models import Entry
from ledger.selectors.console import headline, kind_in_words, visible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from ledger.core.entry import Entry as ParsedEntry
    from ledger.selectors.console import Viewer

LINES = 200
# Members that have a place of their own on the page; of other kinds everything else is listed by name.
_PLACED = frozenset({"v", "id", "org", "ts", "explanation", "text", "reason", "sealed", "target"})


@dataclass(frozen=True, slots=True)
class Line:
    """One entry that speaks of the record: who did what, when, and in which words."""

    entry: Entry
    actor: str
    what: str
    text: str


@dataclass(frozen=True, slots=True)
class Record:
    """All that the record page shows, except private values and ticks.

    `stmt` is None when the stored bytes are no entry any more; `raw` shows them in any case. `erased` holds
    the pointers of sealed parts that an erasure entry names, with the time of that entry.
    """

    entry: Entry
    what: str
    stmt: Mapping[str, Any] | None
    raw: str
    size_bytes: int
    stmt_digest: str
    text: str
    summary: Sequence[tuple[str, str]]
    members: Sequence[tuple[str, str]]
    sealed: Sequence[str]
    erased: Mapping[str, datetime]
    signed_by: Sequence[str]
    timeline: Sequence[Line]
    has_more_lines: bool
    older: int | None
    newer: int | None


def record_of(*, viewer: Viewer, entry_id: int, only_decisions: bool) -> Record:
    rows = Entry.objects.filter(id=entry_id).select_related("log", "log__organisation", "log__head")
    if only_decisions:
        rows = rows.filter(kind=DECISION)
    entry = visible(viewer, rows).first()
    if entry is None:
        raise NotFound("not_found", "there is no such record")
    raw = bytes(entry.entry)
    try:
        parsed = parse_entry(raw)
    except EntrySyntax:
        parsed = None
    stmt: dict[str, Any] = parsed.stmt if parsed else {}
    lines = _lines(entry)
    # Who sees assigned agents only would find a closed door at most neighbours.
    walks = entry.log.organisation_id not in viewer.agents
    return Record(
        entry=entry,
        what=kind_in_words(entry.kind, stmt) if parsed else entry.action or entry.kind,
        stmt=parsed.stmt if parsed else None,
        raw=raw.decode(errors="backslashreplace"),
        size_bytes=len(raw),
        stmt_digest=stmt_digest(parsed.stmt_raw) if parsed else "",
        text=_text(stmt),
        summary=[(name, _value(value)) for name, value in stmt.get("context_summary", {}).items()],
        members=[(name, _value(value)) for name, value in stmt.items() if name not in _PLACED]
        if entry.kind != DECISION
        else [],
        sealed=[part["ptr"] for part in stmt.get("sealed", [])],
        erased=_erased(entry, lines),
        signed_by=_signers(parsed),
        timeline=[_line(row, said) for row, said in lines[:LINES]],
        has_more_lines=len(lines) > LINES,
        older=entry.id - 1 if walks and entry.seq > 0 else None,
        newer=entry.id + 1 if walks and entry.seq + 1 < entry.log.head.size else None,
    )


def _lines(entry: Entry) -> list[tuple[Entry, dict[str, Any]]]:
    """Entries that name this one, oldest first, through the search projection.

    Annotations by `target`, erasures by their parts, other decisions by their references.
    """
    uid = str(entry.uid)
    names = (
        Q(search__body__contains={"target": uid})
        | Q(search__body__contains={"parts": [{"id": uid}]})
        | Q(search__body__contains={"refs": [{"id": uid}]})
    )
    said = []
    for row in Entry.objects.filter(names, log_id=entry.log_id).order_by("id")[: LINES + 1]:
        try:
            said.append((row, parse_entry(bytes(row.entry)).stmt))
        except EntrySyntax:
            said.append((row, {}))
    return said


def _line(row: Entry, said: Mapping[str, Any]) -> Line:
    actor = said.get("actor") or (f"agent:{row.agent}" if row.agent else "")
    return Line(row, str(actor), kind_in_words(row.kind, said), headline(said))


def _erased(entry: Entry, lines: Sequence[tuple[Entry, Mapping[str, Any]]]) -> dict[str, datetime]:
    uid = str(entry.uid)
    return {
        part["ptr"]: row.rcvd
        for row, said in lines
        if row.kind == "ecp.erasure/1"
        for part in said.get("parts", [])
        if part["id"] == uid
    }


def _signers(parsed: ParsedEntry | None) -> list[str]:
    return [signature.kid for signature in parsed.sigs] if parsed else []


def _text(stmt: Mapping[str, Any]) -> str:
    """The words of an entry: explanation of a decision, text or reason of another kind."""
    return next((stmt[name] for name in ("explanation", "text", "reason") if name in stmt), "")


def _value(value: Any) -> str:
    """A member for people: what is sealed is called sealed, sizes are spelt out."""
    if value == {"sealed": True}:
        return "sealed"
    if isinstance(value, dict) and len(value) == 1 and value.keys() <= {"chars", "items", "members"}:
        (name, size), *_ = value.items()
        return f"{size} {'characters' if name == 'chars' else name}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
