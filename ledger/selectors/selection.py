"""All that a list shows, for exports and evidence: the one place that knows how a list filters its rows.

Rows are read by key in parts, ascending: nothing is counted or skipped, no transaction stays open between
two parts, and a reader who is interrupted goes on from the position that comes next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.db import OperationalError, connection, transaction
from psycopg.errors import QueryCanceled

from ecp_project.kernel.errors import BadRequest
from ledger.core.columns import DECISION
from ledger.models import Entry
from ledger.selectors.console import (
    _SEARCHED,
    FILTERS,
    PARAMETERS,
    SEARCH_SQL,
    _between,
    _in_time,
    _narrowed,
    _number,
    _received_between,
    log_state,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.db.models import QuerySet

    from ledger.models import Log
    from ledger.selectors.console import Viewer


@dataclass(frozen=True, slots=True)
class Selection:
    """The rows of a list as of one tree size; `query` is the list's address without the page."""

    log: Log
    as_of: int
    query: str
    first: int
    end: int
    rows: QuerySet[Entry]
    by_seq: bool
    is_searched: bool
    is_everything: bool  # every position between `first` and `end` belongs to it

    def part(self, start: int, count: int) -> list[Entry]:
        """At most `count` rows from position `start` on, in log order."""
        rows = self._from(start).order_by("seq" if self.by_seq else "id")[:count]
        return _in_time(rows) if self.is_searched else list(rows)

    def exceeds(self, limit: int) -> bool | None:
        """Whether there are more than `limit` rows; None when that takes longer than two seconds to say."""
        if self.end - self.first <= limit or self.is_everything:
            return self.end - self.first > limit
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(SEARCH_SQL)
                return self._from(self.first).values("id")[: limit + 1].count() > limit
        except OperationalError as error:
            if isinstance(error.__cause__, QueryCanceled):
                return None
            raise

    def _from(self, start: int) -> QuerySet[Entry]:
        low = max(start, self.first)
        return _between(self.rows, self.log, low, self.end, by_seq=self.by_seq, is_searched=self.is_searched)


def selection(*, viewer: Viewer, parameters: Mapping[str, str], only_decisions: bool) -> Selection:
    """What the list at this address shows in full. The same refusals as the list's own."""
    unknown = sorted(set(parameters) - PARAMETERS)
    if unknown:
        raise BadRequest("unknown_key", f"{unknown[0][:64]} is no parameter of this list")
    state, _ = log_state(viewer, parameters.get("log", ""))
    log, size = state.log, state.log.head.size
    filters = {name: parameters[name].strip() for name in FILTERS if parameters.get(name, "").strip()}
    if only_decisions and "kind" in filters:
        raise BadRequest("bad_value", "this list holds decisions only; see the list of all entries")
    as_of = _number(parameters, "as_of", size)
    if as_of > size:
        raise BadRequest("invalid_cursor", "as_of is larger than the log")
    is_searched = any(name in filters for name in _SEARCHED)
    if is_searched:
        # What the search does not know yet would silently be missing, so nothing is claimed about it.
        as_of = min(as_of, state.searched_size)
    rows: QuerySet[Entry] = Entry.objects.filter(log_id=log.id)
    assigned = viewer.agents.get(log.organisation_id)
    if assigned is not None:
        rows = rows.filter(agent__in=assigned)
    if only_decisions:
        rows = rows.filter(kind=DECISION)
    first, end = _received_between(log, filters, as_of)
    return Selection(
        log=log,
        as_of=as_of,
        query=urlencode({"log": log.slug} | filters),
        first=first,
        end=end,
        rows=_narrowed(rows, filters),
        by_seq=not is_searched and (only_decisions or "agent" in filters or "kind" in filters),
        is_searched=is_searched,
        is_everything=assigned is None and not only_decisions and filters.keys() <= {"since", "until"},
    )
