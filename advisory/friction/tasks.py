"""Periodic work of friction. A task's body is one service call, and it may run twice."""

from __future__ import annotations

from datetime import timedelta

from celery import shared_task

from advisory.friction.services import observing, reconciling, replaying, rulesets
from ecp_project.celery import app
from ecp_project.kernel.clock import utc_now
from ledger.models import Log

app.conf.beat_schedule.update({
    "friction.reconcile": {"task": "friction.reconcile", "schedule": 15.0, "options": {"expires": 30}},
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
