"""What the console's lists read: always within the memberships of the person who asks, always by key."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib.postgres.expressions import ArraySubquery
from django.contrib.postgres.search import SearchQuery
from django.db import OperationalError, connection, transaction
from django.db.models import OuterRef, Q, Subquery
from psycopg.errors import QueryCanceled

from ecp_project.kernel.errors import BadRequest, Invalid, NotFound
from ledger.core.columns import DECISION
from ledger.core.entry import EntrySyntax, parse_entry
from ledger.core.statement import registered
from ledger.models import POSITIONS_PER_LOG, Agent, Checkpoint, Cursor, Entry, Log, Membership, Role

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.db.models import QuerySet

PAGE = 50
MAX_Q = 512
OPENERS = frozenset({Role.AUDITOR, Role.OPERATOR})
EXPORTERS = frozenset({Role.AUDITOR, Role.OPERATOR, Role.ADMIN, Role.MANUFACTURER})
# A merge join would walk all logs from the newest entry of all; from a hit to its entry it is one step.
SEARCH_SQL = "SET LOCAL statement_timeout = '2s'; SET LOCAL enable_mergejoin = off"
AGENTS_OFFERED = 200
LATE = timedelta(minutes=5)
ZONES = ("manufacturer", "operator", "uncertain")
LEVELS = ("low", "medium", "high")
WORDS = {
    DECISION: "decision",
    "ecp.annotation/1": "annotation",
    "ecp.erasure/1": "erasure",
    "ecp.gap/1": "gap",
    "ecp.key/1": "key",
    "ecp.mode/1": "mode",
    "ecp.staff/1": "staff action",
}
# What a list takes from its address, in the order in which it shows the filters.
FILTERS = ("q", "agent", "kind", "zone", "level", "bypassed", "since", "until")
PARAMETERS = frozenset({"log", *FILTERS, "before", "after", "as_of"})
_SEARCHED = ("q", "zone", "level", "bypassed")  # answered by the search projection, which may lag
SEARCH_CURSOR = "search"  # the name under which the projection keeps its place
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_NUMBER = re.compile(r"[0-9]{1,16}")
_LEAF_HASH = re.compile(r"[0-9a-f]{64}")
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?Z?)?"
)

# Received times never run backwards along a log, so halving finds the first entry of an instant; done by the
# server that is one query instead of twenty for each bound.
FIRST_AT_SQL = """
WITH RECURSIVE halving(at, low, high) AS (
    SELECT given.at, 0::bigint, %(size)s::bigint FROM unnest(%(instants)s::timestamptz[]) AS given(at)
    UNION ALL
    SELECT h.at,
           CASE WHEN e.rcvd < h.at THEN m.middle + 1 ELSE h.low END,
           CASE WHEN e.rcvd < h.at THEN h.high ELSE m.middle END
    FROM halving h
    CROSS JOIN LATERAL (SELECT (h.low + h.high) / 2 AS middle) m
    JOIN ledger_entry e ON e.id = %(base)s + m.middle
    WHERE h.low < h.high
)
SELECT DISTINCT ON (at) at, low FROM halving ORDER BY at, high - low
"""


@dataclass(frozen=True, slots=True)
class Viewer:
    """A signed-in person's memberships.

    Organisation id -> role, the pseudonym that stands for the person on its log, and for manufacturers the
    slugs of the agents assigned.
    """

    roles: dict[int, str]
    agents: dict[int, frozenset[str]]
    pseudonyms: dict[int, UUID]

    def may_open(self, organisation_id: int) -> bool:
        return self.roles.get(organisation_id) in OPENERS

    def may_export(self, organisation_id: int) -> bool:
        """Whether lists and evidence may leave the console: of assigned agents alone for manufacturers."""
        return self.roles.get(organisation_id) in EXPORTERS

    def organisations_as(self, *roles: str) -> frozenset[int]:
        return frozenset(id_ for id_, role in self.roles.items() if role in roles)


def viewer_of(user: Any) -> Viewer:
    roles: dict[int, str] = {}
    agents: dict[int, frozenset[str]] = {}
    pseudonyms: dict[int, UUID] = {}
    for membership in Membership.objects.filter(user_id=user.pk):
        roles[membership.organisation_id] = membership.role
        pseudonyms[membership.organisation_id] = membership.pseudonym
        if membership.role == Role.MANUFACTURER:
            # A name says nothing across organisations, so only agents of this one count.
            own = membership.agents.filter(organisation_id=membership.organisation_id)
            agents[membership.organisation_id] = frozenset(own.values_list("slug", flat=True))
    return Viewer(roles, agents, pseudonyms)


@dataclass(frozen=True, slots=True)
class LogState:
    """A log with what its pages need: entries signed, entries that the search knows, agents to choose."""

    log: Log
    signed_size: int
    searched_size: int
    agents: Sequence[str]

    @property
    def waiting(self) -> int:
        """Entries that the next checkpoint will cover."""
        return max(0, self.log.head.size - self.signed_size)


def logs_for(viewer: Viewer) -> list[LogState]:
    checkpoints = Checkpoint.objects.filter(log_id=OuterRef("pk")).order_by("-size").values("size")[:1]
    cursors = Cursor.objects.filter(log_id=OuterRef("pk"), name=SEARCH_CURSOR).values("next_seq")
    agents = Agent.objects.filter(organisation_id=OuterRef("organisation_id")).order_by("slug")
    rows = (
        Log.objects.filter(organisation_id__in=viewer.roles)
        .select_related("organisation", "head")
        .annotate(
            signed_size=Subquery(checkpoints),
            searched_size=Subquery(cursors),
            agents=ArraySubquery(agents.values("slug")[:AGENTS_OFFERED]),
        )
    )
    return [
        LogState(row, row.signed_size or 0, row.searched_size or 0, _offered(viewer, row))
        for row in rows.order_by("id")
    ]


def _offered(viewer: Viewer, row: Any) -> list[str]:
    assigned = viewer.agents.get(row.organisation_id)
    return row.agents if assigned is None else sorted(assigned)


def visible(viewer: Viewer, rows: QuerySet[Entry]) -> QuerySet[Entry]:
    """Those of `rows` that the person may see: own organisations, and assigned agents for manufacturers."""
    seen = Q()
    whole = [id_ for id_ in viewer.roles if id_ not in viewer.agents]
    if whole:
        seen |= Q(log_id__in=Log.objects.filter(organisation_id__in=whole).values("id"))
    for organisation_id, slugs in viewer.agents.items():
        seen |= Q(
            log_id__in=Log.objects.filter(organisation_id=organisation_id).values("id"), agent__in=slugs
        )
    return rows.filter(seen) if seen else rows.none()


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a list. `what` and `text` are read from the bytes; None when they are no entry any more."""

    entry: Entry
    what: str
    text: str | None
    is_signed: bool

    @property
    def is_late(self) -> bool:
        """Recorded so long after it was decided that both times should be seen."""
        return abs(self.entry.rcvd - self.entry.ts) > LATE


