"""Steps that wait for a person: until when, and when to remind (FRICTION 10.1).

A rule says who does such a step, not until when. It waits as long as a bypass of the same level may wait for
its review: a day at level high, a week below. Nothing waits for the agent's sake: it may act at any time.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

PEOPLE_STEPS = frozenset({"second_review", "extra_documentation", "rehearsal"})
WAITS = {"high": timedelta(hours=24), "medium": timedelta(days=7), "low": timedelta(days=7)}
# Documents and rehearsals name no role: every operator may do them.
ANYBODY = "operator"


def role_of(step: Mapping[str, Any]) -> str:
    found: str = step.get("role", ANYBODY)
    return found


def due_at(level: str, since: datetime) -> datetime:
    return since + WAITS[level]


def half_time(opened_at: datetime, due: datetime) -> datetime:
    return opened_at + (due - opened_at) / 2


def reminders_due(opened_at: datetime, due: datetime, now: datetime) -> int:
    """How many of the two reminders should have gone: at half time, and at the deadline."""
    return (now >= half_time(opened_at, due)) + (now >= due)
