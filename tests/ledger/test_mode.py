"""HALT by a person, by a fault, by a restore, by the environment; and what the log tells of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import timedelta
from io import StringIO
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections, transaction

from ecp_project.kernel.clock import format_time, utc_now
from ecp_project.kernel.errors import Conflict, Unavailable
from ecp_project.kernel.ids import is_uuid7, new_uuid7
from ledger import checks, modes, sequencer
from ledger.checkpointer import Checkpointer, HighWaterMark
from ledger.core.entry import parse_entry
from ledger.core.statement import build_annotation
from ledger.keys import signer
from ledger.models import Entry, Guard, Log
from ledger.services import operations
from ledger.services.identities import apikey_create, apikey_revoke
from ledger.services.ledger import TransparencyLedger
from tests.ledger.test_append import decision, post
from tests.running_ledger import SEED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime
    from pathlib import Path

    from django.test import Client

    from tests.databases import Cluster
    from tests.people import People

pytestmark = pytest.mark.db
REASON = "An auditor wants the log to stand still."


def told(log: Log) -> list[dict[str, Any]]:
    """The `ecp.mode/1` statements of a log in order."""
    rows = Entry.objects.filter(log=log, kind="ecp.mode/1").order_by("seq").values_list("entry", flat=True)
    return [parse_entry(bytes(raw)).stmt for raw in rows]


def switch(people: People, to: str, **members: Any) -> Any:
    arguments: dict[str, Any] = {"reason": REASON, "actor": "system:shell", "now": utc_now()} | members
    return operations.mode_switch(log=Log.objects.get(pk=people.log.pk), to=to, **arguments)


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


# --- by a person
def test_halt_and_reopening_are_entries_with_reason_and_time(
    client: Client, people: People, settings: Any
) -> None:
    halted_at = utc_now()
    switch(people, "halt", now=halted_at)
    state = json.loads((settings.ECP_STATE_DIR / "mode.json").read_text())
    assert (state["mode"], state["sticky"]) == ("halt", True)
    answer = post(client, people, decision())
    assert (answer.status_code, answer.json()["code"]) == (503, "ledger_halted")
    assert (answer.json()["mode"], answer.json()["proceed"]) == ("halt", False)
    assert answer.headers["Retry-After"] == "60"
    switch(people, "active", reason="The audit is over.")
    assert json.loads((settings.ECP_STATE_DIR / "mode.json").read_text())["mode"] == "active"
    assert post(client, people, decision()).json()["seq"] == 2
    halt, active = told(people.log)
    assert (halt["from"], halt["to"], halt["reason"]) == ("active", "halt", REASON)
    assert (active["from"], active["to"], active["reason"]) == ("halt", "active", "The audit is over.")
    assert active["since"] == halt["since"] == format_time(halted_at)


def test_reading_goes_on_in_halt(client: Client, people: People, checkpointer: Checkpointer) -> None:
    uid = post(client, people, decision()).json()["id"]
    switch(people, "halt")
    checkpointer.turn()
    for path in (f"decisions/{uid}/", f"decisions/{uid}/receipt/", "logs/acme/", "decisions/"):
        assert client.get(f"/api/v1/{path}", **people.ada_agent.headers).status_code == 200
    receipt = client.get(f"/api/v1/decisions/{uid}/receipt/", **people.ada_agent.headers).json()
    assert receipt["status"] == "signed"
    assert client.get("/api/v1/logs/acme/", **people.ada_agent.headers).json()["mode"] == "halt"


def test_switching_to_the_mode_at_hand_is_refused(people: People) -> None:
    with pytest.raises(Conflict, match="is in mode active already"):
        switch(people, "active")
    assert told(people.log) == []


def test_reason_without_visible_text_changes_nothing(people: People) -> None:
    with pytest.raises(CommandError):
        call_command("ledger_mode", "halt", "--reason", "", "--log", "acme", stdout=StringIO())
    assert Log.objects.get(pk=people.log.pk).mode == "active"
    assert told(people.log) == []


def test_one_log_stands_still_the_other_goes_on(client: Client, people: People, settings: Any) -> None:
    switch(people, "halt")
    other = json.dumps(decision(agent="eve-bot"))
    answer = client.post(
        "/api/v1/decisions/", other, content_type="application/json", **people.eve_agent.headers
    )
    assert answer.status_code == 201
    operations.mode_switch(
        log=people.other_log, to="halt", reason=REASON, actor="system:shell", now=utc_now()
    )
    switch(people, "active")
    # The file stands for the host: it says halt while any log does.
    assert json.loads((settings.ECP_STATE_DIR / "mode.json").read_text())["mode"] == "halt"


def test_halt_works_while_nothing_can_be_stored_and_the_reopening_tells_since_when(
    client: Client, people: People
) -> None:
    post(client, people, decision())
    last = Entry.objects.get().rcvd
    modes.process.enter("sqlstate_53100", utc_now())
    out = StringIO()
    call_command("ledger_mode", "halt", "--reason", REASON, "--log", "acme", stdout=out)
    assert "cannot be recorded now" in out.getvalue()
    assert Log.objects.get(pk=people.log.pk).mode == "halt"
    assert told(people.log) == []
    with pytest.raises(Unavailable, match="53100"):
        switch(people, "active")
    assert Log.objects.get(pk=people.log.pk).mode == "halt"
    modes.process.forget()
    assert switch(people, "active") is not None
    assert [stmt["since"] for stmt in told(people.log)] == [format_time(last)]


def test_append_waits_for_the_switch_and_nothing_lands_after_it(client: Client, people: People) -> None:
    with transaction.atomic():
        switch(people, "halt")
        started = time.monotonic()
        answer = post(client, people, decision())  # the batcher's connection waits for the head's row
    assert time.monotonic() - started > 1
    assert (answer.status_code, answer.json()["code"]) == (503, "ledger_busy")
    assert post(client, people, decision()).json()["code"] == "ledger_halted"
    assert [entry.kind for entry in Entry.objects.filter(log=people.log)] == ["ecp.mode/1"]


# --- by a fault that passes
@pytest.fixture
def quick_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modes, "PROBE_EVERY_S", 0.05)


@pytest.mark.usefixtures("quick_probes")
def test_fault_that_is_over_is_told_in_every_open_log_once(client: Client, people: People) -> None:
    operations.mode_switch(
        log=people.other_log, to="halt", reason=REASON, actor="system:shell", now=utc_now()
    )
    since = utc_now()
    modes.process.enter("sqlstate_57P01", since)
    answer = post(client, people, decision())
    assert (answer.json()["halt_reason"], answer.headers["Retry-After"]) == ("sqlstate_57P01", "5")
    until(lambda: bool(told(people.log)))
    (stmt,) = told(people.log)
    assert (stmt["actor"], stmt["from"], stmt["to"]) == ("system:ledger", "halt", "active")
    assert (stmt["since"], stmt["reason"]) == (format_time(since), "sqlstate_57P01")
    assert [stmt["to"] for stmt in told(people.other_log)] == ["halt"]  # the other is halted by a person
    assert post(client, people, decision()).status_code == 201
    # Another process saw the same fault a little later: the log has told of it.
    halt = modes.Halt("sqlstate_57P01", since + timedelta(milliseconds=3), is_sticky=False)
    assert operations.resumed_tell(halt=halt, now=utc_now()) == []
    assert len(told(people.log)) == 1
    # A later fault is another one.
    halt = modes.Halt("clock_skew", utc_now(), is_sticky=False)
    assert len(operations.resumed_tell(halt=halt, now=utc_now())) == 1


@pytest.mark.usefixtures("quick_probes")
def test_halt_holds_for_statements_in_a_callers_transaction_and_wakes_the_probe(people: People) -> None:
    modes.process.enter("clock_skew", utc_now())
    with pytest.raises(Unavailable, match="clock_skew"):
        note(people)
    until(lambda: modes.process.halt is None)
    until(lambda: len(told(people.log)) == 1)
    assert note(people).stored.seq == 1


def note(people: People) -> Any:
    now = utc_now()
    stmt = build_annotation(
        id_=new_uuid7(now),
        org="acme",
        ts=now,
        actor="system:test",
        kind="note",
        target=new_uuid7(now),
        text="Something to remember.",
    )
    with transaction.atomic():
        return TransparencyLedger(people.log).append_statement(stmt, now=now)


@pytest.mark.usefixtures("quick_probes")
def test_what_cannot_be_told_now_is_told_later(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[modes.News] = []

    def refuse_once(news: modes.News) -> None:
        tries.append(news)
        if len(tries) == 1:
            raise Unavailable("ledger_busy", retry_after=1)
        operations.tell(news)

    monkeypatch.setattr(sequencer, "on_news", [refuse_once])
    modes.process.enter("sqlstate_08006", utc_now())
    sequencer.batcher.wake()
    until(lambda: bool(told(people.log)))
    assert len(tries) == 2


def test_one_bad_probe_begins_the_count_anew(people: People) -> None:
    del people
    modes.process.enter("sqlstate_53300", utc_now())
    assert modes.process.probed(good=True) is None
    assert modes.process.probed(good=True) is None
    assert modes.process.probed(good=False) is None
    assert [modes.process.probed(good=True) is None for _ in range(3)] == [True, True, False]
    assert modes.process.halt is None


@pytest.mark.parametrize(
    ("state", "code", "halts"),
    [
        ("55P03", "ledger_busy", False), ("57014", "ledger_busy", False), ("40001", "ledger_busy", False),
        ("40P01", "ledger_busy", False), ("25P03", "ledger_busy", False), ("53100", "ledger_halted", True),
        ("57P01", "ledger_halted", True), ("58030", "ledger_halted", True), ("08006", "ledger_halted", True),
        ("25006", "ledger_halted", True),
    ],
)  # fmt: skip
def test_failures_of_the_database_by_their_state(people: People, state: str, code: str, halts: bool) -> None:  # noqa: FBT001 - a column of the table
    """Raised by the database itself, inside a caller's transaction."""
    del people
    with (
        pytest.raises(psycopg.Error) as raised,
        transaction.atomic(),
        psycopg.Cursor(connection.connection) as cursor,
    ):
        cursor.execute(f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END $$")
    problem = sequencer.batcher.problem(raised.value)
    assert isinstance(problem, Unavailable)
    assert problem.code == code
    assert (modes.process.halt is not None) == halts


def test_statement_of_a_caller_that_finds_the_log_locked_is_busy(
    people: People, cluster: Cluster, database_name: str
) -> None:
    with cluster.connect(database_name) as other, other.transaction():
        other.execute("SELECT size FROM ledger_head WHERE log_id = %s FOR UPDATE", (people.log.id,))
        with pytest.raises(Unavailable) as refused:
            note(people)
    assert refused.value.code == "ledger_busy"
    assert modes.process.halt is None
    assert note(people).stored.seq == 0


# --- after a restore
@pytest.fixture
def second_life(
    client: Client, people: People, checkpointer: Checkpointer, tmp_path: Path
) -> Iterator[Checkpointer]:
    """A checkpointer that meets a database whose anchors come from another timeline."""
    assert post(client, people, decision()).status_code == 201
    checkpointer.turn()
    checkpointer.close()
    anchors = tmp_path / "checkpoints.ndjson"
    lines = [json.loads(line) for line in anchors.read_text().splitlines()]
    anchors.write_text(
        "".join(json.dumps(line | {"timeline": line["timeline"] + 7}) + "\n" for line in lines)
    )
    again = Checkpointer(
        connect=lambda: sequencer.connect("checkpointer"),
        signer=lambda origin: signer(SEED, origin),
        sinks=checkpointer._sinks,
        high_water=HighWaterMark(tmp_path / "high-water.json"),
        clock=utc_now,
    )
    yield again
    again.close()


@pytest.mark.usefixtures("quick_probes")
def test_restored_database_is_told_by_whoever_sees_the_guard_row_first(
    client: Client, people: People, second_life: Checkpointer
) -> None:
    second_life.turn()
    guard = Guard.objects.get(log=people.log)
    assert guard.verdict == modes.GUARD_OK_RESTORED
    modes.process.forget()  # as a process that starts after the restore
    assert post(client, people, decision()).status_code == 201
    until(lambda: bool(told(people.log)))
    (stmt,) = told(people.log)
    assert is_uuid7(stmt["id"])
    assert (stmt["ts"], stmt["actor"]) == (format_time(guard.at), "system:ledger")
    assert stmt["reason"].startswith("restored_unverified")
    assert f"timeline {guard.timeline}" in stmt["reason"]
    # A second process makes the same entry, so there is one.
    receipt = operations.restored_tell(log_id=people.log.id, now=utc_now())
    assert receipt is not None
    assert receipt.is_replay
    assert len(told(people.log)) == 1


def test_ordinary_guard_row_is_no_news(client: Client, people: People) -> None:
    assert post(client, people, decision()).status_code == 201
    assert not modes.process.has_news
    assert operations.restored_tell(log_id=people.log.id, now=utc_now()) is None
    assert told(people.log) == []


def test_database_that_nobody_compared_takes_nothing(
    client: Client, people: People, cluster: Cluster, database_name: str
) -> None:
    with cluster.connect(database_name) as superuser:
        superuser.execute("UPDATE ledger_guard SET timeline = timeline + 1")
    modes.process.forget()
    answer = post(client, people, decision())
    assert (answer.status_code, answer.json()["halt_reason"]) == (503, "restored_unverified")
    with cluster.connect(database_name) as superuser:
        superuser.execute(
            "UPDATE ledger_guard SET timeline = timeline - 1, verdict = 'restored_behind_checkpoint'"
        )
    answer = post(client, people, decision())
    assert (answer.status_code, answer.json()["halt_reason"]) == (503, "restored_behind_checkpoint")
    assert answer.headers["Retry-After"] == "60"


# --- by the environment
@pytest.fixture
def forced(settings: Any) -> Iterator[datetime]:
    settings.ECP_LEDGER_MODE = "HALT"
    since = utc_now()
    operations.start(now=since)
    yield since
    modes.process.force(None)


@pytest.mark.usefixtures("quick_probes")
def test_process_that_starts_with_halt_takes_nothing_and_probes_nothing(
    client: Client, people: People, forced: datetime
) -> None:
    for _ in range(2):
        answer = post(client, people, decision())
        assert (answer.status_code, answer.json()["code"]) == (503, "ledger_halted")
        assert answer.json()["halt_reason"] == "ECP_LEDGER_MODE is HALT"
        assert format_time(forced) in answer.json()["detail"]
        time.sleep(0.3)  # longer than three probes
    modes.process.forget()  # a fork forgets what passes, not what was ordered
    with pytest.raises(Unavailable, match="ECP_LEDGER_MODE"):
        note(people)
    assert client.get("/readyz?verbose").json()["ledger"]["mode"] == "halt"
    assert not Entry.objects.exists()


def test_starting_twice_listens_once() -> None:
    operations.start(now=utc_now())
    operations.start(now=utc_now())
    assert sequencer.on_news.count(operations.tell) == 1


def started(**variables: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-c",
        "import django; django.setup(); from ledger import modes; print(modes.process.halt)",
    ]
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "ecp_project.settings.test"} | variables
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment)  # noqa: S603 - our own


