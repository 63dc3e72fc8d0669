"""Liveness, readiness and start-up probes (OPERATIONS section 7).

Apps add what they know by `register`. A probe says how it went in one word and in members for people; it
raises whatever goes wrong. Probes run in a thread of their own, so that a hanging database costs a second and
not a web thread.
"""

from __future__ import annotations

import hashlib
import shutil
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as ProbeTimeoutError
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Literal

import structlog
from django.conf import settings
from django.db import connections
from django.db.migrations.loader import MigrationLoader
from django.http import HttpResponse, JsonResponse

from ecp_project import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest

Status = Literal["ok", "degraded", "fail"]
PROBE_TIMEOUT_S = 1.0
MAX_CLOCK_SKEW_S = 2.0
MIN_FREE_SHARE = 0.05
PROBE_FAILED = "health_probe_failed"
_EMPTY_ROOT = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"  # RFC 6962 section 2.1
_ORDER: dict[Status, int] = {"ok": 0, "degraded": 1, "fail": 2}
_log = structlog.get_logger("ecp.health")


@dataclass(frozen=True, slots=True)
class Finding:
    status: Status
    members: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Probe:
    run: Callable[[], Finding]
    on_error: Status


_ready: dict[str, _Probe] = {}
_startup: dict[str, _Probe] = {}


def register(
    name: str, probe: Callable[[], Finding], *, on_error: Status = "fail", startup: bool = False
) -> None:
    """Add a probe to `readyz` (or to `startupz`); `on_error` is its word when it raises."""
    (_startup if startup else _ready)[name] = _Probe(probe, on_error)


# --- what the platform itself knows


def _database() -> Finding:
    with connections["direct"].cursor() as cursor:
        cursor.execute("SELECT 1")
    return Finding("ok")


@cache
def _migrations_on_disk() -> frozenset[tuple[str, str]]:
    return frozenset(MigrationLoader(None, ignore_no_migrations=True).disk_migrations)


def _migrations() -> Finding:
    # A newer release may have added some already (expand before contract); ours must all be there.
    with connections["direct"].cursor() as cursor:
        cursor.execute("SELECT app, name FROM django_migrations")
        missing = _migrations_on_disk() - set(cursor.fetchall())
    return (
        Finding("fail", {"missing": sorted(".".join(pair) for pair in missing)}) if missing else Finding("ok")
    )


def _redis() -> Finding:
    from ecp_project.redis import client  # noqa: PLC0415 - tests and commands without Redis never load it

    client().ping()
    return Finding("ok")


def _disk() -> Finding:
    place = next(path for path in (settings.ECP_STATE_DIR, *settings.ECP_STATE_DIR.parents) if path.exists())
    usage = shutil.disk_usage(place)
    free = usage.free / usage.total
    return Finding("ok" if free > MIN_FREE_SHARE else "degraded", {"free_share": round(free, 3)})


def _hash_self_test() -> Finding:
    return Finding("ok" if hashlib.sha256(b"").hexdigest() == _EMPTY_ROOT else "fail")


def _clock() -> Finding:
    with connections["direct"].cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (theirs,) = cursor.fetchone() or (datetime.now(UTC),)
    skew = abs((datetime.now(UTC) - theirs).total_seconds())
    return Finding("ok" if skew <= MAX_CLOCK_SKEW_S else "fail", {"skew_s": round(skew, 3)})


register("db", _database)
register("migrations", _migrations)
register("redis", _redis, on_error="degraded")
register("disk", _disk, on_error="degraded")
register("migrations", _migrations, startup=True)
register("hash", _hash_self_test, startup=True)
register("clock", _clock, startup=True)


# --- judging


def _run(name: str, probe: _Probe) -> Finding:
    try:
        return probe.run()
    except Exception as error:  # noqa: BLE001 - a probe's failure is its finding, whatever its class
        _log.warning(PROBE_FAILED, probe=name, error=type(error).__name__)
        return Finding(probe.on_error, {"error": type(error).__name__})


def run(probes: dict[str, _Probe]) -> dict[str, Finding]:
    try:
        return {name: _run(name, probe) for name, probe in probes.items()}
    finally:
        connections["direct"].close()


class _Judge:
    """Runs the probes in one thread and lets everybody who asks meanwhile share the run."""

    def __init__(self, probes: dict[str, _Probe]) -> None:
        self._probes = probes
        self._lock = threading.Lock()
        # guarded by self._lock
        self._executor: ThreadPoolExecutor | None = None
        self._running: Future[dict[str, Finding]] | None = None

    def findings(self) -> dict[str, Finding]:
        with self._lock:
            if self._executor is None:  # not at import: threads do not survive a fork
                self._executor = ThreadPoolExecutor(1, thread_name_prefix="health")
            if self._running is None or self._running.done():
                self._running = self._executor.submit(run, self._probes)
            running = self._running
        try:
            return running.result(PROBE_TIMEOUT_S)
        except ProbeTimeoutError:
            return {"db": Finding("fail", {"error": "timeout"})}


_readiness = _Judge(_ready)
_startability = _Judge(_startup)


def overall(findings: dict[str, Finding]) -> Status:
    return max((finding.status for finding in findings.values()), key=_ORDER.__getitem__, default="ok")


def _may_see_details(request: HttpRequest) -> bool:
    if "verbose" not in request.GET:
        return False
    try:
        address = ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:
        return False
    # a proxy's address says nothing about whom it forwards
    forwarded = "HTTP_X_FORWARDED_FOR" in request.META
    return not forwarded and any(address in net for net in settings.ECP_VERBOSE_NETS)


def _answer(request: HttpRequest, findings: dict[str, Finding]) -> JsonResponse:
    status = overall(findings)
    document: dict[str, Any] = {
        "status": status,
        "checks": {name: finding.status for name, finding in findings.items()},
    }
    if _may_see_details(request):
        document["version"] = __version__
        document |= {name: finding.members for name, finding in findings.items() if finding.members}
    return JsonResponse(document, status=503 if status == "fail" else 200)


def livez(_request: HttpRequest) -> HttpResponse:
    return HttpResponse("ok", content_type="text/plain")


def readyz(request: HttpRequest) -> JsonResponse:
    return _answer(request, _readiness.findings())


def startupz(request: HttpRequest) -> JsonResponse:
    return _answer(request, _startability.findings())
