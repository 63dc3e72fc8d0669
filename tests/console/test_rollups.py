"""Hourly counts: what they hold follows from the entries alone, however and how often they were taken."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import UTC, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import call_command
from django.db import connection, transaction

from ecp_project.console import tasks
from ecp_project.console.models import Rollup
from ecp_project.console.rollups import counted_size, keep_up, rollup_rebuild, rollup_step
from ecp_project.kernel.clock import format_time, utc_now
from ecp_project.kernel.ids import new_uuid7
from ledger.core import statement
from ledger.core.statement import Projection, StatementKind
from ledger.models import Cursor, Entry
from ledger.services.ledger import TransparencyLedger
from ledger.services.projections import project_search
from tests.console.desk import annotation, append, decision, record
from tests.people import machine

if TYPE_CHECKING:
    from ledger.models import Log
    from tests.people import People

pytestmark = pytest.mark.db
ADVISED = {"advice_id": "019aaaaa-0000-7000-8000-000000000001", "level": "high", "bypassed": False}
BYPASSED = ADVISED | {"bypassed": True, "bypass_reason": "The offer ended within the hour."}


@pytest.fixture
def log(people: People, monkeypatch: pytest.MonkeyPatch) -> Log:
    """A log that also takes statements of an app: they set the zone of a decision."""
    kind = StatementKind(
        "ecp.test.zone/1",
        lambda _stmt, **_options: None,
        lambda stmt: Projection(target=stmt["target"], zone=stmt["zone"]),
    )
    monkeypatch.setitem(statement._kinds, kind.v, kind)
    machine(people.acme, "stock-bot")
    return people.log


def classify(log: Log, target: str, zone: str) -> None:
    now = utc_now()
    stmt = {
        "v": "ecp.test.zone/1", "id": new_uuid7(now), "org": log.organisation.slug, "ts": format_time(now),
        "target": target, "zone": zone,
    }  # fmt: skip
    with transaction.atomic():
        TransparencyLedger(log).append_statement(stmt, now=now)


def project(log: Log, limit: int = 1_000) -> None:
    while project_search(log_id=log.id, limit=limit):
        pass


def counted(log: Log) -> Counter[tuple[Any, ...]]:
    rows = Rollup.objects.filter(log=log)
    return Counter({
        (r.hour, r.agent, r.action, r.risk, r.zone, r.level, r.bypassed): r.count for r in rows
    })  # fmt: skip


def direct(log: Log) -> Counter[tuple[Any, ...]]:
    """The same from the entries, one by one."""
    rows = Entry.objects.filter(log=log, kind="ecp.decision/1").select_related("search")
    return Counter(
        (
            e.rcvd.astimezone(UTC).replace(minute=0, second=0, microsecond=0),
            e.agent, e.action, e.risk or "",
            e.search.zone or "", e.search.level or "", bool(e.search.bypassed),
        )
        for e in rows
    )  # fmt: skip


def mixed() -> list[dict[str, Any]]:
    return [
        decision(),
        decision(risk="high"),
        decision(risk="high", zone="operator"),
        decision(agent="stock-bot", action="order.place", advisory=ADVISED),
        decision(agent="stock-bot", action="order.place", advisory=BYPASSED),
        decision(agent="stock-bot", action="order.place", advisory=BYPASSED),
    ]


@pytest.mark.parametrize("limit", [1, 2, 5, 1_000])
def test_counts_equal_a_direct_count_however_they_are_sliced(log: Log, limit: int) -> None:
    made = record(log, *mixed())
    record(log, annotation(made[0], "Sales of the lamp rose within a week."))
    keep_up(log_id=log.id, limit=limit)
    assert counted(log) == direct(log)
    assert sum(counted(log).values()) == 6
    assert counted_size(log.id) == 7


@pytest.mark.parametrize("limit", [1, 3, 1_000])
@pytest.mark.parametrize("behind", [True, False])
def test_a_later_statement_moves_its_decision(log: Log, limit: int, behind: bool) -> None:  # noqa: FBT001 - a case
    """Whether the projection knew the new zone when the decision was counted, or learnt it afterwards."""
    first, second = decision(), decision(zone="operator")
    append(log, first, second)
    if behind:
        project(log)
        keep_up(log_id=log.id, limit=limit)
    classify(log, first["id"], "manufacturer")
    classify(log, second["id"], "uncertain")
    append(log, decision(zone="operator"))
    classify(log, second["id"], "manufacturer")
    project(log)
    keep_up(log_id=log.id, limit=limit)
    assert counted(log) == direct(log)
    assert sorted(row.zone for row in Rollup.objects.all() for _ in range(row.count)) == [
        "manufacturer", "manufacturer", "operator",
    ]  # fmt: skip


def test_a_later_statement_moves_only_what_lies_below_the_slice(log: Log) -> None:
    """Counting an hour again must not take decisions that the next slice will add."""
    first = decision()
    append(log, first)
    classify(log, first["id"], "operator")
    append(log, decision(), decision())
    project(log)
    rollup_step(log_id=log.id, limit=2)
    assert sum(counted(log).values()) == 1
    keep_up(log_id=log.id)
    assert counted(log) == direct(log)


def test_counts_never_run_ahead_of_the_search(log: Log) -> None:
    append(log, *mixed())
    assert rollup_step(log_id=log.id) == 0
    project_search(log_id=log.id, limit=4)
    assert keep_up(log_id=log.id) == 4
    assert sum(counted(log).values()) == 4


def test_a_statement_of_an_app_that_is_gone_counts_for_nothing(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = decision()
    append(log, first)
    classify(log, first["id"], "operator")
    monkeypatch.delitem(statement._kinds, "ecp.test.zone/1")
    project(log)
    assert keep_up(log_id=log.id) == 2
    assert [row.zone for row in Rollup.objects.all()] == [""]


def test_repeated_steps_add_nothing(log: Log) -> None:
    record(log, *mixed())
    keep_up(log_id=log.id)
    before = counted(log)
    assert [rollup_step(log_id=log.id) for _ in range(3)] == [0, 0, 0]
    assert counted(log) == before


def test_a_step_that_fails_leaves_neither_counts_nor_a_moved_cursor(log: Log) -> None:
    record(log, *mixed())

    def fail() -> None:
        with transaction.atomic():
            rollup_step(log_id=log.id)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert counted_size(log.id) == 0
    assert counted(log) == Counter()


def test_crowd_of_workers_counts_each_decision_once(log: Log) -> None:
    for _ in range(5):
        record(log, *mixed())

    def work() -> None:
        while counted_size(log.id) < 30:
            rollup_step(log_id=log.id, limit=4)
        connection.close()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=30)
    assert counted(log) == direct(log)
    assert sum(counted(log).values()) == 30


def test_rebuild_mends_what_was_altered_and_forgets_nothing(log: Log) -> None:
    record(log, *mixed())
    keep_up(log_id=log.id)
    Rollup.objects.filter(agent="stock-bot").update(count=99)
    Rollup.objects.filter(agent="pricing-bot").delete()
    assert rollup_rebuild(log_id=log.id, limit=4) == 6
    assert counted(log) == direct(log)


def test_rebuild_leaves_other_logs_alone(log: Log, people: People) -> None:
    record(log, decision())
    record(people.other_log, decision(agent="eve-bot"))
    for each in (log, people.other_log):
        keep_up(log_id=each.id)
    Rollup.objects.filter(log=people.other_log).update(count=7)
    rollup_rebuild(log_id=log.id)
    assert [row.count for row in Rollup.objects.filter(log=people.other_log)] == [7]


def test_hours_are_those_of_receipt(log: Log) -> None:
    now = utc_now()
    record(log, decision(ts=format_time(now - timedelta(hours=5))))
    keep_up(log_id=log.id)
    (row,) = Rollup.objects.all()
    assert now - row.hour < timedelta(hours=2)


def test_task_counts_every_log(log: Log, people: People) -> None:
    record(log, decision())
    record(people.other_log, decision(agent="eve-bot"))
    tasks.rollup()
    assert sorted(Rollup.objects.values_list("agent", flat=True)) == ["eve-bot", "pricing-bot"]


def test_command_brings_up_to_date_and_rebuilds(log: Log, capsys: pytest.CaptureFixture[str]) -> None:
    record(log, *mixed())
    call_command("console_rollup", log="acme")
    assert capsys.readouterr().out == "acme: 6 entries counted\n"
    call_command("console_rollup")
    assert capsys.readouterr().out == "acme: 0 entries counted\numbra: 0 entries counted\n"
    Rollup.objects.all().delete()
    call_command("console_rollup", rebuild=True)
    assert "acme: 6 entries counted" in capsys.readouterr().out
    assert counted(log) == direct(log)
    assert Cursor.objects.filter(name="rollup").count() == 2
