"""Processes are killed under load: F1 to F4 of OPERATIONS section 13, and the checkpointer."""

from __future__ import annotations

import random
import signal
import time
from typing import TYPE_CHECKING

import pytest

from ecp_project.processes import started_at
from tests.faults.load import NO_ANSWER
from tests.faults.oracle import audit, query
from tests.faults.processes import backends, kill, pid_of, web_workers
from tests.installation import needs_binaries, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.load import Load
    from tests.installation import Installation

pytestmark = [pytest.mark.fault, needs_binaries]

WARM_UP_S = 2.0
WORKER_BACK_S = 2.0
GRACE_S = 30.0
MASTER_BACK_S = 15.0  # the launcher waits 1 s, then gunicorn imports all of Django
# PostgreSQL starts, the checkpointer compares it with its anchors, and the web processes leave their HALT
# after three good probes that lie 5 s apart (LEDGER section 11).
DATABASE_BACK_S = 30.0


def test_f1_web_worker_30_times(
    installation: Installation, loaded: Callable[..., Load], tmp_path: Path, tell: Callable[..., None]
) -> None:
    with loaded() as load:
        time.sleep(WARM_UP_S)
        began = time.monotonic()
        for _ in range(30):
            workers = web_workers(installation)
            kill(workers[0] if workers else None)
            time.sleep(0.5)
        back = load.back_after(time.monotonic(), WORKER_BACK_S)
        silence = load.longest_silence(began)
    tell(back_after_s=[back], longest_silence_s=silence, **audit(installation, load, tmp_path))
    assert silence < WORKER_BACK_S
    assert set(load.statuses) <= {NO_ANSWER, 200, 201, 503}


def test_f2_web_server_with_its_workers_left_behind(
    installation: Installation, loaded: Callable[..., Load], tmp_path: Path, tell: Callable[..., None]
) -> None:
    backs: list[float] = []
    orphans: list[int] = []
    with loaded() as load:
        for _ in range(2):
            time.sleep(WARM_UP_S)
            master = pid_of(installation, "web")
            orphans += web_workers(installation)
            began = time.monotonic()
            kill(master)
            until(lambda: pid_of(installation, "web") not in {None, master}, MASTER_BACK_S)  # noqa: B023 - used at once
            backs.append(load.back_after(began, MASTER_BACK_S))
    # Workers without a master finish what they have, and whoever keeps them busy may stay as long.
    until(lambda: not [pid for pid in orphans if started_at(pid)], GRACE_S)
    tell(back_after_s=backs, statuses=load.statuses, **audit(installation, load, tmp_path))


def test_f3_database_stopped_at_once_7_times_in_30_s(
    installation: Installation, loaded: Callable[..., Load], tmp_path: Path, tell: Callable[..., None]
) -> None:
    with loaded() as load:
        time.sleep(WARM_UP_S)
        for _ in range(7):
            kill(pid_of(installation, "postgres"), signal.SIGQUIT)
            time.sleep(4)
            until(lambda: installation.get("/readyz") == 200, 5)
        back = load.back_after(time.monotonic(), DATABASE_BACK_S)
    tell(back_after_s=[back], statuses=load.statuses, problems=load.problems,
         **audit(installation, load, tmp_path))  # fmt: skip


@pytest.mark.parametrize("number", [signal.SIGQUIT, signal.SIGKILL])
def test_f3_database_stopped_in_full_load(
    number: signal.Signals, installation: Installation, loaded: Callable[..., Load], tmp_path: Path,
    tell: Callable[..., None],
) -> None:  # fmt: skip
    backs = []
    with loaded() as load:
        for _ in range(2):
            time.sleep(WARM_UP_S)
            began = time.monotonic()
            kill(pid_of(installation, "postgres"), number)
            backs.append(load.back_after(began, DATABASE_BACK_S))
    tell(back_after_s=backs, statuses=load.statuses, problems=load.problems,
         **audit(installation, load, tmp_path))  # fmt: skip


def test_f4_database_backend_killed(
    installation: Installation, loaded: Callable[..., Load], tmp_path: Path, tell: Callable[..., None]
) -> None:
    """PostgreSQL restarts all of its backends when one is killed."""
    backs = []
    with loaded() as load:
        for _ in range(2):
            time.sleep(WARM_UP_S)
            began = time.monotonic()
            kill(random.choice(backends(installation, "ecp_app")))  # noqa: S311 - no secret
            backs.append(load.back_after(began, DATABASE_BACK_S))
    tell(back_after_s=backs, statuses=load.statuses, problems=load.problems,
         **audit(installation, load, tmp_path))  # fmt: skip


def test_f4_database_connection_ended_by_an_operator(
    installation: Installation, loaded: Callable[..., Load], tmp_path: Path, tell: Callable[..., None]
) -> None:
    """One lost connection is no reason to halt: the database is there."""
    sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'ecp_app'"
    with loaded() as load:
        time.sleep(WARM_UP_S)
        began = time.monotonic()
        for _ in range(10):
            query(installation, sql)
            time.sleep(0.5)
        back = load.back_after(time.monotonic(), WORKER_BACK_S)
        silence = load.longest_silence(began)
    tell(back_after_s=[back], longest_silence_s=silence, statuses=load.statuses, problems=load.problems,
         **audit(installation, load, tmp_path))  # fmt: skip
    assert silence < WORKER_BACK_S


def test_checkpointer_killed_again_and_again(
    installation: Installation, loaded: Callable[..., Load], tmp_path: Path, tell: Callable[..., None]
) -> None:
    """Appends do not wait for it, and nothing that it had half done stops its successor."""
    with loaded() as load:
        for _ in range(3):
            time.sleep(WARM_UP_S)
            victim = pid_of(installation, "checkpointer")
            kill(victim)
            until(lambda: pid_of(installation, "checkpointer") not in {None, victim}, 10)  # noqa: B023 - used at once
        assert set(load.statuses) <= {200, 201}
    tell(statuses=load.statuses, **audit(installation, load, tmp_path))
