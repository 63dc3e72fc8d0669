"""Files of decisions and annotations: order, retries, bad lines, and a ledger that is not open yet."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import Unavailable
from ecp_project.kernel.ids import new_uuid7
from ledger import modes
from ledger.core.entry import parse_entry
from ledger.models import Entry
from ledger.services import ingest as ingests
from ledger.services.ingest import Tally, ingest, when_open
from ledger.services.operations import mode_switch
from tests.ledger.test_append import decision

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ledger.checkpointer import Checkpointer
    from tests.people import People

pytestmark = pytest.mark.db


def take(people: People, lines: Iterable[Any], **options: Any) -> Tally:
    raw = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    return ingest(log=people.log, lines=raw, actor="system:import", clock=utc_now, **options)


def outcome(target: str, **members: Any) -> dict[str, Any]:
    return {
        "id": new_uuid7(utc_now()),
        "target": target,
        "kind": "outcome",
        "status": "success",
        "text": "Sales rose within the week.",
    } | members


def stored(people: People) -> list[dict[str, Any]]:
    rows = Entry.objects.filter(log=people.log).order_by("seq").values_list("entry", flat=True)
    return [parse_entry(bytes(raw)).stmt for raw in rows]


def counts(tally: Tally) -> tuple[int, int, list[int]]:
    return tally.accepted, tally.replayed, [number for number, _, _ in tally.rejects]


def test_lines_keep_their_order_whatever_their_sort(people: People) -> None:
    first, second = decision(), decision()
    lines: list[Any] = [first, outcome(first["id"]), b"", second, outcome(second["id"]), b"   ", decision()]
    seen: list[int] = []
    assert counts(take(people, lines, progress=seen.append)) == (5, 0, [])
    kinds = [stmt["v"] for stmt in stored(people)]
    assert kinds == [
        "ecp.decision/1", "ecp.annotation/1", "ecp.decision/1", "ecp.annotation/1", "ecp.decision/1",
    ]  # fmt: skip
    assert seen == [1, 2, 3, 4, 5]
    assert counts(take(people, lines)) == (0, 5, [])


def test_time_of_an_annotation_is_that_of_its_id(people: People) -> None:
    about = decision()
    take(people, [about, outcome(about["id"], id="019b0a2c-4e00-7000-8000-000000000003")])
    assert stored(people)[1]["ts"] == "2025-12-10T21:30:34.368000Z"


def test_more_lines_than_one_batch(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingests, "BATCH", 3)
    assert counts(take(people, [decision() for _ in range(8)])) == (8, 0, [])


def test_bad_lines_are_told_by_number_code_and_pointer(people: People) -> None:
    about = decision()
    lines: list[Any] = [
        about,
        b"{not json",
        decision(explanation="short"),
        {name: value for name, value in decision().items() if name != "id"},
        b'["target"]',
        b'{"target": ',
        outcome(about["id"], status=None),
        outcome(about["id"], kind="note"),
        outcome(about["id"], id=7),
        {name: value for name, value in outcome(about["id"]).items() if name != "id"},
        outcome(about["id"], actor="system:ledger"),
        outcome("not-an-id"),
        decision(agent="nobody"),
        outcome(about["id"]),
    ]
    tally = take(people, lines)
    told = [(number, problem.code, problem.pointer) for number, _, problem in tally.rejects]
    assert told == [
        (2, "malformed_json", ""),
        (3, "explanation_too_short", "/explanation"),
        (4, "missing_field", "/id"),
        (5, "wrong_type", ""),
        (6, "malformed_json", ""),
        (7, "wrong_type", "/status"),
        (8, "bad_value", "/status"),
        (9, "wrong_type", "/id"),
        (10, "missing_field", "/id"),
        (11, "unknown_field", "/actor"),
        (12, "bad_value", "/target"),
        (13, "agent_not_allowed", "/agent"),
    ]
    assert (tally.accepted, tally.done) == (2, 14)


def test_annotation_with_a_taken_id_is_a_reject(people: People) -> None:
    about = decision()
    tally = take(people, [about, outcome(about["id"], id=about["id"])])
    assert [problem.code for _, _, problem in tally.rejects] == ["id_reused"]


def test_halted_ledger_stops_the_file_and_a_second_run_goes_on(people: People) -> None:
    lines: list[Any] = [decision() for _ in range(3)]
    lines.append(outcome(lines[0]["id"]))
    take(people, lines[:2])
    mode_switch(log=people.log, to="halt", reason="The auditor is here.", actor="system:shell", now=utc_now())
    for rest in (lines, lines[3:]):
        with pytest.raises(Unavailable, match="ledger_halted"):
            take(people, rest)
    mode_switch(log=people.log, to="active", reason="All is well.", actor="system:shell", now=utc_now())
    assert counts(take(people, lines)) == (2, 2, [])


# --- waiting
def test_new_database_is_waited_for(checkpointer: Checkpointer) -> None:
    """`make run` loads its sample data while the checkpointer is only starting."""
    from tests.people import make_people  # noqa: PLC0415 - before any checkpointer has looked

    people = make_people()
    late = threading.Timer(1.0, checkpointer.turn)
    late.start()
    began = time.monotonic()
    assert counts(take(people, [decision()])) == (1, 0, [])
    late.join()
    assert time.monotonic() - began > 0.9


def refusing(*problems: Unavailable) -> Any:
    waiting = list(problems)

    def act() -> str:
        if waiting:
            raise waiting.pop(0)
        return "done"

    return act


@pytest.mark.usefixtures("fresh_process")
def test_only_what_passes_by_itself_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = Unavailable("ledger_busy", retry_after=1)
    unverified = Unavailable("ledger_halted", retry_after=1, halt_reason="restored_unverified")
    assert when_open(refusing(busy, unverified)) == "done"
    halted = modes.Halt("log_halted", utc_now(), is_sticky=True).problem()
    with pytest.raises(Unavailable, match="log_halted"):
        when_open(refusing(halted))
    monkeypatch.setattr(ingests, "OPENING_S", 0.0)
    with pytest.raises(Unavailable, match="ledger_busy"):
        when_open(refusing(busy, busy, busy))
