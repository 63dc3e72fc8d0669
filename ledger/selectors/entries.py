"""Reading entries: always within the caller's organisation, always by key, never by counting."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.contrib.postgres.search import SearchQuery

from ecp_project.kernel.clock import format_time
from ecp_project.kernel.errors import NotFound
from ledger.core.columns import DECISION
from ledger.core.entry import parse_entry, stmt_digest
from ledger.models import POSITIONS_PER_LOG, Agent, Entry, Log, Organisation
from ledger.selectors.hot import hot_row
from ledger.selectors.proofs import newest_checkpoint

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from django.db.models import QuerySet


@dataclass(frozen=True, slots=True)
class OrgScope:
    """What a caller may see: one organisation and, for agents and manufacturers, only these agents of it."""

    organisation_id: int
    agents: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class EntryFilter:
    """Filters of the list; every name is one of the documented query parameters."""

    agent: str | None = None
    action: str | None = None
    kind: str | None = None
    zone: str | None = None
    friction: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    q: str | None = None


def logs(*, scope: OrgScope) -> QuerySet[Log]:
    return (
        Log.objects.filter(organisation_id=scope.organisation_id)
        .select_related("organisation", "head")
        .order_by("id")
    )


def log_of(*, scope: OrgScope, slug: str) -> Log:
    log = logs(scope=scope).filter(slug=slug).first()
    if log is None:
        raise NotFound("not_found", "there is no such log")
    return log


DEFAULT_LOG_SQL = """
SELECT l.id, l.slug, l.origin, o.id, o.slug, o.context_policy::text
FROM ledger_log l JOIN ledger_organisation o ON o.id = l.organisation_id
WHERE o.id = $1 ORDER BY l.epoch DESC, l.id LIMIT 1
"""


def default_log(*, scope: OrgScope) -> Log:
    """The log that takes an organisation's decisions: its newest epoch, as far as an append needs it."""
    row = hot_row(DEFAULT_LOG_SQL, (scope.organisation_id,))
    if row is None:
        raise NotFound("not_found", "this organisation has no log; run `manage.py org_create`")
    return log_from_row(row)


@lru_cache(maxsize=256)
def log_from_row(row: tuple[Any, ...]) -> Log:
    """A log from the columns of `DEFAULT_LOG_SQL`, shared: the other fields have their default values."""
    organisation = Organisation(id=row[3], slug=row[4], context_policy=json.loads(row[5]))
    return Log(id=row[0], slug=row[1], origin=row[2], organisation=organisation)


def agent_status(*, organisation_id: int, slug: str) -> str | None:
    """Status of one registered agent; None when there is no such agent."""
    sql = "SELECT status FROM ledger_agent WHERE organisation_id = $1 AND slug = $2"
    row = hot_row(sql, (organisation_id, slug))
    return None if row is None else str(row[0])


def published_log(slug: str, scope: OrgScope | None) -> Log:
    """A log by its slug for static files.

    Public ones for everybody, else within the caller's organisation.
    """
    log = Log.objects.filter(slug=slug).select_related("organisation").first()
    if log is None or not (
        log.is_public or (scope is not None and scope.organisation_id == log.organisation_id)
    ):
        raise NotFound("not_found", "there is no such log")
    return log


def visible_logs(scope: OrgScope | None) -> list[Log]:
    public = list(Log.objects.filter(is_public=True).order_by("id"))
    own = list(logs(scope=scope)) if scope is not None else []
    return list({log.id: log for log in (*public, *own)}.values())


def _entries(scope: OrgScope, log: Log | None = None) -> QuerySet[Entry]:
    """Entries of the caller's logs. A scope that names agents sees their decisions and nothing else."""
    ids = [log.id] if log is not None else list(logs(scope=scope).values_list("id", flat=True))
    rows: QuerySet[Entry] = Entry.objects.filter(log_id__in=ids)
    if scope.agents is not None:
        rows = rows.filter(agent__in=scope.agents)
    return rows


