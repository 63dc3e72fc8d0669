"""Work of the console outside of requests. A task's body is one service call, and it may run twice."""

from __future__ import annotations

import time

from celery import shared_task

from ecp_project.celery import app
from ecp_project.console.evidence import evidence_step
from ecp_project.console.export import export_step
from ecp_project.console.handover import sweep
from ecp_project.console.reveal import reveal_sweep
from ecp_project.console.rollups import keep_up
from ecp_project.kernel.clock import utc_now
from ledger.models import Log

app.conf.beat_schedule.update({
    "console.rollup": {
        "task": "console.rollup",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "console.export_step": {
        "task": "console.export_step",
        "schedule": 5.0,
        "options": {"expires": 10},
    },
    "console.evidence_step": {
        "task": "console.evidence_step",
        "schedule": 5.0,
        "options": {"expires": 10},
    },
    "console.files_sweep": {
        "task": "console.files_sweep",
        "schedule": 3_600.0,
        "options": {"expires": 1_800},
    },
    "console.reveal_sweep": {
        "task": "console.reveal_sweep",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
})  # fmt: skip
STEP_S = 30.0  # after this long no further step is begun


@shared_task(name="console.export_step")
def step_exports() -> None:
    began = time.monotonic()
    while time.monotonic() - began < STEP_S and export_step(now=utc_now()):
        pass


@shared_task(name="console.evidence_step")
def step_evidence() -> None:
    began = time.monotonic()
    while time.monotonic() - began < STEP_S and evidence_step(now=utc_now()):
        pass


@shared_task(name="console.files_sweep")
def sweep_files() -> None:
    sweep(now=utc_now())


@shared_task(name="console.reveal_sweep")
def sweep_reveals() -> None:
    reveal_sweep(now=utc_now())


@shared_task(name="console.rollup")
def rollup() -> None:
    for log_id in Log.objects.values_list("id", flat=True):
        keep_up(log_id=log_id)
