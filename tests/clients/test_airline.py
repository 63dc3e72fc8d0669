"""Real decisions through the client become the statements that `ledger_ingest` makes of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from ecp_project.kernel.canonical import encode
from ecp_project.kernel.clock import utc_now
from ledger.models import Agent, Entry
from ledger.services.identities import agent_create, apikey_create, organisation_create
from ledger.services.ingest import ingest
from tests.people import ALL_SCOPES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ecp_client import Ledger
    from ledger.checkpointer import Checkpointer
    from ledger.models import Log
    from tests.served import Address

pytestmark = pytest.mark.db


def comparable(raw: bytes) -> bytes:
    """Statement bytes without what is random in every one (commitments) and who brought it."""
    stmt: dict[str, Any] = json.loads(raw)["stmt"]
    del stmt["via"]
    for part in stmt.get("sealed", []):
        del part["c"]
    return encode(stmt)


def statements(log: Log) -> dict[str, bytes]:
    rows = Entry.objects.filter(log_id=log.id, kind="ecp.decision/1").values_list("uid", "entry")
    return {str(uid): comparable(bytes(entry)) for uid, entry in rows}


def test_client_and_ingest_make_the_same_statements(
    answering: Address, checkpointer: Checkpointer, make_ledger: Callable[..., Ledger], shared: Path
) -> None:
    file = shared / "data" / "airline-agent" / "decisions.ndjson"
    records = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    now = utc_now()
    # One after the other in two organisations of one slug's making: only `org` then tells them apart.
    organisation, log = organisation_create(slug="airline", title="Airline", now=now)
    agent = agent_create(organisation=organisation, slug="airline-desk")
    key = apikey_create(organisation=organisation, agent=agent, scopes=ALL_SCOPES, now=now).text
    other, other_log = organisation_create(slug="other-airline", title="Airline", now=now)
    agent_create(organisation=other, slug="airline-desk")
    assert Agent.objects.filter(slug="airline-desk").count() == 2
    with file.open("rb") as lines:
        tally = ingest(log=other_log, lines=lines, actor="system:ingest", clock=utc_now)
    assert (tally.accepted, len(tally.rejects)) == (len(records), 0)

    ledger = make_ledger(answering.url, key, agent=None)
    handles = ledger.batch(records)
    assert ledger.flush(120), ledger.stats()
    assert {handle.state for handle in handles} == {"delivered"}
    del checkpointer
    by_client, by_ingest = statements(log), statements(other_log)
    assert len(by_client) == len(records)
    assert by_client == {uid: raw.replace(b'"other-airline"', b'"airline"') for uid, raw in by_ingest.items()}
