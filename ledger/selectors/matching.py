"""Which entries fit a query: one place for lists, facets and exports, so that all three mean the same set."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from django.contrib.postgres.search import SearchQuery
from django.db import OperationalError, connection, transaction
from django.db.models import Exists, F, OuterRef, Q, TextField, UUIDField, Value
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast, JSONObject
from psycopg.errors import QueryCanceled

from ecp_project.kernel.errors import EcpError, Invalid, Unavailable
from ecp_project.kernel.panels import PanelContext, registry
from ecp_project.observability.metrics import PANEL_FAILURES
from ledger.core.columns import DECISION
from ledger.models import POSITIONS_PER_LOG, Agent, Entry, EntrySearch
from ledger.selectors import query as grammar
from ledger.selectors.entries import OrgScope

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from django.db.models import QuerySet

    from ledger.models import Log
    from ledger.selectors.console import Viewer
    from ledger.selectors.query import LedgerQuery, Term

ANNOTATION = "ecp.annotation/1"
TIMEOUT_MS = 2_000
# So many annotations of a kind are collected at once; of more, the newest entries soon show a page.
FEW = 5_000
# How a search for words is answered: a word that NEAR newest entries hold DENSE times soon shows a page when
# one walks back from the newest. Of a rarer one the text index finds all hits at once, and FEW_HITS are taken
# as a list. PostgreSQL cannot guess which it is: of a word that its sample left out it expects one in 200.
NEAR, DENSE, FEW_HITS = 10_000, 100, 5_000
# Answered by the search projection, which may lag; the empty key is free text.
_SEARCHED = frozenset({"", "zone", "friction", "bypassed", "has", "action"})
_ORDERED = frozenset({"zone", "friction", "bypassed"})  # the projection has an index for them, newest first
SEALED = "sealed"

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

# How often the newest entries hold the words and, where that is seldom, all entries that do.
FEW_SQL = """
WITH near(hits) AS MATERIALIZED (
    SELECT cardinality(ARRAY(
        SELECT entry_id FROM ledger_entrysearch
        WHERE entry_id >= %(near)s AND entry_id < %(last)s
          AND explanation @@ websearch_to_tsquery('simple', %(words)s)
        LIMIT %(dense)s
    ))
), hits AS MATERIALIZED (
    SELECT entry_id FROM ledger_entrysearch
    WHERE entry_id >= %(first)s AND entry_id < %(last)s
      AND explanation @@ websearch_to_tsquery('simple', %(words)s)
      AND (SELECT near.hits FROM near) < %(dense)s
    LIMIT %(few)s + 1
)
SELECT near.hits, ARRAY(SELECT entry_id FROM hits) FROM near
"""


@dataclass(frozen=True, slots=True)
class Matches:
    """Entries that fit a query, at positions [low, end) of one log; not in order yet, and not read.

    `by_seq` tells which column leads the way: indexes of agent and kind end in `seq`, the primary key and
    those of the projection in the id.
    """

    log: Log
    rows: QuerySet[Entry]
    low: int
    end: int
    is_searched: bool
    by_seq: bool
    words: str = ""  # as `websearch_to_tsquery` takes them

    @property
    def is_limited(self) -> bool:
        """Read within the limits of `in_time`: searches, and the order of ids, which searches share."""
        return self.is_searched or not self.by_seq

    def first(
        self, low: int, end: int, count: int, *, is_newest: bool, columns: Mapping[str, F] | None = None
    ) -> list[Any]:
        """At most `count` entries from one end of [low, end), with `columns` beside their own."""
        with in_time(TIMEOUT_MS) if self.is_limited else nullcontext():
            found = self.narrowed()
            rows = found.newest(low, end) if is_newest else found.oldest(low, end)
            return list(rows.annotate(**(columns or {}))[:count])  # names of the code, no caller's

    def narrowed(self) -> Matches:
        """The same entries, named one by one where words are rare; one query, inside a time limit."""
        if not self.words:
            return self
        first, last = (self.log.id * POSITIONS_PER_LOG + seq for seq in (self.low, self.end))
        values: dict[str, Any] = {
            "words": self.words,
            "first": first,
            "near": max(first, last - NEAR),
            "last": last,
        }
        with connection.cursor() as cursor:
            cursor.execute(FEW_SQL, values | {"dense": DENSE, "few": FEW_HITS})
            near, hits = cursor.fetchone()
        if near >= DENSE or len(hits) > FEW_HITS:
            return self
        return replace(self, rows=self.rows.filter(id__in=hits), words="")

    def between(self, low: int, end: int) -> QuerySet[Entry]:
        """Positions are said once, and of the column that leads the way.

        Said of both sides of the join, PostgreSQL takes both for nearly empty where a small log stands beside
        large ones, and reads the whole log again for each of its entries.
        """
        low, end = max(self.low, low), min(self.end, end)
        if self.by_seq:
            return self.rows.filter(seq__gte=low, seq__lt=end)
        first, last = (self.log.id * POSITIONS_PER_LOG + seq for seq in (low, end))
        if self.is_searched:
            return self.rows.filter(search__entry_id__gte=first, search__entry_id__lt=last)
        return self.rows.filter(id__gte=first, id__lt=last)

    def newest(self, low: int, end: int) -> QuerySet[Entry]:
        return self.between(low, end).order_by("-seq" if self.by_seq else "-id")

    def oldest(self, low: int, end: int) -> QuerySet[Entry]:
        return self.between(low, end).order_by("seq" if self.by_seq else "id")


def matching(
    *,
    viewer: Viewer,
    log: Log,
    query: LedgerQuery,
    as_of: int,
    only_decisions: bool,
    now: datetime,
    kind: str = "",
) -> Matches:
    """Entries below `as_of` that fit and that the person may see; one query when the text names a time.

    `kind` leaves those of one kind, whatever the query says.
    """
    rows: QuerySet[Entry] = Entry.objects.filter(log_id=log.id)
    if log.organisation_id in viewer.agents:
        rows = rows.filter(agent__in=viewer.agents[log.organisation_id])
    if only_decisions:
        rows = rows.filter(kind=DECISION)
    if kind:
        rows = rows.filter(kind=kind)
    if words := query.words():
        rows = rows.filter(search__explanation=SearchQuery(words, search_type="websearch", config="simple"))
    for term in query.terms:
        if term.key == "agent" and term.negated:
            rows = rows.filter(_not_by(term.values, log))
            continue
        condition = _condition(term, log) or _contributed(term, viewer, log, now)
        if condition is not None:
            rows = rows.exclude(condition) if term.negated else rows.filter(condition)
    is_searched = any(term.key in _SEARCHED for term in query.terms)
    leads = only_decisions or bool(kind) or any(len(query.values(key)) == 1 for key in ("agent", "kind"))
    low, end = _positions(log, query, as_of, now)
    if not any(not term.key and not term.negated for term in query.terms):
        words = ""  # an index finds what is there, not what is missing
    is_ordered = any(term.key in _ORDERED or SEALED in term.values for term in query.terms)
    return Matches(log, rows, low, end, is_searched, by_seq=leads and not is_ordered, words=words)


def _condition(term: Term, log: Log) -> Q | Exists | None:
    """What a term asks of a row; None where it asks for positions or for words."""
    condition: Q | Exists | None = None
    match term.key:
        case "agent":
            condition = Q(agent__in=term.values)
        case "kind":
            condition = Q(kind__in=term.values)
        case "action":
            condition = Q(action__in=term.values) if term.negated else _action(term.values)
        case "zone":
            condition = Q(search__zone__in=term.values)
        case "friction":
            condition = Q(search__level__in=term.values)
        case "bypassed":
            condition = Q(search__bypassed=term.values[0] == "true")
        case "has" if term.values[0] == SEALED:
            condition = Q(search__body__has_key="sealed")
        case "has" if term.values[0] in grammar.HAS:
            condition = _said(term.values[0], log)
        case "seq" if term.negated:
            low, end = grammar.positions(term.values[0])
            condition = Q(seq__gte=low, seq__lt=end)
    return condition


def _not_by(values: tuple[str, ...], log: Log) -> Q:
    """Entries of all agents but these, by name, and of none: an index finds the few beside the busiest."""
    others = Agent.objects.filter(organisation_id=log.organisation_id).exclude(slug__in=values)
    return Q(agent__in=list(others.values_list("slug", flat=True))) | Q(agent=None)


def _contributed(term: Term, viewer: Viewer, log: Log, now: datetime) -> Q | None:
    """What an app's own key finds: the decisions that it names. A key that fails spoils its query alone."""
    apps = registry.has_values() if term.key == "has" else registry.query_keys()
    panel = apps.get(term.values[0] if term.key == "has" else term.key)
    if panel is None:
        return None
    scope = OrgScope(log.organisation_id, viewer.agents.get(log.organisation_id))
    about = PanelContext(scope, log.id, None, None, None, now, values=term.values)
    try:
        found = panel.load(about)
    except EcpError:  # such as a value that the key does not take
        raise
    except Exception as error:
        PANEL_FAILURES.labels(panel=panel.key).inc()
        raise Unavailable("part_failed", f"{term.key}: cannot be searched right now.") from error
    return Q(uid__in=found["uids"] if found else [])


