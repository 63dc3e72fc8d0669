"""Of several beats one works: it sends nothing before it has the lock, and nothing more once that is gone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as StillWaitingError
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections

from ecp_project import beat, celery
from ledger.sequencer import connect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.db
PATIENCE_S = 20


class Noting(beat.LockedScheduler):
    """Notes that it would send the one task that is always due."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.sent: list[str] = []
        super().__init__(*args, **kwargs)
        self.add(name="always", task="ops.canary", schedule=0.0)

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        del producer
        if entry.name == "always":
            self.sent.append(entry.name)


def hang_up() -> None:
    connections["direct"].close()


@pytest.fixture
def in_beat(database_name: str, django_db_blocker: Any) -> Iterator[Callable[..., Any]]:
    """Run in one thread, whose session holds the lock; `wait_s` bounds every wait for it."""
    del database_name
    with django_db_blocker.unblock(), ThreadPoolExecutor(1) as thread:

        def run(work: Callable[[], Any], wait_s: float = PATIENCE_S) -> Any:
            return thread.submit(work).result(wait_s)

        yield run
        run(hang_up)


@pytest.fixture
def scheduler(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Noting:
    settings.ECP_STATE_DIR = tmp_path / "state"
    monkeypatch.setattr(beat, "RETRY_S", 0.05)
    return Noting(celery.app, schedule_filename=str(tmp_path / "schedule"))


def backend() -> int:
    with connections["direct"].cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (found,) = cursor.fetchone() or (0,)
    return int(found)


def test_beat_sends_with_the_lock_alone_and_waits_when_its_session_is_gone(
    in_beat: Callable[..., Any], scheduler: Noting
) -> None:
    in_beat(scheduler.tick)
    assert scheduler.sent == ["always"]
    assert celery.heartbeat_file("beat").exists()

    other = connect("direct")
    try:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [in_beat(backend)])
        assert other.execute("SELECT pg_try_advisory_lock(%s)", [beat.LOCK]).fetchone() == (True,)
        with pytest.raises(StillWaitingError):
            in_beat(scheduler.tick, 0.5)
        assert scheduler.sent == ["always"]
    finally:
        other.close()  # also lets the waiting tick go on, so that the thread ends
    in_beat(scheduler.tick)
    assert scheduler.sent == ["always"] * 3  # the one that waited, and this one


def test_second_beat_sends_nothing_while_the_first_lives(
    in_beat: Callable[..., Any], scheduler: Noting
) -> None:
    first = connect("direct")
    try:
        assert first.execute("SELECT pg_try_advisory_lock(%s)", [beat.LOCK]).fetchone() == (True,)
        with pytest.raises(StillWaitingError):
            in_beat(scheduler.tick, 0.5)
        assert scheduler.sent == []
    finally:
        first.close()
    in_beat(lambda: None)  # the tick that waited has ended by now
    assert scheduler.sent == ["always"]
