"""Facets of the list of polls: links that narrow it down, and what its address asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from django.utils.translation import gettext as _

from advisory.polls import selectors
from advisory.polls.models import State
from advisory.polls.panels import words
from advisory.polls.panels.addresses import LIST, scope_of
from advisory.polls.selectors.narrowing import ONCE, Counts, Narrowing, counts
from ecp_project.kernel.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from django_stubs_ext import StrOrPromise

    from ecp_project.kernel.panels import PanelContext

MOST_SCHEDULES = 12


@dataclass(frozen=True, slots=True)
class Value:
    label: StrOrPromise
    count: int
    url: str
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class Facet:
    key: str
    title: str
    values: Sequence[Value]


def narrowed(about: PanelContext) -> tuple[Narrowing, Counts]:
    """What the address asks for; a value that no poll can have is refused rather than found to be empty."""
    state = about.given.get("state", "")
    if state and state not in State.values:
        raise BadRequest("bad_value", f"state must be one of {', '.join(State.values)}")
    narrowing = Narrowing(state, _schedule(about.given.get("schedule", "")))
    found = counts(scope=scope_of(about), narrowing=narrowing)
    if narrowing.schedule not in {"", ONCE, *found.titles} and not _is_idle(about, narrowing.schedule):
        raise BadRequest("bad_value", "there is no such schedule")
    return narrowing, found


def _schedule(given: str) -> str:
    if given in {"", ONCE}:
        return given
    try:
        return str(UUID(given))
    except ValueError:
        raise BadRequest("bad_value", f"schedule must be the id of a schedule, or {ONCE}") from None


def _is_idle(about: PanelContext, schedule: str) -> bool:
    """A schedule that has no poll yet; whoever sees some agents' polls alone does not learn of it."""
    scope = scope_of(about)
    return scope.agents is None and selectors.schedules(scope=scope).filter(pk=schedule).exists()


def facets(to: Callable[..., str], narrowing: Narrowing, found: Counts) -> list[Facet]:
    """Values with their counts, the chosen one as the link that drops it; a lone value narrows nothing."""
    states = [
        (state, words.STATES[state], found.states.get(state, 0))
        for state in State.values
        if state == narrowing.state or state in found.states
    ]
    chosen = narrowing.schedule
    by_number = sorted(
        found.titles, key=lambda one: (one not in {ONCE, chosen}, -found.schedules.get(one, 0), one)
    )
    schedules = [
        (one, _("not recurring") if one == ONCE else found.titles[one], found.schedules.get(one, 0))
        for one in by_number
    ]
    kept = [row for row in schedules if row[0] == chosen or row[2]][:MOST_SCHEDULES]
    shown = [
        Facet("state", _("State"), _values(to, narrowing, "state", states)),
        Facet("schedule", _("Schedule"), _values(to, narrowing, "schedule", kept)),
    ]
    return [facet for facet in shown if len(facet.values) > 1 or any(one.is_chosen for one in facet.values)]


def _values(
    to: Callable[..., str], narrowing: Narrowing, key: str, rows: Iterable[tuple[str, StrOrPromise, int]]
) -> list[Value]:
    chosen = getattr(narrowing, key)
    return [
        Value(label, count, list_url(to, narrowing, **{key: "" if code == chosen else code}), code == chosen)
        for code, label, count in rows
    ]


def list_url(to: Callable[..., str], narrowing: Narrowing, **changes: object) -> str:
    """The list with this filter and these changes; nothing that is empty stands in the address."""
    query = {"state": narrowing.state, "schedule": narrowing.schedule} | changes
    return to(LIST, **{name: value for name, value in query.items() if value})
