"""Periodic work of the console. A task's body is one service call, and it may run twice."""

from __future__ import annotations

from celery import shared_task

from ecp_project.celery import app
from ecp_project.console.rollups import keep_up
from ledger.models import Log

app.conf.beat_schedule["console.rollup"] = {
    "task": "console.rollup",
    "schedule": 60.0,
    "options": {"expires": 60},
}


@shared_task(name="console.rollup")
def rollup() -> None:
    for log_id in Log.objects.values_list("id", flat=True):
        keep_up(log_id=log_id)