@dataclass(frozen=True, slots=True)
class Page:
    """Rows newest first; `older` and `newer` are the parameters of the neighbouring pages.

    `behind` tells how many entries the search does not know yet; 0 where nothing was searched.
    """

    log: Log
    logs: Sequence[Log]
    rows: Sequence[Row]
    filters: Mapping[str, str]
    as_of: int
    older: dict[str, int] | None
    newer: dict[str, int] | None
    behind: int
    agents: Sequence[str]
    kinds: Sequence[str]


def log_state(viewer: Viewer, slug: str) -> tuple[LogState, list[Log]]:
    """The log of this slug, or the first, and all that the person can choose from."""
    states = logs_for(viewer)
    found = next((state for state in states if slug in {"", state.log.slug}), None)
    if found is None:
        raise NotFound("not_found", "there is no such log")
    return found, [state.log for state in states]


def entry_list(*, viewer: Viewer, parameters: Mapping[str, str], only_decisions: bool) -> Page:
    """A page of a log by key: no count, no offset. 400 for what no list takes, 422 when it takes too long."""
    unknown = sorted(set(parameters) - PARAMETERS)
    if unknown:
        raise BadRequest("unknown_key", f"{unknown[0][:64]} is no parameter of this list")
    state, logs = log_state(viewer, parameters.get("log", ""))
    log, size = state.log, state.log.head.size
    filters = {name: parameters[name].strip() for name in FILTERS if parameters.get(name, "").strip()}
    if only_decisions and "kind" in filters:
        raise BadRequest("bad_value", "this list holds decisions only; see the list of all entries")
    as_of = _number(parameters, "as_of", size)
    before, after = (_position(parameters, name, log) for name in ("before", "after"))
    if as_of > size or (before is not None and after is not None):
        raise BadRequest("invalid_cursor", "these page parameters belong to no page of this list")

    is_searched = any(name in filters for name in _SEARCHED)
    rows: QuerySet[Entry] = Entry.objects.filter(log_id=log.id)
    if log.organisation_id in viewer.agents:
        rows = rows.filter(agent__in=viewer.agents[log.organisation_id])
    if only_decisions:
        rows = rows.filter(kind=DECISION)
    # Agent and kind have indexes that end in `seq`; the primary key and the projection's end in the id.
    by_seq = not is_searched and (only_decisions or "agent" in filters or "kind" in filters)
    rows = _narrowed(rows, filters)
    low, high = _received_between(log, filters, as_of)
    if after is not None:
        low = max(low, after + 1)
    elif before is not None:
        high = min(high, before)
    rows = _between(rows, log, low, high, by_seq=by_seq, is_searched=is_searched)
    order = "seq" if by_seq else "id"
    rows = rows.order_by(order if after is not None else f"-{order}")[: PAGE + 1]
    found = _in_time(rows) if is_searched else list(rows)  # without a search an index gives the page in order
    has_more, found = len(found) > PAGE, found[:PAGE]
    if after is not None:
        found.reverse()
    has_older, has_newer = (True, has_more) if after is not None else (has_more, before is not None)
    return Page(
        log=log,
        logs=logs,
        rows=[_row(entry, state.signed_size) for entry in found],
        filters=filters,
        as_of=as_of,
        older={"before": found[-1].id, "as_of": as_of} if found and has_older else None,
        newer={"after": found[0].id, "as_of": as_of} if found and has_newer else None,
        behind=max(0, size - state.searched_size) if is_searched else 0,
        agents=state.agents,
        kinds=() if only_decisions else [kind.v for kind in registered()],
    )


