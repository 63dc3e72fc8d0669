"""Metrics of operations, and the server that shows those of all apps (OPERATIONS section 8).

They are on their own port, never behind the public route. With `PROMETHEUS_MULTIPROC_DIR` the numbers of all
processes of one server are added up; the folder is emptied at its start. No label names an agent, a person or
a decision. docs/MONITORING.md lists them all.
"""

from __future__ import annotations

import os
import shutil
import socket
import threading
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import structlog
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, make_wsgi_app

from ecp_project import __version__
from ecp_project.observability.folder import SharedFolder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from prometheus_client.registry import Collector

PORT_TAKEN = "metrics_port_taken"
_log = structlog.get_logger("ecp.metrics")

CELERY_CANARY_LAST_SUCCESS = Gauge(
    "ecp_celery_canary_last_success_timestamp_seconds",
    "When a worker last ran the canary task",
    multiprocess_mode="mostrecent",  # a process that never ran it shows nothing, and not 1970
)
PANEL_FAILURES = Counter(
    "ecp_console_panel_failures_total", "Panels that were drawn as an error box", ["panel"]
)
BUILD_INFO = Gauge("ecp_build_info", "1, with what runs here", ["version", "commit"], multiprocess_mode="max")


# An app adds here what its gauges say from the first second of a process.
at_start: list[Callable[[], None]] = []


def process_started(commit: str) -> None:
    """Each process that works, after its fork: a gauge that nobody has set yet would not be shown."""
    BUILD_INFO.labels(version=__version__, commit=commit).set(1)
    for hook in at_start:
        hook()


def empty_folder() -> None:
    """At the start of a server: numbers of processes that ended long ago must not count."""
    if folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        shutil.rmtree(folder, ignore_errors=True)
        Path(folder).mkdir(mode=0o700, parents=True)


def registry(*more: Collector) -> CollectorRegistry:
    """What the port shows; `more` is asked when somebody looks, in the process that serves."""
    collected = CollectorRegistry()
    if folder := os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        SharedFolder(collected, folder)
    else:
        collected.register(REGISTRY)
    for collector in more:
        collected.register(collector)
    return collected


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_args: Any) -> None:
        """Keep our logs free of lines about whoever collects the metrics."""


def application(collected: CollectorRegistry, is_alive: Callable[[], bool]) -> WSGIApplication:
    """`/metrics`, and `/livez` for processes that listen nowhere else."""
    shown = make_wsgi_app(collected)

    def answer(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/metrics":
            pieces: Iterable[bytes] = shown(environ, start)
            return pieces
        status, text = "404 Not Found", b"not found"
        if environ["PATH_INFO"] == "/livez":
            status, text = ("200 OK", b"ok") if is_alive() else ("503 Service Unavailable", b"stuck")
        start(status, [("Content-Type", "text/plain")])
        return [text]

    return answer


def started(
    port: int,
    address: str = "127.0.0.1",
    *,
    is_alive: Callable[[], bool] = lambda: True,
    more: Iterable[Collector] = (),
) -> tuple[WSGIServer, threading.Thread]:
    answers = application(registry(*more), is_alive)
    kind = _Server6 if ":" in address else _Server
    server = make_server(address, port, answers, server_class=kind, handler_class=_Quiet)
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    return server, thread


def serve(
    port: int,
    address: str,
    *,
    is_alive: Callable[[], bool] = lambda: True,
    more: Iterable[Collector] = (),
) -> None:
    """Show the metrics on their own port for as long as the process lives; port 0 switches that off."""
    if not port:
        return
    try:
        started(port, address, is_alive=is_alive, more=more)
    except OSError as error:  # the work goes on; EcpTargetDown tells people
        _log.error(PORT_TAKEN, port=port, exc_info=error)
