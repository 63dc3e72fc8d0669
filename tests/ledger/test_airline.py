"""Real decisions end to end: ingest, ingest again, verify, tamper, erase."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from django.db import connection

from ecp_project.kernel.clock import utc_now
from ledger import modes
from ledger.models import Entry, Log, SealedPart, SubjectKey, Submission
from ledger.services.erasure import erase_subject
from ledger.services.identities import agent_create, organisation_create
from ledger.services.ingest import Tally, ingest
from ledger.services.ledger import TransparencyLedger
from ledger.services.projections import project_search
from ledger.services.sealing import open_parts
from ledger.services.verification import verify_log

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ledger.checkpointer import Checkpointer
    from ledger.core.verify.report import Report
    from tests.tampering import Flip

pytestmark = pytest.mark.db
SUBJECT = "mia_li_3668"


@pytest.fixture
def folder(shared: Path) -> Path:
    return shared / "data" / "airline-agent"


@pytest.fixture
def airline(checkpointer: Checkpointer) -> Iterator[Log]:
    organisation, log = organisation_create(slug="airline", title="Airline", now=utc_now())
    agent_create(organisation=organisation, slug="airline-desk")
    checkpointer.turn()
    yield log
    modes.process.forget()


def take(log: Log, file: Path) -> Tally:
    with file.open("rb") as lines:
        return ingest(log=log, lines=lines, actor="system:ingest", clock=utc_now)


def verified(log: Log) -> Report:
    return verify_log(log=log, signatures=True)


def test_all_decisions_and_outcomes_are_taken_once(
    airline: Log, folder: Path, checkpointer: Checkpointer
) -> None:
    first = take(airline, folder / "decisions.ndjson")
    assert (first.accepted, first.replayed, len(first.rejects)) == (1164, 0, 0)
    again = take(airline, folder / "decisions.ndjson")
    assert (again.accepted, again.replayed, len(again.rejects)) == (0, 1164, 0)
    outcomes = take(airline, folder / "outcomes.ndjson")
    assert (outcomes.accepted, len(outcomes.rejects)) == (182, 0)
    assert take(airline, folder / "outcomes.ndjson").accepted == 0
    checkpointer.turn()
    report = verified(airline)
    assert report.ok, report.to_text()
    assert (report.checked.entries, report.incomplete) == (1164 + 182, "")


def test_one_changed_byte_is_located(
    airline: Log, folder: Path, checkpointer: Checkpointer, flip: Flip
) -> None:
    take(airline, folder / "decisions.ndjson")
    checkpointer.turn()
    flip(Entry.objects.get(log=airline, seq=700), 300)
    report = verified(airline)
    assert (report.ok, report.first_bad_seq) == (False, 700)
    assert report.kind in {"leaf_mismatch", "entry_syntax"}


def test_erasing_a_person_leaves_no_private_text_and_every_proof_valid(
    airline: Log, folder: Path, checkpointer: Checkpointer
) -> None:
    take(airline, folder / "decisions.ndjson")
    lines = [
        json.loads(line) for line in (folder / "decisions.ndjson").read_text(encoding="utf-8").splitlines()
    ]
    hers = [line for line in lines if line.get("data_subject") == SUBJECT]
    uids = [UUID(line["id"]) for line in hers]
    assert open_parts(log_id=airline.id, origin=airline.origin, uid=uids[0])
    receipts = erase_subject(
        log=airline, handle=SUBJECT, basis="data_subject_request", actor="system:shell", now=utc_now()
    )
    assert receipts
    assert not SealedPart.objects.filter(uid__in=uids).exists()
    assert not Submission.objects.filter(uid__in=uids).exists()
    assert (
        erase_subject(log=airline, handle=SUBJECT, basis="legal_order", actor="system:shell", now=utc_now())
        == []
    )
    checkpointer.turn()
    assert verified(airline).ok
    assert TransparencyLedger(airline).receipt(uids[0]).document["status"] == "signed"
    while project_search(log_id=airline.id):
        pass
    secret = hers[0]["explanation_detail"][:60]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename LIKE 'ledger_%'"
        )
        for (table,) in cursor.fetchall():
            cursor.execute(f"SELECT count(*) FROM {table} t WHERE position(%s IN t::text) > 0", [secret])  # noqa: S608
            assert cursor.fetchone()[0] == 0, table
    others = SealedPart.objects.exclude(uid__in=uids)
    assert others.exists()
    assert SubjectKey.objects.exists()
    assert Entry.objects.filter(kind="ecp.erasure/1").count() == len(receipts)
