"""A page of the decision log or of all entries, by key: no count, no offset (CONSOLE section 4.1)."""

from __future__ import annotations

import re
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import F, OuterRef, TextField
from django.db.models.functions import Cast, JSONObject

from ecp_project.kernel.errors import BadRequest, EcpError, Invalid
from ledger.core.entry import EntrySyntax, parse_entry
from ledger.models import POSITIONS_PER_LOG, Entry, EntrySearch
from ledger.selectors.console import headline, kind_in_words, log_state
from ledger.selectors.matching import ANNOTATION, TIMEOUT_MS, in_time, matching
from ledger.selectors.query import LedgerQuery, parse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from ledger.models import Log
    from ledger.selectors.console import LogState, Viewer
    from ledger.selectors.matching import Matches

PAGE_SIZES = (25, 50, 100)
PAGE_SIZE = 50
COLUMNS = ("organisation", "bypassed", "leaf_hash", "annotations")  # those that are shown on request
PARAMETERS = frozenset({"log", "q", "n", "cols", "before", "after", "as_of", "facets"})
LATE = timedelta(minutes=5)
MAX_ANNOTATIONS = 1_000  # of one entry; more are told as this many
HINT_TIMEOUT_MS = 50
MAX_HINTS = 5
MAX_FRESH = 100  # a page that is told of more says 99+
NOW = {"zone_now": "zone", "friction_now": "level", "bypassed_now": "bypassed"}
_NUMBER = re.compile(r"[0-9]{1,16}")


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a list. `what` and `text` are read from the bytes; None when they are no entry any more."""

    entry: Entry
    what: str
    text: str | None
    is_signed: bool
    zone: str | None
    friction: str | None
    bypassed: bool | None
    annotations: int = 0
    witnesses: int = 0

    @property
    def is_late(self) -> bool:
        """Recorded so long after it was decided that both times should be seen."""
        return abs(self.entry.rcvd - self.entry.ts) > LATE

    @property
    def short_hash(self) -> str:
        digest = bytes(self.entry.leaf_hash).hex()
        return f"{digest[:8]}…{digest[-4:]}"


@dataclass(frozen=True, slots=True)
class Page:
    """Rows newest first; `older` and `newer` are the parameters of the neighbouring pages.

    With a `problem` there are no rows, and everything else is kept so that the person can go on. `behind`
    tells how many entries the search does not know yet; 0 where nothing was searched. `hints` are the places
    of terms without which something would be found.
    """

    state: LogState
    q: str
    as_of: int
    only_decisions: bool
    now: datetime
    query: LedgerQuery = LedgerQuery()  # noqa: RUF009 - frozen
    size: int = PAGE_SIZE
    columns: Sequence[str] = ()
    rows: Sequence[Row] = ()
    older: Mapping[str, int] | None = None
    newer: Mapping[str, int] | None = None
    behind: int = 0
    hints: Sequence[int] = ()
    problem: EcpError | None = None
    kind: str = ""  # of all entries of the list, where it is of one kind

    @property
    def log(self) -> Log:
        return self.state.log

    @property
    def shows_friction(self) -> bool:
        """A column of which each cell would be empty takes room from the explanations."""
        return any(row.friction or row.bypassed for row in self.rows)

    @property
    def shows_zone(self) -> bool:
        return any(row.zone for row in self.rows)


def entry_list(
    *, viewer: Viewer, parameters: Mapping[str, str], only_decisions: bool, now: datetime, kind: str = ""
) -> Page:
    """A page of a log; 404 for a log that the person has not, any other failure as `problem` of the page."""
    page = replace(_empty(viewer, parameters, only_decisions=only_decisions, now=now), kind=kind)
    try:
        page = replace(page, query=parse(page.q))
        page = replace(page, size=_size(parameters), columns=_columns(parameters))
        return _filled(page, viewer, parameters)
    except EcpError as problem:
        return replace(page, problem=problem)


def list_head(*, viewer: Viewer, parameters: Mapping[str, str], only_decisions: bool, now: datetime) -> Page:
    """The same page before its rows are read; every failure is raised."""
    page = _empty(viewer, parameters, only_decisions=only_decisions, now=now)
    _only_known(parameters)
    return replace(
        page,
        query=parse(page.q),
        size=_size(parameters),
        columns=_columns(parameters),
        as_of=_as_of(page, parameters),
    )


@dataclass(frozen=True, slots=True)
class Fresh:
    """How many entries a list would gain, up to a hundred, and how many the search does not know yet."""

    count: int
    behind: int


def fresh(
    *, viewer: Viewer, parameters: Mapping[str, str], only_decisions: bool, after: int, now: datetime
) -> Fresh:
    """What a list that was read at size `after` does not show yet; every failure is raised."""
    page = list_head(viewer=viewer, parameters=parameters, only_decisions=only_decisions, now=now)
    found = page_matches(page, viewer)
    with in_time(TIMEOUT_MS):
        count = len(found.narrowed().newest(after, found.end).values_list("id")[:MAX_FRESH])
    behind = max(0, page.as_of - page.state.searched_size) if found.is_searched else 0
    return Fresh(count, behind)


def _empty(viewer: Viewer, parameters: Mapping[str, str], *, only_decisions: bool, now: datetime) -> Page:
    state = log_state(viewer, parameters.get("log", ""))
    return Page(
        state=state,
        q=parameters.get("q", ""),
        as_of=state.log.head.size,
        only_decisions=only_decisions,
        now=now,
    )


def _only_known(parameters: Mapping[str, str]) -> None:
    unknown = sorted(set(parameters) - PARAMETERS)
    if unknown:
        raise BadRequest("unknown_key", f"{unknown[0][:64]} is no parameter of this list.")


def _as_of(page: Page, parameters: Mapping[str, str]) -> int:
    as_of = _number(parameters, "as_of", page.as_of)
    if as_of > page.as_of:
        raise BadRequest("invalid_cursor", "The log has never been as long as the address says.")
    return as_of


def _filled(page: Page, viewer: Viewer, parameters: Mapping[str, str]) -> Page:
    _only_known(parameters)
    as_of = _as_of(page, parameters)
    before, after = (_position(parameters, name, page.log) for name in ("before", "after"))
    if before is not None and after is not None:
        raise BadRequest("invalid_cursor", "These page parameters belong to no page of this list.")
    page = replace(page, as_of=as_of)
    found = page_matches(page, viewer)
    # Without a term an index gives the page in order; everything else may have to read much.
    is_timed = page.query.terms and not found.is_limited
    with in_time(TIMEOUT_MS) if is_timed else nullcontext():
        entries = _entries(found, before, after, page.size)
    has_more, entries = len(entries) > page.size, entries[: page.size]
    if after is not None:
        entries.reverse()
    has_older, has_newer = (True, has_more) if after is not None else (has_more, before is not None)
    notes = _annotations(entries) if "annotations" in page.columns else {}
    is_first = before is None and after is None
    return replace(
        page,
        rows=[_row(entry, page.state, notes) for entry in entries],
        older={"before": entries[-1].id, "as_of": as_of} if entries and has_older else None,
        newer={"after": entries[0].id, "as_of": as_of} if entries and has_newer else None,
        behind=max(0, page.state.log.head.size - page.state.searched_size) if found.is_searched else 0,
        hints=_hints(page, viewer) if not entries and is_first and len(page.query.terms) > 1 else (),
    )


def page_matches(page: Page, viewer: Viewer, query: LedgerQuery | None = None) -> Matches:
    """What the page's query, or another one in its place, finds as of the page's size."""
    return matching(
        viewer=viewer,
        log=page.log,
        query=page.query if query is None else query,
        as_of=page.as_of,
        only_decisions=page.only_decisions,
        now=page.now,
        kind=page.kind,
    )


def _entries(found: Matches, before: int | None, after: int | None, size: int) -> list[Any]:
    """One row more than the page takes: it tells that there is a next page."""
    low, end = (0, found.end if before is None else before) if after is None else (after + 1, found.end)
    # The projection's columns follow what was said of a decision later.
    said = {name: F(f"search__{column}") for name, column in NOW.items()}
    return found.first(low, end, size + 1, is_newest=after is None, columns=said)


def _row(entry: Any, state: LogState, annotations: Mapping[str, int]) -> Row:
    try:
        stmt = parse_entry(bytes(entry.entry)).stmt
    except EntrySyntax:
        what, text = entry.action or kind_in_words(entry.kind, {}), None
    else:
        what, text = kind_in_words(entry.kind, stmt), headline(stmt)
    return Row(
        entry=entry,
        what=what,
        text=text,
        is_signed=entry.seq < state.signed_size,
        zone=entry.zone_now,
        friction=entry.friction_now,
        bypassed=entry.bypassed_now,
        annotations=annotations.get(str(entry.uid), 0),
        witnesses=state.witnesses_of(entry.seq),
    )


def _annotations(entries: Sequence[Entry]) -> Mapping[str, int]:
    """How many annotations each of these has: one probe of the projection's index for each entry.

    Of one condition that names all of them PostgreSQL expects so many rows that it reads the whole table.
    """
    if not entries:
        return {}
    first = entries[0].log_id * POSITIONS_PER_LOG
    about = EntrySearch.objects.filter(
        entry_id__gte=first,
        entry_id__lt=first + POSITIONS_PER_LOG,
        body__contains=JSONObject(target=Cast(OuterRef("uid"), TextField())),
    )
    rows = Entry.objects.filter(id__in=[entry.id for entry in entries]).annotate(
        said=ArraySubquery(about.values("body__v")[:MAX_ANNOTATIONS])
    )
    return {str(uid): said.count(ANNOTATION) for uid, said in rows.values_list("uid", "said")}


def _hints(page: Page, viewer: Viewer) -> list[int]:
    """Places of the terms that stand alone between the reader and a first row, as far as that is cheap."""
    found = []
    with suppress(Invalid), in_time(HINT_TIMEOUT_MS):  # what was found until then helps as well
        for place, term in enumerate(page.query.terms[:MAX_HINTS]):
            fewer = page_matches(page, viewer, page.query.without(term)).narrowed()
            # As many as a page has: for a single one PostgreSQL would rather walk the log than ask an index.
            if fewer.newest(0, page.as_of).values_list("id", flat=True)[: page.size]:
                found.append(place)
    return found


def _size(parameters: Mapping[str, str]) -> int:
    size = _number(parameters, "n", PAGE_SIZE)
    if size not in PAGE_SIZES:
        raise BadRequest("invalid_cursor", f"n is one of: {', '.join(map(str, PAGE_SIZES))}.")
    return size


def _columns(parameters: Mapping[str, str]) -> list[str]:
    given = [name for name in parameters.get("cols", "").split(",") if name]
    if not set(given) <= set(COLUMNS):
        raise BadRequest("bad_value", f"cols takes: {', '.join(COLUMNS)}.")
    return [name for name in COLUMNS if name in given]


def _number(parameters: Mapping[str, str], name: str, default: int) -> int:
    text = parameters.get(name)
    if text is None:
        return default
    if not _NUMBER.fullmatch(text):
        raise BadRequest("invalid_cursor", f"{name} is no number.")
    return int(text)


def _position(parameters: Mapping[str, str], name: str, log: Log) -> int | None:
    """Position in this log, given as an entry's id, which no other log has."""
    if name not in parameters:
        return None
    seq = _number(parameters, name, 0) - log.id * POSITIONS_PER_LOG
    if not 0 <= seq <= POSITIONS_PER_LOG:
        raise BadRequest("invalid_cursor", f"{name} is no position of this log.")
    return seq
