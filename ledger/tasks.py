"""Periodic work of the ledger. A task's body is one service call, and it may run twice."""

from __future__ import annotations

from celery import shared_task

from ecp_project.celery import app
from ledger.models import Log
from ledger.services import projections

app.conf.beat_schedule["ledger.project_search"] = {
    "task": "ledger.project_search",
    "schedule": 2.0,
    "options": {"expires": 10},
}
ROUNDS = 20  # slices in one task, so that it stays well below the broker's visibility timeout


@shared_task(name="ledger.project_search")
def project_search() -> None:
    for log_id in Log.objects.values_list("id", flat=True):
        for _ in range(ROUNDS):
            if not projections.project_search(log_id=log_id):
                break
