"""What the ledger's metrics tell of appends, logs and the database's guards (OPERATIONS section 8)."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
from prometheus_client import REGISTRY

from ecp_project.kernel.clock import utc_now
from ledger import metrics, modes, sequencer
from ledger.services.gauges import gauges_refresh
from ledger.services.operations import mode_switch
from ledger.services.verification_runs import verification_run
from tests.ledger.test_append import URL, decision, post

if TYPE_CHECKING:
    from django.test import Client

    from ledger.checkpointer import Checkpointer
    from tests.people import People

pytestmark = pytest.mark.db


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0


def test_append_is_counted_once_by_log_and_kind_and_its_time_is_taken(client: Client, people: People) -> None:
    labels = {"log": people.log.slug, "kind": "ecp.decision/1"}
    entries = value("ecp_ledger_entries_total", **labels)
    seconds = value("ecp_ledger_append_seconds_count", path="single")
    replays = value("ecp_ledger_idempotent_replays_total")
    document = decision()
    assert [post(client, people, document).status_code for _ in range(2)] == [201, 200]
    assert value("ecp_ledger_entries_total", **labels) == entries + 1
    assert value("ecp_ledger_append_seconds_count", path="single") == seconds + 2
    assert value("ecp_ledger_idempotent_replays_total") == replays + 1


def test_refused_append_is_counted_by_its_reason(client: Client, people: People) -> None:
    before = value("ecp_ledger_append_failures_total", reason="ledger_halted")
    modes.process.enter("test", utc_now())
    assert post(client, people, decision()).status_code == 503
    lines = "\n".join(json.dumps(decision()) for _ in range(3))
    answer = client.post(f"{URL}batch/", lines, "application/x-ndjson", **people.ada_agent.headers)
    assert answer.status_code == 503
    assert value("ecp_ledger_append_failures_total", reason="ledger_halted") == before + 4


def test_full_queue_is_a_failure_of_its_own_kind(
    client: Client, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = value("ecp_ledger_append_failures_total", reason="ledger_busy")
    monkeypatch.setattr(sequencer, "MAX_OUTSTANDING", 0)
    answer = post(client, people, decision())
    assert (answer.status_code, answer.json()["code"], answer.headers["Retry-After"]) == (
        503,
        "ledger_busy",
        "1",
    )
    assert value("ecp_ledger_append_failures_total", reason="ledger_busy") == before + 1


def test_checkpointer_shows_size_signed_size_age_and_mode(
    client: Client, people: People, checkpointer: Checkpointer
) -> None:
    log = {"log": people.log.slug}
    post(client, people, decision())
    checkpointer.turn()
    assert value("ecp_ledger_size", **log) == value("ecp_ledger_checkpoint_size", **log) == 1
    stamp = value("ecp_ledger_checkpoint_last_success_timestamp_seconds", **log)
    assert abs(time.time() - stamp) < 30
    assert value("ecp_ledger_mode", mode="active") == 1
    mode_switch(log=people.log, to="halt", reason="The auditor is here.", actor="system:shell", now=utc_now())
    checkpointer.turn()
    assert (value("ecp_ledger_mode", mode="active"), value("ecp_ledger_mode", mode="halt")) == (0, 1)


def test_checkpointer_that_makes_no_round_is_told_from_one_that_does(
    checkpointer: Checkpointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert checkpointer.is_moving()
    monkeypatch.setattr("ledger.checkpointer.STUCK_AFTER_S", -1.0)
    assert not checkpointer.is_moving()


def test_worker_that_starts_anew_shows_what_the_database_knows(
    client: Client, people: People, checkpointer: Checkpointer
) -> None:
    post(client, people, decision())
    checkpointer.turn()
    for log in (people.log, people.other_log):
        verification_run(log=log, requested_by="system:test", clock=utc_now)
    gauges = (metrics.VERIFY_SUCCESS, metrics.VERIFIED_SIZE, metrics.VERIFY_BROKEN, metrics.VERIFY_FIRST_BAD)
    for gauge in (*gauges, metrics.DB_AUDIT_VIOLATIONS):
        gauge.set(77)
    gauges_refresh()
    assert abs(time.time() - value("ecp_ledger_verify_last_success_timestamp_seconds")) < 60
    assert value("ecp_ledger_verified_size") == 1
    assert value("ecp_ledger_verify_broken_entries") == 0
    assert value("ecp_ledger_verify_first_bad_seq") == -1
    assert value("ecp_ledger_db_audit_violations") == 0
