"""The search projection: what it holds follows from the entries alone, and a difference is found."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from django.db import transaction

from ecp_project.kernel.clock import format_time, utc_now
from ecp_project.kernel.ids import new_uuid7
from ledger import tasks
from ledger.core import statement
from ledger.core.statement import Projection, StatementKind
from ledger.models import POSITIONS_PER_LOG, EntrySearch, SealedPart
from ledger.sequencer import connect
from ledger.services import projections
from ledger.services.erasure import erase_decision
from ledger.services.ingest import ingest
from ledger.services.ledger import TransparencyLedger
from ledger.services.projections import project_search, projection_differences, rebuild
from ledger.services.verification import verify_log
from tests.tampering import tampering

if TYPE_CHECKING:
    from ledger.models import Log
    from tests.databases import Cluster
    from tests.people import People

pytestmark = pytest.mark.db


@pytest.fixture
def log(people: People, monkeypatch: pytest.MonkeyPatch) -> Log:
    """A log that also takes statements of an app: they set the zone of a decision."""
    kind = StatementKind(
        "ecp.test.zone/1",
        lambda _stmt, **_options: None,
        lambda stmt: Projection(target=stmt["target"], zone=stmt["zone"]),
    )
    monkeypatch.setitem(statement._kinds, kind.v, kind)
    return people.log


def decide(log: Log, *uids: str, **members: Any) -> None:
    lines = [
        json.dumps({
            "id": uid, "agent": "pricing-bot", "action": "price.change", "zone": "operator",
            "explanation": "The item is cheaper elsewhere.", **members,
        }).encode()
        for uid in uids
    ]  # fmt: skip
    assert ingest(log=log, lines=lines, actor="system:ingest", clock=utc_now).accepted == len(uids)


def say(log: Log, target: str, zone: str) -> None:
    """A later statement that puts a decision into another zone."""
    now = utc_now()
    stmt = {
        "v": "ecp.test.zone/1", "id": new_uuid7(now), "org": log.organisation.slug, "ts": format_time(now),
        "target": target, "zone": zone,
    }  # fmt: skip
    with transaction.atomic():
        TransparencyLedger(log).append_statement(stmt, now=now)


def project(log: Log, slice_size: int = 1_000) -> None:
    while project_search(log_id=log.id, limit=slice_size):
        pass


def zones(log: Log) -> list[str | None]:
    rows = EntrySearch.objects.filter(entry__log=log).order_by("entry_id")
    return list(rows.values_list("zone", flat=True))


def differences(log: Log) -> list[tuple[int, str]]:
    return list(projection_differences(log))


@pytest.mark.parametrize("slice_size", [1, 2, 1_000])
def test_later_statements_count_in_log_order_however_it_is_sliced(log: Log, slice_size: int) -> None:
    first, second, unborn = (new_uuid7(utc_now()) for _ in range(3))
    decide(log, first, second)
    say(log, first, "manufacturer")
    say(log, first, "uncertain")
    say(log, unborn, "manufacturer")  # about a decision that comes only after it
    decide(log, unborn)
    project(log, slice_size)
    assert zones(log) == ["uncertain", "operator", None, None, None, "operator"]
    assert differences(log) == []


def test_index_of_facts_holds_what_entries_are_found_by(log: Log) -> None:
    uid = new_uuid7(utc_now())
    decide(log, uid, context={"amount": 349.99}, refs=[{"id": new_uuid7(utc_now()), "rel": "corrects"}])
    say(log, uid, "manufacturer")
    project(log)
    decision, later = (
        EntrySearch.objects.filter(entry__log=log).order_by("entry_id").values_list("body", flat=True)
    )
    assert set(decision) == {"v", "org", "agent", "action", "zone", "via", "summary_policy", "refs", "sealed"}
    assert decision["sealed"] is True
    assert later == {
        "v": "ecp.test.zone/1",
        "org": log.organisation.slug,
        "target": uid,
        "zone": "manufacturer",
    }


def test_lag_is_no_difference(log: Log) -> None:
    uids = [new_uuid7(utc_now()) for _ in range(4)]
    decide(log, *uids)
    say(log, uids[0], "manufacturer")
    project_search(log_id=log.id, limit=2)
    assert projections.projection_lag(log) == 3
    assert differences(log) == []


@pytest.mark.parametrize(
    ("change", "column"),
    [
        ({"zone": "uncertain"}, "zone"),
        ({"level": "high"}, "level"),
        ({"bypassed": True}, "bypassed"),
        ({"body": {"v": "other"}}, "body"),
    ],
)
def test_changed_column_is_named(log: Log, change: dict[str, Any], column: str) -> None:
    decide(log, *(new_uuid7(utc_now()) for _ in range(3)))
    project(log)
    row = EntrySearch.objects.order_by("entry_id")[1]
    EntrySearch.objects.filter(pk=row.pk).update(**change)
    assert differences(log) == [(1, f"the search projection differs from the entry in {column}")]


def test_changed_search_words_are_named(log: Log, cluster: Cluster, committed_db: str) -> None:
    decide(log, new_uuid7(utc_now()))
    project(log)
    with cluster.connect(committed_db) as superuser:
        superuser.execute("UPDATE ledger_entrysearch SET explanation = to_tsvector('simple', 'nothing')")
    assert differences(log) == [(0, "the search projection differs from the entry in explanation")]


def test_removed_later_statement_leaves_its_trace(log: Log) -> None:
    uid = new_uuid7(utc_now())
    decide(log, uid)
    say(log, uid, "manufacturer")
    project(log)
    EntrySearch.objects.filter(zone="manufacturer").update(zone="operator")
    assert differences(log) == [(0, "the search projection differs from the entry in zone")]


def test_missing_and_invented_rows_are_found_and_a_rebuild_mends_them(log: Log) -> None:
    decide(log, *(new_uuid7(utc_now()) for _ in range(3)))
    project(log)
    base = log.id * POSITIONS_PER_LOG
    EntrySearch.objects.filter(entry_id=base + 2).delete()
    EntrySearch.objects.create(entry_id=base + 9, explanation="", body={})
    assert differences(log) == [
        (2, "the entry is missing from the search projection"),
        (9, "the search projection holds a row without an entry"),
    ]
    report = verify_log(log=log, projections=True)
    assert (report.kinds, report.first_bad_seq) == (["projection_mismatch"], 2)
    assert rebuild(log=log) == 3
    assert differences(log) == []


def test_statements_of_an_app_that_is_not_installed_are_found_but_not_read(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid = new_uuid7(utc_now())
    decide(log, uid)
    say(log, uid, "manufacturer")
    monkeypatch.delitem(statement._kinds, "ecp.test.zone/1")
    project(log)
    assert zones(log) == ["operator", None]
    assert EntrySearch.objects.filter(body__v="ecp.test.zone/1").exists()
    assert differences(log) == []


def test_entry_that_cannot_be_read_is_the_verifiers_finding(
    log: Log, cluster: Cluster, committed_db: str
) -> None:
    decide(log, *(new_uuid7(utc_now()) for _ in range(3)))
    project(log)
    with tampering(cluster, committed_db, "ledger_entry") as superuser:
        superuser.execute(
            "UPDATE ledger_entry SET entry = '\\x7b7d', leaf_hash = sha256('\\x007b7d') "
            "WHERE log_id = %s AND seq = 1",
            (log.id,),
        )
    assert differences(log) == []
    report = verify_log(log=log, projections=True)
    assert (report.kind, report.first_bad_seq) == ("entry_syntax", 1)


def test_erased_part_that_is_back_is_found_at_its_erasure(log: Log) -> None:
    uid = new_uuid7(utc_now())
    decide(log, uid, context={"note": "private words"})
    part = SealedPart.objects.get(uid=UUID(uid))
    now = utc_now()
    erase_decision(log=log, uid=UUID(uid), basis="legal_order", actor="system:shell", now=now)
    project(log)
    assert verify_log(log=log, projections=True).ok
    part.save(force_insert=True)  # as an older backup would bring it back
    report = verify_log(log=log, projections=True)
    assert (report.kinds, report.first_bad_seq) == (["projection_mismatch"], 1)
    assert "/context/note" in report.to_text()


def test_log_of_nothing_but_unreadable_bytes_has_no_differences(
    log: Log, cluster: Cluster, committed_db: str
) -> None:
    decide(log, new_uuid7(utc_now()))
    project(log)
    with tampering(cluster, committed_db, "ledger_entry") as superuser:
        superuser.execute("UPDATE ledger_entry SET entry = '\\x7b7d', leaf_hash = sha256('\\x007b7d')")
    assert differences(log) == []


def test_second_worker_leaves_the_slice_to_the_first(log: Log) -> None:
    decide(log, *(new_uuid7(utc_now()) for _ in range(2)))
    project_search(log_id=log.id, limit=1)
    with connect() as first, first.transaction():
        first.execute("SELECT FROM ledger_cursor WHERE log_id = %s FOR UPDATE", (log.id,))
        assert project_search(log_id=log.id) == 0
    assert project_search(log_id=log.id) == 1


def test_the_worker_brings_every_log_up_to_date(log: Log) -> None:
    decide(log, *(new_uuid7(utc_now()) for _ in range(2)))
    tasks.project_search()
    assert projections.projection_lag(log) == 0


def test_one_slice_at_a_time_while_much_is_appended(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    decide(log, *(new_uuid7(utc_now()) for _ in range(9)))
    monkeypatch.setattr(projections, "BUSY", 2)
    real = projections.project_search

    def while_others_append(*, log_id: int, limit: int) -> int:
        decide(log, *(new_uuid7(utc_now()) for _ in range(3)))
        return real(log_id=log_id, limit=limit)

    with monkeypatch.context() as patch:
        patch.setattr(projections, "project_search", while_others_append)
        assert projections.keep_up(log_id=log.id, limit=2) == 2
    assert projections.keep_up(log_id=log.id, limit=2) == 10
    assert projections.keep_up(log_id=log.id, limit=2) == 0
