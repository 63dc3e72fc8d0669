"""gunicorn's settings for the web processes (OPERATIONS section 2).

The environment chooses port and sizes; everything else is fixed here. A web process never holds the key that
signs checkpoints, so one that is given it refuses to start.
"""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ecp_project import env

if TYPE_CHECKING:
    from gunicorn.arbiter import Arbiter
    from gunicorn.workers.base import Worker

    from ecp_project.even_worker import EvenWorker

_KEY = "ECP_SIGNING_KEY_FILE"
if os.environ.get(_KEY):
    raise env.EnvError(f"{_KEY} is set for a web process; only the checkpointer may hold the signing key")

# The application is loaded before `on_starting`, and its metrics open their files while it loads.
if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
    Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]).mkdir(mode=0o700, parents=True, exist_ok=True)

bind = env.text("ECP_BIND", f"127.0.0.1:{env.integer('ECP_PORT', 8000, minimum=1, maximum=65535)}")
worker_class = "ecp_project.even_worker.EvenWorker"
preload_app = True  # a worker that replaces a killed one is there at once, not after two seconds of imports
workers = env.integer("ECP_WEB_PROCESSES", 2, minimum=1, maximum=256)
threads = env.integer("ECP_WEB_THREADS", 8, minimum=1, maximum=256)
timeout = 30
graceful_timeout = 25
keepalive = 15
max_requests = env.integer("ECP_WEB_MAX_REQUESTS", 5000)
max_requests_jitter = max_requests // 10
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - heartbeat files belong in memory
limit_request_line = 8190  # our own 414 answers from 4 KiB on
limit_request_field_size = 8190
accesslog = None  # the request line is our own: observability/middleware.py
errorlog = "-"
loglevel = "warning"
proc_name = "ecp-web"


def on_starting(server: Arbiter) -> None:  # noqa: ARG001 - gunicorn's signature
    from ecp_project.observability import metrics  # noqa: PLC0415 - settings must not load before gunicorn is ready

    metrics.empty_folder()


def when_ready(server: Arbiter) -> None:  # noqa: ARG001 - gunicorn's signature
    from ecp_project.observability import metrics  # noqa: PLC0415 - as above

    metrics.serve(
        env.integer("ECP_METRICS_PORT", 9108, maximum=65535), env.text("ECP_METRICS_ADDRESS", "127.0.0.1")
    )
    gc.freeze()  # the application lives as long as its workers, so no collection needs to look at it


def pre_fork(server: Arbiter, worker: EvenWorker) -> None:
    from ecp_project import even_worker  # noqa: PLC0415 - brings gunicorn's worker, which settings need not load

    even_worker.take_place(server, worker)


def post_worker_init(worker: Worker) -> None:  # noqa: ARG001 - gunicorn's signature
    from ecp_project.observability import metrics  # noqa: PLC0415 - only needed there

    metrics.process_started(env.text("ECP_COMMIT", "unknown"))
    # A batch makes some ten thousand objects; at the usual 700 the collector walks them dozens of times.
    gc.set_threshold(20_000, 10, 10)


def child_exit(server: Arbiter, worker: EvenWorker) -> None:  # noqa: ARG001 - gunicorn's signature
    from ecp_project import even_worker  # noqa: PLC0415 - as above

    even_worker.leave_place(worker)
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        from prometheus_client import multiprocess  # noqa: PLC0415 - only with a folder

        multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]  # untyped in the library
