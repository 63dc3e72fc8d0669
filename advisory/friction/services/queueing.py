"""The queue of steps that wait for a person: in with the advice, out with an answer (FRICTION 10.1).

Each change happens inside the transaction of what causes it, so the queue never disagrees with the advice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from advisory.friction.core.waiting import PEOPLE_STEPS, due_at, half_time, role_of
from advisory.friction.models import FrictionWait

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from advisory.friction.models import FrictionAdvice


def waits(*, advice: FrictionAdvice, now: datetime) -> list[dict[str, Any]]:
    """Those steps of a new advice that need people: columns of `FrictionWait`, to be stored with it."""
    due = due_at(advice.level, now)
    return [
        {
            "organisation_id": advice.organisation_id,
            "advice_id": advice.pk,
            "n": step["n"],
            "step_type": step["type"],
            "role": role_of(step),
            "not_same_owner": step.get("not_same_owner", False),
            "opened_at": now,
            "due_at": due,
            "reminders": 0,
            "next_at": half_time(now, due),
        }
        for step in advice.result["steps"]
        if step["type"] in PEOPLE_STEPS
    ]


def steps_settle(*, advice: FrictionAdvice, steps: Iterable[int], now: datetime) -> None:
    """Take answered steps out of the queue; what has left it stays out."""
    FrictionWait.objects.filter(advice=advice, n__in=list(steps), closed_at__isnull=True).update(
        closed_at=now
    )
