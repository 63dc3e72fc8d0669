"""Verification runs that are kept: in one go by the command, in slices by the worker, seen by the metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import call_command
from django.db import connection
from prometheus_client import REGISTRY

from ecp_project.celery import app
from ecp_project.kernel.clock import utc_now
from ledger import tasks
from ledger.models import Entry, Tile, Verification
from ledger.services import verification_runs
from ledger.services.verification import verify_log
from ledger.services.verification_runs import verification_request, verification_step
from tests.factories.entries import announced_key, decision_lines, record
from tests.tampering import tampering

if TYPE_CHECKING:
    from pathlib import Path

    from ledger.checkpointer import Checkpointer
    from ledger.models import Log
    from tests.databases import Cluster
    from tests.people import People

pytestmark = pytest.mark.db

SLICE = 256


@pytest.fixture
def log(people: People, checkpointer: Checkpointer, monkeypatch: pytest.MonkeyPatch) -> Log:
    """900 entries, with a key entry in the first slice and one in the last; slices of 256."""
    monkeypatch.setattr(verification_runs, "SLICE", SLICE)
    announced_key(people.log)
    for count in (440, 458):
        record(people.log, decision_lines(count))
        checkpointer.turn()
    announced_key(people.log, bytes(32))
    checkpointer.turn()
    return people.log


def work_off(log: Log) -> tuple[Verification, int]:
    """Request a run and do all its slices; returns it and how many there were."""
    row, slices = verification_request(log=log, requested_by="staff:a", now=utc_now()), 0
    while verification_step(now=utc_now()) is not None:
        slices += 1
    row.refresh_from_db()
    return row, slices


def test_slices_come_to_the_judgement_of_one_pass(log: Log) -> None:
    row, slices = work_off(log)
    assert slices == 3
    whole = verify_log(log=log).to_document()
    assert row.ok is True
    assert row.ended_at is not None
    assert (row.next_seq, row.kind, row.first_bad_seq) == (900, "", None)
    # A checkpoint that stands where two slices meet would count twice; here none does.
    assert row.report | {"seconds": 0} == whole | {"seconds": 0}
    assert whole["checked"]["signatures"] == 2


def test_run_saves_its_position(log: Log) -> None:
    verification_request(log=log, requested_by="", now=utc_now())
    row = verification_step(now=utc_now())
    assert row is not None
    assert (row.next_seq, row.ended_at, row.ok) == (SLICE, None, None)
    assert Verification.objects.get().report["checked"]["entries"] == SLICE


def test_second_request_is_the_run_under_way(log: Log) -> None:
    first = verification_request(log=log, requested_by="staff:a", now=utc_now())
    assert verification_request(log=log, requested_by="staff:b", now=utc_now()) == first
    work_off(log)
    assert verification_request(log=log, requested_by="staff:b", now=utc_now()) != first


@pytest.mark.parametrize("seq", [0, 100, 256, 511, 512, 899])
def test_change_in_any_slice_is_found_where_it_is(
    log: Log, cluster: Cluster, committed_db: str, seq: int
) -> None:
    with tampering(cluster, committed_db, "ledger_entry") as superuser:
        superuser.execute(
            "UPDATE ledger_entry SET risk = 'low' WHERE log_id = %s AND seq = %s", (log.id, seq)
        )
    row, _ = work_off(log)
    assert (row.ok, row.kind, row.first_bad_seq) == (False, "projection_mismatch", seq)


def test_first_finding_of_several_slices_counts(log: Log, cluster: Cluster, committed_db: str) -> None:
    with tampering(cluster, committed_db, "ledger_entry") as superuser:
        superuser.execute(
            "UPDATE ledger_entry SET risk = 'low' WHERE log_id = %s AND seq IN (5, 300, 800)", (log.id,)
        )
    row, _ = work_off(log)
    assert [finding["seq"] for finding in row.report["findings"]] == [5, 300, 800]
    assert row.first_bad_seq == 5


@pytest.mark.parametrize("seq", [254, 255, 256, 257])
def test_entry_deleted_where_slices_meet_is_found(
    log: Log, cluster: Cluster, committed_db: str, seq: int
) -> None:
    with tampering(cluster, committed_db, "ledger_entry") as superuser:
        superuser.execute("DELETE FROM ledger_entry WHERE log_id = %s AND seq = %s", (log.id, seq))
    row, _ = work_off(log)
    assert (row.ok, row.kind, row.first_bad_seq) == (False, "seq_gap", seq)


def test_id_repeated_in_a_later_slice_is_found(log: Log, cluster: Cluster, committed_db: str) -> None:
    """The unique constraint forbids it, so somebody has dropped that first."""
    uid = Entry.objects.get(log=log, seq=700).uid
    try:
        with tampering(cluster, committed_db, "ledger_entry") as superuser:
            superuser.execute("ALTER TABLE ledger_entry DROP CONSTRAINT entry_uid_once")
            superuser.execute(
                "UPDATE ledger_entry SET uid = (SELECT uid FROM ledger_entry WHERE log_id = %s AND seq = 3) "
                "WHERE log_id = %s AND seq = 700",
                (log.id, log.id),
            )
        row, _ = work_off(log)
    finally:
        with tampering(cluster, committed_db, "ledger_entry") as superuser:
            superuser.execute(
                "UPDATE ledger_entry SET uid = %s WHERE log_id = %s AND seq = 700", (uid, log.id)
            )
            superuser.execute("ALTER TABLE ledger_entry ADD CONSTRAINT entry_uid_once UNIQUE (log_id, uid)")
    assert (row.kind, row.first_bad_seq) == ("duplicate_id", 700)


def test_run_without_the_tiles_to_go_on_from_is_given_up(
    log: Log, cluster: Cluster, committed_db: str
) -> None:
    verification_request(log=log, requested_by="", now=utc_now())
    verification_step(now=utc_now())
    with tampering(cluster, committed_db, "ledger_tile") as superuser:
        superuser.execute("DELETE FROM ledger_tile WHERE log_id = %s", (log.id,))
    assert Tile.objects.count() == 0
    verification_step(now=utc_now())
    row = Verification.objects.get()
    assert (row.ok, row.ended_at is None) == (None, False)
    assert "tile" in row.report["incomplete"]


def test_log_ahead_of_its_checkpoint_is_read_to_its_end(log: Log) -> None:
    record(log, decision_lines(2))
    row, _ = work_off(log)
    assert (row.ok, row.next_seq) == (True, 902)


def test_run_without_a_public_key_proves_nothing(log: Log, settings: Any, tmp_path: Path) -> None:
    settings.ECP_LOG_PUBLIC_KEYS = tmp_path / "none.json"
    row, slices = work_off(log)
    assert (slices, row.ok) == (1, None)
    assert "ledger_keygen" in row.report["incomplete"]


def test_unsigned_log_is_neither_sound_nor_broken(people: People) -> None:
    record(people.log, decision_lines(2))
    row, _ = work_off(people.log)
    assert (row.ok, row.kind) == (None, "")
    assert "no signed checkpoint" in row.report["incomplete"]


# --- the command keeps its full runs
def test_full_run_is_kept(log: Log) -> None:
    call_command("ledger_verify", "--log", "acme", "--full")
    row = Verification.objects.get()
    assert (row.log, row.ok, row.next_seq, row.requested_by) == (log, True, 900, "system:shell")
    assert row.report["v"] == "ecp.verify/1"
    call_command("ledger_verify", "--log", "acme")
    assert Verification.objects.count() == 1


def test_reader_without_the_right_to_write_still_verifies(
    log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    del log
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
    try:
        call_command("ledger_verify", "--log", "acme", "--full")
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE")
    assert "SOUND" in capsys.readouterr().out
    assert Verification.objects.count() == 0


# --- metrics and tasks
def gauge(name: str) -> float | None:
    return REGISTRY.get_sample_value(f"ecp_ledger_{name}")


def test_metrics_tell_of_the_newest_runs(log: Log, cluster: Cluster, committed_db: str) -> None:
    row, _ = work_off(log)
    assert row.ended_at is not None
    assert gauge("verify_last_success_timestamp_seconds") == row.ended_at.timestamp()
    assert (gauge("verify_broken_entries"), gauge("verify_first_bad_seq"), gauge("verified_size")) == (
        0,
        -1,
        900,
    )
    with tampering(cluster, committed_db, "ledger_entry") as superuser:
        superuser.execute(
            "UPDATE ledger_entry SET risk = 'low' WHERE log_id = %s AND seq IN (5, 9)", (log.id,)
        )
    work_off(log)
    assert gauge("verify_last_success_timestamp_seconds") == row.ended_at.timestamp()
    assert (gauge("verify_broken_entries"), gauge("verify_first_bad_seq"), gauge("verified_size")) == (
        2,
        5,
        0,
    )


def test_nightly_tasks_verify_every_log(log: Log) -> None:
    tasks.request_verification()
    tasks.request_verification()
    assert Verification.objects.count() == 2  # one for each log
    tasks.step_verification()
    assert Verification.objects.filter(ended_at__isnull=True).count() == 0
    assert Verification.objects.get(log=log).ok is True


def test_every_scheduled_task_exists() -> None:
    app.loader.import_default_modules()
    planned = {entry["task"] for entry in app.conf.beat_schedule.values()}
    assert {"ledger.verification_request", "ledger.verification_step"} <= planned <= set(app.tasks)
