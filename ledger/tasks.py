"""Periodic work of the ledger. A task's body is one service call, and it may run twice."""

from __future__ import annotations

import time

from celery import shared_task
from celery.schedules import crontab

from ecp_project.celery import app
from ecp_project.kernel.clock import utc_now
from ledger.models import Log
from ledger.services import projections
from ledger.services.erasure_run import erasure_run
from ledger.services.gauges import gauges_refresh
from ledger.services.verification_runs import verification_request, verification_step

# Hours of UTC, when little else runs. A hint that nobody took in time is worth nothing; the next one follows.
app.conf.beat_schedule.update({
    "ledger.project_search": {
        "task": "ledger.project_search",
        "schedule": 2.0,
        "options": {"expires": 10},
    },
    "ledger.verification_request": {
        "task": "ledger.verification_request",
        "schedule": crontab(hour="2", minute="30"),
        "options": {"expires": 3_600},
    },
    "ledger.verification_step": {
        "task": "ledger.verification_step",
        "schedule": 15.0,
        "options": {"expires": 30},
    },
    "ledger.gauges_refresh": {
        "task": "ledger.gauges_refresh",
        "schedule": 300.0,
        "options": {"expires": 120},
    },
    "ledger.erasure_run": {
        "task": "ledger.erasure_run",
        "schedule": crontab(hour="3", minute="0"),
        "options": {"expires": 3_600},
    },
})  # fmt: skip
STEP_S = 30.0  # after this long no further slice is begun


@shared_task(name="ledger.project_search")
def project_search() -> None:
    for log_id in Log.objects.values_list("id", flat=True):
        projections.keep_up(log_id=log_id)


@shared_task(name="ledger.verification_request")
def request_verification() -> None:
    """Every night, so that the newest full verification is never older than a day."""
    for log in Log.objects.all():
        verification_request(log=log, requested_by="system:nightly", now=utc_now())


@shared_task(name="ledger.verification_step")
def step_verification() -> None:
    began = time.monotonic()
    while time.monotonic() - began < STEP_S and verification_step(now=utc_now()) is not None:
        pass


@shared_task(name="ledger.gauges_refresh")
def refresh_gauges() -> None:
    gauges_refresh()


@shared_task(name="ledger.erasure_run")
def run_erasures() -> None:
    """Once a day, so that requests of several people are carried out together."""
    erasure_run(now=utc_now())
