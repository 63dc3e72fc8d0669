"""Periodic work of friction. A task's body is one service call, and it may run twice."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from celery import shared_task

from advisory.friction.services import (
    notifying,
    observing,
    reconciling,
    reminding,
    replaying,
    rulesets,
)
from ecp_project.celery import app
from ecp_project.kernel.clock import utc_now
from ledger.models import Log

app.conf.beat_schedule.update({
    "friction.reconcile": {"task": "friction.reconcile", "schedule": 15.0, "options": {"expires": 30}},
    "friction.notify": {"task": "friction.notify", "schedule": 15.0, "options": {"expires": 14}},
    "friction.remind": {"task": "friction.remind", "schedule": 60.0, "options": {"expires": 55}},
    "friction.retire_shadows": {
        "task": "friction.retire_shadows", "schedule": 3_600.0, "options": {"expires": 1_800},
    },
    "friction.simulation_step": {
        "task": "friction.simulation_step", "schedule": 5.0, "options": {"expires": 5},
    },
})  # fmt: skip
ROUNDS = 20  # slices in one task, so that it stays well below the broker's visibility timeout
SHADOW_DAYS = timedelta(days=14)


@shared_task(name="friction.reconcile")
def reconcile() -> None:
    for log in Log.objects.select_related("organisation").order_by("id"):
        for _ in range(ROUNDS):
            if not reconciling.reconcile(log=log, now=utc_now()):
                break
        for _ in range(ROUNDS):
            if not observing.observe(log=log, now=utc_now()):
                break


@shared_task(name="friction.retire_shadows")
def retire_shadows() -> None:
    for log in Log.objects.select_related("organisation").order_by("id"):
        rulesets.shadows_retire(log=log, older_than=SHADOW_DAYS, now=utc_now())


@shared_task(name="friction.simulation_step")
def simulation_step() -> None:
    replaying.simulation_step(clock=utc_now)


@shared_task(name="friction.notify")
def notify() -> None:
    """Send the ids of what is due; a lost message comes again with the next turn."""
    for notice_id in notifying.notices_due(now=utc_now()):
        notice_deliver.delay(str(notice_id))


@shared_task(
    name="friction.notice_deliver", acks_late=True, reject_on_worker_lost=True, soft_time_limit=20,
    time_limit=30, ignore_result=True,
)  # fmt: skip
def notice_deliver(notice_id: str) -> None:
    notifying.notice_deliver(notice_id=UUID(notice_id), clock=utc_now)


@shared_task(name="friction.remind")
def remind() -> None:
    for log in Log.objects.select_related("organisation").order_by("id"):
        reminding.remind(log=log, now=utc_now())