def _narrowed(rows: QuerySet[Entry], filters: Mapping[str, str]) -> QuerySet[Entry]:
    """Only text and choices here; times become positions."""
    for name in filters:
        if "\0" in filters[name] or len(filters[name]) > MAX_Q:
            raise BadRequest("bad_value", f"{name} has more than {MAX_Q} characters, or a zero byte")
    if "agent" in filters:
        rows = rows.filter(agent=filters["agent"])
    if "kind" in filters:
        rows = rows.filter(kind=filters["kind"])
    if "zone" in filters:
        rows = rows.filter(search__zone=_choice(filters, "zone", ZONES))
    if "level" in filters:
        rows = rows.filter(search__level=_choice(filters, "level", LEVELS))
    if "bypassed" in filters:
        rows = rows.filter(search__bypassed=_choice(filters, "bypassed", ("true", "false")) == "true")
    if "q" in filters:
        words = SearchQuery(filters["q"], search_type="websearch", config="simple")
        rows = rows.filter(search__explanation=words)
    return rows


def _between(
    rows: QuerySet[Entry], log: Log, low: int, high: int, *, by_seq: bool, is_searched: bool
) -> QuerySet[Entry]:
    """Positions [low, high), said once and of the column that leads the way.

    Said of both sides of the join, PostgreSQL takes both for nearly empty where a small log stands beside
    large ones, and reads the whole log again for each of its entries.
    """
    if by_seq:
        return rows.filter(seq__gte=low, seq__lt=high)
    first, end = (log.id * POSITIONS_PER_LOG + seq for seq in (low, high))
    if is_searched:
        return rows.filter(search__entry_id__gte=first, search__entry_id__lt=end)
    return rows.filter(id__gte=first, id__lt=end)


