"""The ledger's part of `/readyz` (OPERATIONS section 7)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from ecp_project.kernel.clock import utc_now
from ledger import modes
from ledger.models import Guard
from ledger.probe import ledger_probe
from tests.ledger.test_append import decision, post

if TYPE_CHECKING:
    from django.test import Client

    from ledger.checkpointer import Checkpointer
    from tests.people import People

pytestmark = pytest.mark.db


def test_signed_ledger_is_ok_and_nothing_waits(
    client: Client, people: People, checkpointer: Checkpointer
) -> None:
    assert post(client, people, decision()).status_code == 201
    checkpointer.turn()
    found = ledger_probe()
    assert (found.status, found.members) == ("ok", {"mode": "active", "size": 1, "checkpoint_age_s": 0})


def test_age_counts_from_the_newest_checkpoint_while_entries_wait(client: Client, people: People) -> None:
    assert post(client, people, decision()).status_code == 201
    assert ledger_probe().members["checkpoint_age_s"] in range(5)


def test_halt_is_degraded_and_not_a_failure(client: Client, people: People) -> None:
    del people
    modes.process.enter("test", utc_now() - timedelta(seconds=1))
    found = ledger_probe()
    assert (found.status, found.members["mode"]) == ("degraded", "halt")
    answer = client.get("/readyz?verbose")
    assert (answer.status_code, answer.json()["checks"]["ledger"]) == (200, "degraded")
    assert answer.json()["ledger"]["mode"] == "halt"


def test_database_that_the_checkpointer_has_not_compared_is_degraded(
    client: Client, people: People, checkpointer: Checkpointer
) -> None:
    """As after a restart of PostgreSQL: appends wait for the guard row."""
    assert ledger_probe().status == "ok"
    rows = Guard.objects.using("checkpointer").filter(log=people.log)
    rows.update(postmaster_start=utc_now() - timedelta(days=1))
    modes.process.forget()
    assert (ledger_probe().status, ledger_probe().members["mode"]) == ("degraded", "halt")
    assert post(client, people, decision()).json()["halt_reason"] == "restored_unverified"
    checkpointer.close()
    checkpointer.turn()
    assert ledger_probe().status == "ok"
    assert post(client, people, decision()).status_code == 201


def test_installation_without_a_log_is_ok(fresh_process: str) -> None:
    del fresh_process
    assert ledger_probe().members == {"mode": "active", "size": 0, "checkpoint_age_s": 0}