def test_environment_is_obeyed_at_start() -> None:
    assert "ECP_LEDGER_MODE is HALT" in started(ECP_LEDGER_MODE="HALT").stdout
    assert started().stdout.strip() == "None"


@pytest.mark.parametrize("mode", ["degrade", "dark"])
def test_failure_mode_that_is_not_built_stops_the_start_and_says_what_is(mode: str) -> None:
    answer = started(ECP_LEDGER_FAILURE_MODE=mode)
    assert answer.returncode != 0
    assert f"ECP_LEDGER_FAILURE_MODE is '{mode}'; this version takes halt alone" in answer.stderr


# --- ecp.W012
def test_event_triggers_stand(people: People) -> None:
    del people
    assert checks.event_triggers_stand(databases=["default"]) == []


def test_missing_or_disabled_event_trigger_is_a_warning_that_names_it(
    people: People, cluster: Cluster, database_name: str
) -> None:
    del people
    with cluster.connect(database_name) as superuser:
        superuser.execute("ALTER EVENT TRIGGER ledger_drop_guard ENABLE")
    try:
        (found,) = checks.event_triggers_stand(databases=["default"])
    finally:
        with cluster.connect(database_name) as superuser:
            superuser.execute("ALTER EVENT TRIGGER ledger_drop_guard ENABLE ALWAYS")
    assert found.id == "ecp.W012"
    assert "ledger_drop_guard" in str(found.msg)
    assert "ledger_ddl_guard" not in str(found.msg)
    assert checks.event_triggers_stand(databases=[]) == []  # without --database no database is asked