def _action(values: tuple[str, ...]) -> Q:
    """The action's words are in the text index, which finds a rare action; the column then decides."""
    words = SearchQuery(values[0], search_type="plain", config="simple")
    for value in values[1:]:
        words |= SearchQuery(value, search_type="plain", config="simple")
    return Q(action__in=values, search__explanation=words)


def _said(value: str, log: Log) -> Q | Exists:
    """Entries with an annotation of this kind.

    Where few have one, an index finds all of them at once; where many have, one entry after the other is
    asked. PostgreSQL cannot guess which it is.
    """
    first = log.id * POSITIONS_PER_LOG
    own = EntrySearch.objects.filter(entry_id__gte=first, entry_id__lt=first + POSITIONS_PER_LOG)
    said = own.filter(body__contains={"v": ANNOTATION, "kind": value})
    if len(said.values_list("entry_id")[: FEW + 1]) <= FEW:
        return Q(uid__in=said.values(about=Cast(KeyTextTransform("target", "body"), UUIDField())))
    about_it = JSONObject(v=Value(ANNOTATION), kind=Value(value), target=Cast(OuterRef("uid"), TextField()))
    return Exists(own.filter(body__contains=about_it))


def _positions(log: Log, query: LedgerQuery, as_of: int, now: datetime) -> tuple[int, int]:
    """Positions [low, end): of `seq`, and received from `since` on and before `until`."""
    low, end = 0, as_of
    named = [term for term in query.terms if term.key == "organisation"]
    if any(term.negated == (log.organisation.slug in term.values) for term in named):
        end = 0  # a log is of one organisation, so there is nothing to look through
    for value in query.values("seq"):
        first, last = grammar.positions(value)
        low, end = max(low, first), min(end, last)
    times = [term for term in query.terms if term.key in {"since", "until"}]
    if times:
        first_at = _first_at(log, as_of, [grammar.instant(term.values[0], now) for term in times])
        for term, at in zip(times, first_at, strict=True):
            if (term.key == "since") != term.negated:  # not since is the same as until
                low = max(low, at)
            else:
                end = min(end, at)
    return low, end


def _first_at(log: Log, as_of: int, instants: list[datetime]) -> list[int]:
    """For each instant the first position that was received then or later."""
    values: dict[str, Any] = {
        "size": as_of,
        "base": log.id * POSITIONS_PER_LOG,
        "instants": list(set(instants)),
    }
    with connection.cursor() as cursor:
        cursor.execute(FIRST_AT_SQL, values)
        found: dict[datetime, int] = dict(cursor.fetchall())
    return [found[at] for at in instants]


@contextmanager
def in_time(timeout_ms: int) -> Iterator[None]:
    """A transaction whose statements are cancelled when they take longer: 422 `query_too_expensive`."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            # A merge join would walk all logs from the newest entry of all; from a hit to its entry it is
            # one step.
            cursor.execute(
                "SELECT set_config('statement_timeout', %s, true),"
                " set_config('enable_mergejoin', 'off', true)",
                [f"{timeout_ms}ms"],
            )
            yield
    except OperationalError as error:
        if isinstance(error.__cause__, QueryCanceled):
            raise Invalid(
                "query_too_expensive",
                f"This takes longer than {timeout_ms / 1000:g} seconds; add a time range or an agent.",
            ) from error
        raise
