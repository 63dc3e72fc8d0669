"""All that a list shows, for exports and evidence: the same rows as the list's, ascending.

Rows are read by key in parts: nothing is counted or skipped, no transaction stays open between two parts,
and a reader who is interrupted goes on from the position that comes next.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from ecp_project.kernel.errors import Invalid, NotFound
from ledger.selectors.lists import list_head, page_matches
from ledger.selectors.matching import TIMEOUT_MS, in_time

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from ledger.models import Entry, Log
    from ledger.selectors.console import Viewer
    from ledger.selectors.matching import Matches

POSITIONAL = frozenset({"seq", "since", "until"})  # keys that ask for positions and leave out no row between


@dataclass(frozen=True, slots=True)
class Selection:
    """The rows of a list as of one tree size; `query` is the list's address without the page."""

    log: Log
    as_of: int
    query: str
    first: int
    end: int
    found: Matches
    is_everything: bool  # every position between `first` and `end` belongs to it

    def part(self, start: int, count: int) -> list[Entry]:
        """At most `count` rows from position `start` on, in log order."""
        return self.found.first(max(start, self.first), self.end, count, is_newest=False)

    def only(self, entry_ids: Sequence[int]) -> Selection:
        """These rows of the list; 404 when one of them is none of its rows."""
        found = replace(self.found, rows=self.found.rows.filter(id__in=entry_ids))
        rows = found.oldest(self.first, self.end).values_list("seq", flat=True)
        seqs = list(rows)
        if len(seqs) != len(set(entry_ids)):
            raise NotFound("not_found", "a marked row is none of this list")
        named = urlencode({"positions": ",".join(map(str, seqs))})
        return replace(
            self,
            found=found,
            first=seqs[0],
            end=seqs[-1] + 1,
            query=f"{self.query}&{named}",
            is_everything=False,
        )

    def exceeds(self, limit: int) -> bool | None:
        """Whether there are more than `limit` rows; None when that takes longer than two seconds to say."""
        if self.end - self.first <= limit or self.is_everything:
            return self.end - self.first > limit
        try:
            with in_time(TIMEOUT_MS):
                return self.found.between(self.first, self.end).values("id")[: limit + 1].count() > limit
        except Invalid:
            return None


def selection(
    *, viewer: Viewer, parameters: Mapping[str, str], only_decisions: bool, now: datetime
) -> Selection:
    """What the list at this address shows in full. The same refusals as the list's own."""
    page = list_head(viewer=viewer, parameters=parameters, only_decisions=only_decisions, now=now)
    found = page_matches(page, viewer)
    as_of = page.as_of
    if found.is_searched:
        # What the search does not know yet would silently be missing, so nothing is claimed about it.
        as_of = min(as_of, page.state.searched_size)
    sees_all = page.log.organisation_id not in viewer.agents
    asks_positions = all(
        term.key in POSITIONAL and not (term.negated and term.key == "seq") for term in page.query.terms
    )
    return Selection(
        log=page.log,
        as_of=as_of,
        query=urlencode({"log": page.log.slug} | ({"q": page.q} if page.q else {})),
        first=found.low,
        end=min(found.end, as_of),
        found=found,
        is_everything=sees_all and not only_decisions and asks_positions,
    )
