"""The list of polls narrowed down by state and schedule, with how many there are of each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.models import Count, Q

from advisory.polls import selectors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ledger.selectors.entries import OrgScope

ONCE = "none"  # polls of no schedule


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What a list is narrowed to, as its address says it; "" is everything."""

    state: str = ""
    schedule: str = ""

    def __bool__(self) -> bool:
        return bool(self.state or self.schedule)

    @property
    def of_schedule(self) -> Q:
        if not self.schedule:
            return Q()
        return Q(schedule=None) if self.schedule == ONCE else Q(schedule_id=self.schedule)


@dataclass(frozen=True, slots=True)
class Counts:
    """Polls by state among those of the chosen schedule, and by schedule among those of the chosen state."""

    states: Mapping[str, int]
    schedules: Mapping[str, int]
    titles: Mapping[str, str]  # of all schedules that have polls


def counts(*, scope: OrgScope, narrowing: Narrowing) -> Counts:
    """One query: polls are few, and each kind of count leaves out what it is itself chosen by."""
    rows = (
        selectors.polls(scope=scope)
        .values_list("state", "schedule_id", "schedule__title")
        .annotate(polls=Count("id"))
        .order_by()
    )
    states: Counter[str] = Counter()
    schedules: Counter[str] = Counter()
    titles: dict[str, str] = {}
    for state, schedule_id, title, polls in rows:
        schedule = ONCE if schedule_id is None else str(schedule_id)
        titles[schedule] = title or ""
        if narrowing.schedule in {"", schedule}:
            states[state] += polls
        if narrowing.state in {"", state}:
            schedules[schedule] += polls
    return Counts(states, schedules, titles)