def entry_of(*, scope: OrgScope, uid: UUID) -> Entry:
    entry = _entries(scope).filter(uid=uid).select_related("log", "log__organisation").first()
    if entry is None:
        raise NotFound("not_found", "there is no such record")
    return entry


def decision_of(*, scope: OrgScope, uid: UUID) -> Entry:
    entry = entry_of(scope=scope, uid=uid)
    if entry.kind != DECISION:
        raise NotFound("not_found", "there is no such record")
    return entry


def entry_page(*, scope: OrgScope, filters: EntryFilter, before: int | None, size: int) -> list[Entry]:
    """Newest first, at most `size` + 1 rows: the one too many tells that there is a next page."""
    rows = _entries(scope, default_log(scope=scope))
    for column in ("agent", "action", "kind"):
        value = getattr(filters, column)
        if value is not None:
            rows = rows.filter((column, value))
    if filters.kind is None:
        rows = rows.filter(kind=DECISION)
    if filters.zone is not None:
        rows = rows.filter(search__zone=filters.zone)
    if filters.friction is not None:
        rows = rows.filter(search__level=filters.friction)
    if filters.q:
        rows = rows.filter(
            search__explanation=SearchQuery(filters.q, search_type="websearch", config="simple")
        )
    if filters.since is not None:
        rows = rows.filter(id__gte=_first_at(scope, filters.since))
    if filters.until is not None:
        rows = rows.filter(id__lt=_first_at(scope, filters.until))
    if before is not None:
        rows = rows.filter(id__lt=before)
    return list(rows.order_by("-id")[: size + 1])


def _first_at(scope: OrgScope, at: datetime) -> int:
    """Id of the first entry received at or after `at`: `rcvd` never runs backwards, so halving finds it."""
    log = default_log(scope=scope)
    base = log.id * POSITIONS_PER_LOG
    low, high = 0, log.head.size
    while low < high:
        middle = (low + high) // 2
        rcvd = Entry.objects.filter(id=base + middle).values_list("rcvd", flat=True).get()
        if rcvd < at:
            low = middle + 1
        else:
            high = middle
    return base + low


def entry_range(*, log: Log, start: int, count: int) -> QuerySet[Any]:
    base = log.id * POSITIONS_PER_LOG
    return (
        Entry.objects.filter(id__gte=base + start, id__lt=base + start + count)
        .order_by("id")
        .values_list("entry", flat=True)
    )


def annotations_of(*, log_id: int, uid: UUID) -> list[Entry]:
    """Entries that speak of this record, oldest first; found through the search projection."""
    rows = Entry.objects.filter(log_id=log_id, search__body__contains={"target": str(uid)})
    return list(rows.order_by("id")[:200])


def agents(*, scope: OrgScope) -> QuerySet[Agent]:
    rows = Agent.objects.filter(organisation_id=scope.organisation_id)
    return rows if scope.agents is None else rows.filter(slug__in=scope.agents)


def agent_of(*, scope: OrgScope, slug: str) -> Agent:
    agent = agents(scope=scope).filter(slug=slug).first()
    if agent is None:
        raise NotFound("not_found", "there is no such agent")
    return agent


def organisation(*, scope: OrgScope) -> Organisation:
    return Organisation.objects.get(pk=scope.organisation_id)


def signed_sizes(log_ids: Sequence[int]) -> Mapping[int, int]:
    sizes = {log_id: newest_checkpoint(log_id) for log_id in set(log_ids)}
    return {log_id: signed.size if signed else 0 for log_id, signed in sizes.items()}


def entry_document(entry: Entry, signed_size: int) -> dict[str, Any]:
    """An entry for readers: where it stands, and the statement as it was made."""
    parsed = parse_entry(bytes(entry.entry))
    return {
        "id": str(entry.uid),
        "seq": entry.seq,
        "status": "signed" if entry.seq < signed_size else "logged",
        "rcvd": format_time(entry.rcvd),
        "leaf_hash": bytes(entry.leaf_hash).hex(),
        "stmt_digest": stmt_digest(parsed.stmt_raw),
        "statement": parsed.stmt,
    }
