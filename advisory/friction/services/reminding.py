"""Steps that wait too long: reminders at half time and at the deadline, then `expired` (FRICTION 10.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction

from advisory.friction.core.waiting import reminders_due
from advisory.friction.models import FrictionAdvice, FrictionWait, NotificationTarget, Occasion, Outcome
from advisory.friction.services.following import SYSTEM, outcome_record
from advisory.friction.services.notifying import notices_add

if TYPE_CHECKING:
    from datetime import datetime

    from ledger.models import Log

LIMIT = 200
OCCASIONS = {1: Occasion.HALF, 2: Occasion.DEADLINE}


def remind(*, log: Log, now: datetime) -> int:
    """Remind of what waits and end what is over; returns how many steps had their turn."""
    rows = FrictionWait.objects.filter(
        organisation_id=log.organisation_id, closed_at__isnull=True, next_at__lte=now
    )
    ids = list(rows.order_by("next_at", "pk").values_list("pk", "advice_id")[:LIMIT])
    for pk, advice_id in ids:
        with transaction.atomic():
            # The advice first, as everybody does who answers: the two never wait for each other.
            advice = FrictionAdvice.objects.select_for_update().get(pk=advice_id)
            wait = FrictionWait.objects.filter(pk=pk, closed_at__isnull=True, next_at__lte=now).first()
            if wait is not None:
                _turn(log, advice, wait, now)
    return len(ids)


def _turn(log: Log, advice: FrictionAdvice, wait: FrictionWait, now: datetime) -> None:
    wait.reminders, wait.next_at = reminders_due(wait.opened_at, wait.due_at, now), wait.due_at
    wait.save(update_fields=["reminders", "next_at"])
    if advice.standing_id is None:
        names = _names(advice, wait)
        notices_add(advice=advice, n=wait.n, names=names, occasion=OCCASIONS[wait.reminders], now=now)
    if now >= wait.due_at:
        # Nobody refused: the time was over.
        outcome_record(
            log=log, advice=advice, n=wait.n, outcome=Outcome.EXPIRED, note="", evidence_url="",
            actor=SYSTEM, now=now,
        )  # fmt: skip


def _names(advice: FrictionAdvice, wait: FrictionWait) -> set[str]:
    """Those that the advice has told already, and the target named like the step's role, if there is one."""
    names = {name for step in advice.result["steps"] if step["type"] == "notify" for name in step["to"]}
    of_role = NotificationTarget.objects.filter(organisation_id=advice.organisation_id, name=wait.role)
    return names | set(of_role.values_list("name", flat=True))
