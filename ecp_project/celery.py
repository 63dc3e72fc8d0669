"""The Celery application. A message is a wake-up hint that carries ids; no state lives in the broker.

Options follow OPERATIONS section 2. An app adds its periodic tasks beside them, in its own `tasks.py`:
`app.conf.beat_schedule["ledger.project_search"] = {"task": "ledger.project_search", "schedule": 2.0}`.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

from celery import Celery, signals
from django.conf import settings
from django.db import close_old_connections, connections
from prometheus_client import multiprocess
from structlog.contextvars import bind_contextvars, clear_contextvars, get_contextvars

from ecp_project import env
from ecp_project.kernel.tracing import context_of, headers_of

if TYPE_CHECKING:
    from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", env.settings_module())
# Read by the worker when it starts: SIGTERM then ends in the soft shutdown.
os.environ.setdefault("REMAP_SIGTERM", "SIGQUIT")

CANARY = "ops.canary"
CANARY_INTERVAL_S = 30.0
SOFT_SHUTDOWN_S = 60
NICENESS = 10  # matters only while the host has fewer processors than work

app = Celery("ecp")
app.conf.update(
    broker_url=settings.REDIS_URL or "memory://",
    task_ignore_result=True,
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_default_queue="default",
    worker_prefetch_multiplier=1,
    worker_soft_shutdown_timeout=SOFT_SHUTDOWN_S,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    broker_transport_options={
        "visibility_timeout": 120,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
    },
    CELERY_DB_REUSE_MAX=sys.maxsize,  # `_keep_sessions` sees to what Celery would close after each task
    enable_utc=True,
    timezone="UTC",
    beat_scheduler="ecp_project.beat:LockedScheduler",
    beat_max_loop_interval=5,
    # a hint that nobody took in time is worth nothing; the next one is on its way
    beat_schedule={CANARY: {"task": CANARY, "schedule": CANARY_INTERVAL_S, "options": {"expires": 60}}},
)
app.autodiscover_tasks()


def heartbeat_file(process: str) -> Path:
    """Touched while a process without a port works; its probe looks at the age (OPERATIONS section 7)."""
    place: Path = settings.ECP_STATE_DIR
    return place / f"{process}.heartbeat"


def beat_heart(process: str) -> None:
    file = heartbeat_file(process)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.touch()


@app.task(name=CANARY)
def canary() -> None:
    """Show that the worker consumes, not only that it is connected."""
    from ecp_project.observability.metrics import CELERY_CANARY_LAST_SUCCESS  # noqa: PLC0415 - needs the folder

    CELERY_CANARY_LAST_SUCCESS.set(time.time())
    beat_heart("worker")


@signals.setup_logging.connect
def _keep_our_logging(**_kwargs: Any) -> None:
    """Being connected is enough: Celery then leaves the JSON lines of Django's LOGGING alone."""


@signals.worker_init.connect
def _yield_to_requests(**_kwargs: Any) -> None:
    """An agent waits for its answer, nobody waits for a task as long: web processes go first."""
    os.nice(NICENESS)


@signals.worker_process_init.connect
def _keep_sessions(**_kwargs: Any) -> None:
    """Let tasks of one process share sessions of the database, as requests do.

    Celery ends them, pool and all, before and after each task. A new session has to read the catalogue anew,
    which takes far longer than most tasks; requests that wait meanwhile are the slowest ones.
    """
    # A session that has waited for its next task may have lost its server, and nobody repeats the task.
    connections["default"].settings_dict["CONN_HEALTH_CHECKS"] = True
    signals.task_prerun.connect(_put_back)
    signals.task_postrun.connect(_put_back)


def _put_back(**_kwargs: Any) -> None:
    close_old_connections()


@signals.worker_ready.connect
def _show_metrics(**_kwargs: Any) -> None:
    from ecp_project.observability import metrics  # noqa: PLC0415 - needs the folder
    from ecp_project.observability.queues import QueueDepth  # noqa: PLC0415 - as above

    metrics.process_started(settings.ECP_COMMIT)
    metrics.serve(settings.ECP_METRICS_PORT, settings.ECP_METRICS_ADDRESS, more=[QueueDepth()])


@signals.worker_process_init.connect
def _start_process(**_kwargs: Any) -> None:
    from ecp_project.observability import metrics  # noqa: PLC0415 - as above

    metrics.process_started(settings.ECP_COMMIT)


@signals.before_task_publish.connect
def _send_ids(headers: dict[str, Any], **_kwargs: Any) -> None:
    """Let a task say in its log lines which request asked for it."""
    headers |= headers_of(get_contextvars())


@signals.task_prerun.connect
def _bind_ids(task_id: str, task: Any, **_kwargs: Any) -> None:
    """A task that beat sent has no request; its own id takes that place."""
    clear_contextvars()
    bind_contextvars(**({"request_id": task_id} | context_of(vars(task.request))), task=task.name)


@signals.task_postrun.connect
def _forget_ids(**_kwargs: Any) -> None:
    clear_contextvars()


@signals.worker_process_shutdown.connect
def _forget_process(pid: int, **_kwargs: Any) -> None:
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]  # untyped in the library
