"""A beat of which only one works: it holds a session lock in PostgreSQL for as long as it lives."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import structlog
from celery.beat import PersistentScheduler
from django.db import Error, connections

from ecp_project.celery import beat_heart

if TYPE_CHECKING:
    from collections.abc import Callable

LOCK = 0x4543_5042  # "ECPB"
RETRY_S = 2.0
BEAT_WAITS = "beat_waits_for_lock"
BEAT_WORKS = "beat_holds_lock"
_log = structlog.get_logger("ecp.beat")


def try_lock() -> bool:
    """Take the lock on a session that stays open, or say that another beat or no database is there."""
    try:
        with connections["direct"].cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
            return bool((cursor.fetchone() or (False,))[0])
    except Error:
        connections["direct"].close()
        return False


def still_locked() -> bool:
    try:
        with connections["direct"].cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_locks"
                " WHERE locktype = 'advisory' AND objid = %s AND pid = pg_backend_pid()",
                [LOCK],
            )
            return bool((cursor.fetchone() or (0,))[0])
    except Error:
        connections["direct"].close()
        return False


def wait_for_lock(pause: Callable[[float], object] = time.sleep) -> None:
    if try_lock():
        return
    _log.info(BEAT_WAITS)
    while not try_lock():
        pause(RETRY_S)
    _log.info(BEAT_WORKS)


class LockedScheduler(PersistentScheduler):
    """Sends nothing before it has the lock, and nothing more once its session is gone."""

    def tick(self, *args: Any, **kwargs: Any) -> float:
        if not still_locked():
            wait_for_lock()
        beat_heart("beat")
        interval: float = super().tick(*args, **kwargs)
        return interval
