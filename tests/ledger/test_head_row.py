"""The sequencer's row against the entries it stands for, changed by a superuser (LEDGER section 15, M15)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ecp_project.kernel.clock import utc_now
from ledger.services.identities import agent_create, organisation_create
from ledger.services.ingest import ingest
from ledger.services.verification import verify_log

if TYPE_CHECKING:
    from ledger.checkpointer import Checkpointer
    from ledger.models import Log
    from tests.databases import Cluster

pytestmark = pytest.mark.db

LINE = (
    b'{"id":"019b0a2c-4e00-7000-8000-00000000000%d","agent":"bot","action":"a.b",'
    b'"explanation":"Cheapest of 4."}'
)


@pytest.fixture
def log(checkpointer: Checkpointer) -> Log:
    organisation, log = organisation_create(slug="headed", title="Headed", now=utc_now())
    agent_create(organisation=organisation, slug="bot")
    checkpointer.turn()
    return log


def test_empty_log_is_sound(log: Log) -> None:
    report = verify_log(log=log)
    assert (report.ok, report.size) == (True, 0), report.to_text()


@pytest.mark.parametrize("size", [0, 2])
def test_head_set_back_is_found(
    log: Log, checkpointer: Checkpointer, cluster: Cluster, committed_db: str, size: int
) -> None:
    tally = ingest(
        log=log, lines=[LINE % number for number in range(4)], actor="system:ingest", clock=utc_now
    )
    assert tally.accepted == 4, tally
    checkpointer.turn()
    with cluster.connect(committed_db) as superuser, superuser.transaction():
        superuser.execute("SET LOCAL ecp.migration = 'tampering'")
        superuser.execute("ALTER TABLE ledger_head DISABLE TRIGGER ledger_head_guard")
        superuser.execute("UPDATE ledger_head SET size = %s WHERE log_id = %s", (size, log.id))
        superuser.execute("ALTER TABLE ledger_head ENABLE ALWAYS TRIGGER ledger_head_guard")
    assert verify_log(log=log).kinds == ["head_mismatch"]
