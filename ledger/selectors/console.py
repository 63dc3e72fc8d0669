"""What the console pages read: always within the memberships of the person who asks."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib.postgres.search import SearchQuery
from django.db.models import Q, QuerySet

from ecp_project.kernel.errors import BadRequest, NotFound
from ledger.core.columns import DECISION
from ledger.core.entry import parse_entry, stmt_digest
from ledger.models import POSITIONS_PER_LOG, Entry, Log, Membership, Role
from ledger.selectors.entries import annotations_of
from ledger.selectors.proofs import newest_checkpoint

if TYPE_CHECKING:
    from collections.abc import Sequence

PAGE = 50
OPENERS = frozenset({Role.AUDITOR, Role.OPERATOR})
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Viewer:
    """A signed-in person's memberships.

    Organisation id -> role, and for manufacturers the agents assigned.
    """

    roles: dict[int, str]
    agents: dict[int, frozenset[str]]

    def may_open(self, organisation_id: int) -> bool:
        return self.roles.get(organisation_id) in OPENERS


def viewer_of(user: Any) -> Viewer:
    roles: dict[int, str] = {}
    agents: dict[int, frozenset[str]] = {}
    for membership in Membership.objects.filter(user_id=user.pk).prefetch_related("agents"):
        roles[membership.organisation_id] = membership.role
        if membership.role == Role.MANUFACTURER:
            agents[membership.organisation_id] = frozenset(agent.slug for agent in membership.agents.all())
    return Viewer(roles, agents)


def logs_for(viewer: Viewer) -> list[Log]:
    rows = Log.objects.filter(organisation_id__in=viewer.roles).select_related("organisation", "head")
    return list(rows.order_by("id"))


def visible(viewer: Viewer, log: Log, *, only_decisions: bool) -> QuerySet[Entry]:
    rows: QuerySet[Entry] = Entry.objects.filter(log_id=log.id)
    if only_decisions:
        rows = rows.filter(kind=DECISION)
    if log.organisation_id in viewer.agents:
        rows = rows.filter(agent__in=viewer.agents[log.organisation_id])
    return rows


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a list, read from the bytes."""

    entry: Entry
    text: str
    is_signed: bool


@dataclass(frozen=True, slots=True)
class Page:
    log: Log
    logs: Sequence[Log]
    rows: Sequence[Row]
    q: str
    as_of: int
    older: int | None
    newer: int | None


def entry_list(*, viewer: Viewer, parameters: dict[str, str], only_decisions: bool) -> Page:
    """A page of a log, newest first, by key: no count, no offset. 400 for parameters of no list."""
    logs = logs_for(viewer)
    log = next((log for log in logs if parameters.get("log") in {None, log.slug}), None)
    if log is None:
        raise NotFound("not_found", "there is no such log")
    base = log.id * POSITIONS_PER_LOG
    before, after = (_entry_id(parameters, name, base) for name in ("before", "after"))
    as_of = _number(parameters, "as_of", log.head.size)
    if as_of > log.head.size or (before is not None and after is not None):
        raise BadRequest("invalid_cursor", "these page parameters belong to no page of this list")
    rows = visible(viewer, log, only_decisions=only_decisions).filter(id__lt=base + as_of)
    q = parameters.get("q", "").strip()[:512]
    if q:
        words = SearchQuery(q, search_type="websearch", config="simple")
        rows = rows.filter(Q(search__explanation=words) | Q(agent=q))
    if after is not None:
        found = list(rows.filter(id__gt=after).order_by("id")[: PAGE + 1])
        has_more, found = len(found) > PAGE, found[:PAGE][::-1]
        older, newer = (found[-1].id if found else None), (found[0].id if has_more and found else None)
    else:
        if before is not None:
            rows = rows.filter(id__lt=before)
        found = list(rows.order_by("-id")[: PAGE + 1])
        has_more, found = len(found) > PAGE, found[:PAGE]
        older, newer = (
            (found[-1].id if has_more else None),
            (found[0].id if before is not None and found else None),
        )
    signed = newest_checkpoint(log.id)
    signed_size = signed.size if signed else 0
    shown = [
        Row(entry, headline(parse_entry(bytes(entry.entry)).stmt), entry.seq < signed_size) for entry in found
    ]
    return Page(log, logs, shown, q, as_of, older, newer)


def headline(stmt: dict[str, Any]) -> str:
    """What an entry says in one line, whatever its kind."""
    for name in ("explanation", "text", "reason", "action", "event", "basis"):
        if isinstance(stmt.get(name), str):
            return str(stmt[name])
    return ""


def _number(parameters: dict[str, str], name: str, default: int) -> int:
    text = parameters.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"[0-9]{1,16}", text):
        raise BadRequest("invalid_cursor", f"{name} is no number")
    return int(text)


def _entry_id(parameters: dict[str, str], name: str, base: int) -> int | None:
    if name not in parameters:
        return None
    value = _number(parameters, name, 0)
    if not base <= value <= base + POSITIONS_PER_LOG:
        raise BadRequest("invalid_cursor", f"{name} is no position of this log")
    return value


def direct_hit(*, viewer: Viewer, text: str, log: Log) -> Entry | None:
    """The record behind a UUID or a position typed into the search box."""
    rows = visible(viewer, log, only_decisions=False)
    if _UUID.fullmatch(text):
        return rows.filter(uid=UUID(text)).first()
    if re.fullmatch(r"[0-9]{1,12}", text):
        return rows.filter(id=log.id * POSITIONS_PER_LOG + int(text)).first()
    return None


@dataclass(frozen=True, slots=True)
class Record:
    """All that the record page shows, except the private values and the ticks."""

    entry: Entry
    stmt: dict[str, Any]
    raw: str
    stmt_digest: str
    summary: Sequence[tuple[str, str]]
    timeline: Sequence[tuple[Entry, str, dict[str, Any]]]
    sealed: Sequence[str]


def record_of(*, viewer: Viewer, entry_id: int) -> Record:
    entry = Entry.objects.filter(id=entry_id).select_related("log", "log__organisation").first()
    if entry is None or entry.log.organisation_id not in viewer.roles:
        raise NotFound("not_found", "there is no such record")
    assigned = viewer.agents.get(entry.log.organisation_id)
    if assigned is not None and entry.agent not in assigned:
        raise NotFound("not_found", "there is no such record")
    parsed = parse_entry(bytes(entry.entry))
    stmt = parsed.stmt
    timeline = []
    for row in annotations_of(log_id=entry.log_id, uid=entry.uid):
        said = parse_entry(bytes(row.entry)).stmt
        timeline.append((row, headline(said), said))
    return Record(
        entry,
        stmt,
        parsed.raw.decode(),
        stmt_digest(parsed.stmt_raw),
        [(name, _plain(value)) for name, value in stmt.get("context_summary", {}).items()],
        timeline,
        [part["ptr"] for part in stmt.get("sealed", [])],
    )


def _plain(value: Any) -> str:
    """A summary value for people: what is sealed is called sealed, sizes are spelt out."""
    if isinstance(value, dict):
        if value == {"sealed": True}:
            return "sealed"
        (name, size), *_ = value.items()
        return f"{size} {name}"
    return value if isinstance(value, str) else json.dumps(value)