# --- a failover that leaves the database read-only
@pytest.fixture
def read_only(people: People, cluster: Cluster, database_name: str) -> Iterator[Callable[[str], None]]:
    """Switch what new connections may do, and end the old ones, as a failover to a standby does."""
    del people

    def switch(state: str) -> None:
        with cluster.connect() as superuser:
            superuser.execute(f"ALTER DATABASE {database_name} SET default_transaction_read_only = {state}")
            superuser.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND usename = %s",
                (database_name, "ecp_app"),
            )
        connections.close_all()

    yield switch
    switch("off")


@pytest.mark.usefixtures("quick_probes")
def test_read_only_database_is_read_and_takes_entries_again_by_itself(
    client: Client, people: People, read_only: Callable[[str], None]
) -> None:
    uid = post(client, people, decision()).json()["id"]
    issued = apikey_create(organisation=people.acme, agent=None, scopes=("decisions:read",), now=utc_now())
    revoked = apikey_create(organisation=people.acme, agent=None, scopes=("ledger:read",), now=utc_now())
    apikey_revoke(key=revoked.row, now=utc_now())
    read_only("on")
    answers = [post(client, people, decision()) for _ in range(2)]
    assert {answer.status_code for answer in answers} == {503}, answers[0].content
    assert answers[-1].json()["halt_reason"] == "sqlstate_25006"
    fresh: dict[str, Any] = {"HTTP_AUTHORIZATION": f"Bearer {issued.text}"}  # its first use cannot be noted
    assert client.get(f"/api/v1/decisions/{uid}/", **fresh).status_code == 200
    gone: dict[str, Any] = {"HTTP_AUTHORIZATION": f"Bearer {revoked.text}"}
    assert client.get("/api/v1/logs/", **gone).status_code == 401
    read_only("off")
    until(lambda: bool(told(people.log)))
    assert [stmt["reason"] for stmt in told(people.log)] == ["sqlstate_25006"]
    assert post(client, people, decision()).status_code == 201
