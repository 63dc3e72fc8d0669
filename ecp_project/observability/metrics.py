"""Metrics of operations, and the server that shows those of all apps (OPERATIONS section 8).

They are on their own port, never behind the public route. With `PROMETHEUS_MULTIPROC_DIR` the numbers of all
processes of one server are added up; the folder is emptied at its start. No label names an agent, a person or
a decision.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from prometheus_client import REGISTRY, CollectorRegistry, Gauge, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector

from ecp_project import __version__

if TYPE_CHECKING:
    from threading import Thread
    from wsgiref.simple_server import WSGIServer

PORT_TAKEN = "metrics_port_taken"
_log = structlog.get_logger("ecp.metrics")

CELERY_CANARY_LAST_SUCCESS = Gauge(
    "ecp_celery_canary_last_success_timestamp_seconds",
    "When a worker last ran the canary task",
    multiprocess_mode="max",
)
BUILD_INFO = Gauge("ecp_build_info", "1, with what runs here", ["version", "commit"], multiprocess_mode="max")


def set_build_info(commit: str) -> None:
    BUILD_INFO.labels(version=__version__, commit=commit).set(1)


def empty_folder() -> None:
    """At the start of a server: numbers of processes that ended long ago must not count."""
    if folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        shutil.rmtree(folder, ignore_errors=True)
        Path(folder).mkdir(mode=0o700, parents=True)


def registry() -> CollectorRegistry:
    if not os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        return REGISTRY
    collected = CollectorRegistry()
    MultiProcessCollector(collected)  # type: ignore[no-untyped-call]  # untyped in the library
    return collected


def started(port: int, address: str = "127.0.0.1") -> tuple[WSGIServer, Thread]:
    return start_http_server(port, addr=address, registry=registry())


def serve(port: int, address: str) -> None:
    """Show the metrics on their own port for as long as the process lives; port 0 switches that off."""
    if not port:
        return
    try:
        started(port, address)
    except OSError as error:  # the work goes on; EcpTargetDown tells people
        _log.error(PORT_TAKEN, port=port, exc_info=error)