def _in_time(rows: QuerySet[Entry]) -> list[Entry]:
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(SEARCH_SQL)
            return list(rows)
    except OperationalError as error:
        if isinstance(error.__cause__, QueryCanceled):
            raise Invalid(
                "query_too_expensive", "This takes longer than two seconds; add a time range or an agent."
            ) from error
        raise


def _received_between(log: Log, filters: Mapping[str, str], as_of: int) -> tuple[int, int]:
    """Positions [low, high) that were received from `since` on and before `until`."""
    given = {name: _instant(filters, name) for name in ("since", "until") if name in filters}
    if not given:
        return 0, as_of
    values: dict[str, Any] = {
        "size": as_of,
        "base": log.id * POSITIONS_PER_LOG,
        "instants": list(set(given.values())),
    }
    with connection.cursor() as cursor:
        cursor.execute(FIRST_AT_SQL, values)
        first_at = dict(cursor.fetchall())
    low = first_at[given["since"]] if "since" in given else 0
    return low, first_at[given["until"]] if "until" in given else as_of


def _row(entry: Entry, signed_size: int) -> Row:
    is_signed = entry.seq < signed_size
    try:
        stmt = parse_entry(bytes(entry.entry)).stmt
    except EntrySyntax:
        return Row(entry, entry.action or kind_in_words(entry.kind, {}), None, is_signed)
    return Row(entry, kind_in_words(entry.kind, stmt), headline(stmt), is_signed)


def kind_in_words(v: str, stmt: Mapping[str, Any]) -> str:
    """What an entry is, as the pages call it: a decision's action, `outcome: success` for an annotation."""
    if v == DECISION and "action" in stmt:
        return str(stmt["action"])
    if v == "ecp.annotation/1" and "kind" in stmt:
        return ": ".join(str(stmt[name]) for name in ("kind", "status") if name in stmt)
    return WORDS.get(v, v)


def headline(stmt: Mapping[str, Any]) -> str:
    """What an entry says in one line, whatever its kind."""
    for name in ("explanation", "text", "reason", "action", "event", "basis"):
        if isinstance(stmt.get(name), str):
            return str(stmt[name])
    return ""


def _choice(filters: Mapping[str, str], name: str, allowed: Sequence[str]) -> str:
    if filters[name] not in allowed:
        raise BadRequest("bad_value", f"{name} is one of: {', '.join(allowed)}")
    return filters[name]


def _instant(filters: Mapping[str, str], name: str) -> datetime:
    text = filters[name]
    try:
        if _INSTANT.fullmatch(text):
            return datetime.fromisoformat(text.removesuffix("Z")).replace(tzinfo=UTC)
    except ValueError:
        pass
    raise BadRequest("bad_value", f"{name} is a day or an instant in UTC: 2026-03-31 or 2026-03-31T12:00")


def _number(parameters: Mapping[str, str], name: str, default: int) -> int:
    text = parameters.get(name)
    if text is None:
        return default
    if not _NUMBER.fullmatch(text):
        raise BadRequest("invalid_cursor", f"{name} is no number")
    return int(text)


def _position(parameters: Mapping[str, str], name: str, log: Log) -> int | None:
    """Position in this log, given as an entry's id, which no other log has."""
    if name not in parameters:
        return None
    seq = _number(parameters, name, 0) - log.id * POSITIONS_PER_LOG
    if not 0 <= seq <= POSITIONS_PER_LOG:
        raise BadRequest("invalid_cursor", f"{name} is no position of this log")
    return seq


def direct_hit(*, viewer: Viewer, text: str, slug: str) -> Entry | None:
    """The entry that a record id, a leaf hash or a position of the log names; None for other text."""
    text = text.strip().lower()
    if _UUID.fullmatch(text):
        rows = Entry.objects.filter(uid=UUID(text))
    elif _LEAF_HASH.fullmatch(text):
        rows = Entry.objects.filter(leaf_hash=bytes.fromhex(text))
    elif re.fullmatch(r"[0-9]{1,12}", text):
        state, _ = log_state(viewer, slug)
        rows = Entry.objects.filter(id=state.log.id * POSITIONS_PER_LOG + int(text))
    else:
        return None
    return visible(viewer, rows).order_by("id").first()
