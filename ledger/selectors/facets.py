"""What the newest matches of a query are made of: counts beside each value that could narrow it further.

Counts speak of a window of the newest 10,000 matches and are never a total of the log (CONSOLE section 4.4).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.core.exceptions import EmptyResultSet
from django.db import connection

from ecp_project.kernel.errors import Invalid
from ledger.core.statement import registered
from ledger.selectors.lists import page_matches
from ledger.selectors.matching import in_time
from ledger.selectors.query import BYPASSED, FRICTION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ledger.selectors.console import Viewer
    from ledger.selectors.lists import Page
    from ledger.selectors.query import LedgerQuery

WINDOW = 10_000
TIMEOUT_MS = 250
MOST = 10
ZONES = ("manufacturer", "operator", "uncertain")
# Key of the query -> column of the window, in the order of the page.
COLUMNS = {
    "agent": "agent",
    "kind": "kind",
    "friction": "search__level",
    "zone": "search__zone",
    "bypassed": "search__bypassed",
}


@dataclass(frozen=True, slots=True)
class FacetValue:
    """A value, how often it occurs (None: not counted), and the query with it, or without it if chosen."""

    value: str
    count: int | None
    is_chosen: bool
    q: str


@dataclass(frozen=True, slots=True)
class Facet:
    key: str
    values: Sequence[FacetValue]


@dataclass(frozen=True, slots=True)
class Facets:
    """`total` is the number of matches in the window, None when nothing was counted."""

    facets: Sequence[Facet]
    total: int | None
    is_late: bool = False

    @property
    def is_full(self) -> bool:
        return self.total == WINDOW


def facet_names(page: Page) -> Facets:
    """Every facet without counts; reads nothing."""
    return Facets([_facet(page, key, None) for key in _keys(page)], None)


def facets_of(*, page: Page, viewer: Viewer) -> Facets:
    """Counts: one query for each facet whose term is in the query, and one for all others."""
    keys = _keys(page)
    active = [key for key in keys if page.query.values(key)]
    try:
        with in_time(TIMEOUT_MS):
            counts, total = _counted(page, viewer, page.query, [key for key in keys if key not in active])
            for key in active:
                counts |= _counted(page, viewer, page.query.with_values(key, ()), [key])[0]
    except Invalid:
        late = facet_names(page)
        return Facets(late.facets, None, is_late=True)
    return Facets([_facet(page, key, counts.get(key, {})) for key in keys], total)


def _keys(page: Page) -> list[str]:
    return [key for key in COLUMNS if key != "kind" or not page.only_decisions]


def _counted(
    page: Page, viewer: Viewer, query: LedgerQuery, keys: Sequence[str]
) -> tuple[dict[str, dict[str, int]], int]:
    found = page_matches(page, viewer, query).narrowed()
    rows = found.newest(0, page.as_of).values_list(*COLUMNS.values())[:WINDOW]
    try:
        window, parameters = rows.query.sql_with_params()
    except EmptyResultSet:  # of a manufacturer to whom no agent is assigned
        return {}, 0
    columns = [COLUMNS[key] for key in keys]
    sets = ", ".join([*(f"({column})" for column in columns), "()"])
    shown = ", ".join([f"grouping({column}), {column}::text" for column in columns] or ["NULL"])
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    total = 0
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT count(*), {shown} FROM ({window}) w GROUP BY GROUPING SETS ({sets})",  # noqa: S608 - own names
            parameters,
        )
        for count, *cells in cursor.fetchall():
            for key, is_rolled_up, value in zip(keys, cells[::2], cells[1::2], strict=False):
                if not is_rolled_up:
                    if value is not None:
                        counts[key][value] = count
                    break
            else:
                total = count
    return counts, total


def _facet(page: Page, key: str, counts: Mapping[str, int] | None) -> Facet:
    """Values in the order of the page: fixed ones as they are, others the most frequent first."""
    chosen = page.query.values(key)
    fixed: dict[str, Sequence[str]] = {"friction": FRICTION, "zone": ZONES, "bypassed": BYPASSED}
    if key in fixed:
        values = list(fixed[key])
    elif counts is not None:
        values = sorted(counts, key=lambda value: (-counts[value], value))[:MOST]
    elif key == "agent":
        values = list(page.state.agents[:MOST])
    else:
        values = [kind.v for kind in registered()]
    values += [value for value in chosen if value not in values]
    return Facet(key, [_value(page, key, value, counts, chosen) for value in values])


def _value(
    page: Page, key: str, value: str, counts: Mapping[str, int] | None, chosen: Sequence[str]
) -> FacetValue:
    is_chosen = value in chosen
    rest = [other for other in chosen if other != value] if is_chosen else [value]
    count = None if counts is None else counts.get(value, 0)
    return FacetValue(value, count, is_chosen, str(page.query.with_values(key, rest)))
