"""Steps that wait for a person, as the queue shows them (FRICTION 10.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from advisory.friction.models import FrictionBypass, FrictionWait
from advisory.friction.selectors.people import office_of
from advisory.friction.selectors.words import step_words

if TYPE_CHECKING:
    from datetime import datetime

    from ledger.selectors.entries import OrgScope

MOST = 200


@dataclass(frozen=True, slots=True)
class Waiting:
    """One step of the queue that this reader may answer; `is_unheld`: its duty has no holder."""

    wait: FrictionWait
    words: str
    is_unheld: bool


def waiting_for(*, scope: OrgScope, actor: str) -> list[Waiting]:
    """What waits for this person, the nearest deadline first."""
    office = office_of(scope=scope, actor=actor)
    if office is None:
        return []
    rows = FrictionWait.objects.filter(organisation_id=scope.organisation_id, closed_at__isnull=True)
    # Narrowed here, so that however much waits for others, what waits for this reader is among the rows.
    rows = rows.filter(office.has_role_of)
    if scope.agents is not None:
        rows = rows.filter(advice__agent__in=scope.agents)
    rows = rows.select_related("advice").prefetch_related("advice__outcomes").order_by("due_at", "pk")
    found = []
    for row in rows[:MOST]:
        step = next(step for step in row.advice.result["steps"] if step["n"] == row.n)
        if not office.objection(row.advice, step):
            found.append(Waiting(row, step_words(step), office.is_unheld(row.role)))
    return found


def reviews_open(*, scope: OrgScope) -> list[FrictionBypass]:
    """Bypasses that nobody has reviewed, the first to fall due first."""
    rows = FrictionBypass.objects.filter(
        advice__organisation_id=scope.organisation_id, review_due_at__isnull=False, review_verdict=""
    )
    if scope.agents is not None:
        rows = rows.filter(advice__agent__in=scope.agents)
    return list(rows.select_related("advice").order_by("review_due_at", "pk")[:MOST])


def reviews_overdue(*, scope: OrgScope, now: datetime) -> int:
    """How many reviews are late, counted up to the length of the inbox."""
    return sum(
        row.review_due_at is not None and row.review_due_at <= now for row in reviews_open(scope=scope)
    )
