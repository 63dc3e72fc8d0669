"""Asking for advice through the client, against a ledger with the shipped rules in force."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections
from django.test import Client

from ecp_client import Advice, AsyncLedger, InvalidInput, Ledger, Refused
from ecp_client.advice import advice_of
from ecp_client.calls import Answer
from ecp_client.errors import Unavailable
from ledger.core.entry import parse_entry
from ledger.models import Entry
from tests.advisory.friction.world import DF1, activate
from tests.shared import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.served import Address

FIELDS: dict[str, Any] = {name: value for name, value in DF1.items() if name != "agent"}
REASON = "Cut-off at the bank is in four minutes."


@pytest.fixture
def ledger(answering: Address, tmp_path: Path) -> Iterator[Ledger]:
    activate(answering.people)
    with Ledger(answering.url, answering.key, agent="pricing-bot", queue_dir=tmp_path / "queue") as found:
        yield found


def statements(kind: str) -> list[dict[str, Any]]:
    return [parse_entry(bytes(row.entry)).stmt for row in Entry.objects.filter(kind=kind).order_by("id")]


def approve(answering: Address, advice: Advice) -> None:
    """What a person does: she completes the second review."""
    [n] = [step["n"] for step in advice.steps if step["type"] == "second_review"]
    ada = Client()
    ada.force_login(answering.people.ada)
    answer = ada.post(
        f"/api/v1/friction/advice/{advice.id}/steps/{n}/outcome/", json.dumps({"outcome": "completed"}),
        content_type="application/json",
    )  # fmt: skip
    assert answer.status_code == 201, answer.content


def approve_elsewhere(answering: Address, advice: Advice) -> None:
    """The same in a thread of its own, which closes its connections itself."""
    try:
        approve(answering, advice)
    finally:
        connections.close_all()


@pytest.mark.db
def test_ask_report_bypass_and_record(ledger: Ledger) -> None:
    advice = ledger.advice(**FIELDS)
    assert (advice.level, advice.mode, advice.fired[0]["rule"]) == ("high", "friction", "PAY-100")
    night = advice.open_steps[5:]  # outside the hours of work somebody is notified
    assert advice.open_steps == [1, 2, 3, 4, 5, *night]
    assert ledger.advice(dry_run=True, **FIELDS).level == "high"
    ledger.step_outcome(advice.id, 1, "completed", note="Filed with the invoice.")
    with pytest.raises(Refused, match="step_already_done"):
        ledger.step_outcome(advice.id, 1, "completed")
    bypass = ledger.bypass(advice.id, [3, 4], reason_code="time_critical", reason=REASON)
    assert (bypass.steps, bypass.review_due_at is not None) == ([3, 4], True)
    now = ledger.advice_now(advice.id)
    assert (now.open_steps, [told["n"] for told in now.outcomes]) == ([2, 5, *night], [1])
    with pytest.raises(Refused, match="bypass_reason_too_short"):
        ledger.bypass(advice.id, "all", reason_code="other", reason="short")
    receipt = ledger.record_now(**FIELDS, **advice.fields(bypassed=True, reason=REASON))
    [stmt] = [stmt for stmt in statements("ecp.decision/1") if stmt["id"] == receipt.id]
    assert stmt["advisory"] == {
        "advice_id": advice.id, "level": "high", "bypassed": True, "bypass_reason": REASON,
    }  # fmt: skip
    again = ledger.advice(previous=advice.id, **FIELDS)
    assert again.document["previous_advice_id"] == again.document["repeat_of"] == advice.id


@pytest.mark.db
def test_a_callback_hears_what_a_person_does(answering: Address, ledger: Ledger) -> None:
    advice, heard = ledger.advice(**FIELDS), []
    done = threading.Event()

    def changed(now: Advice) -> bool:
        heard.append(now)
        done.set()
        return True

    watch = ledger.watch_advice(advice, changed, timeout=20)
    approve(answering, advice)
    assert done.wait(10)
    assert watch.join(10)
    assert [told["outcome"] for told in heard[0].outcomes] == ["completed"]
    assert watch.advice is heard[0]
    assert ledger.await_change(heard[0], timeout=1) is None


@pytest.mark.db
def test_a_watch_ends_when_it_is_stopped_or_refused(ledger: Ledger) -> None:
    advice = ledger.advice(**FIELDS)
    watch = ledger.watch_advice(advice, lambda _: None, timeout=0.5)
    watch.stop()
    assert watch.join(10)
    gone = Advice("019b0a2c-4e00-7000-8000-00000000dead", "high", "friction", [], "", {})
    watch = ledger.watch_advice(gone, lambda _: None, timeout=20)
    assert watch.join(10)
    assert watch.problem is not None
    assert watch.problem.code == "not_found"


@pytest.mark.db
def test_the_async_client_does_the_same(answering: Address, tmp_path: Path) -> None:
    activate(answering.people)

    async def all_of_it() -> None:
        async with AsyncLedger(
            answering.url, answering.key, agent="pricing-bot", queue_dir=tmp_path / "queue"
        ) as ledger:
            advice = await ledger.advice(**FIELDS)
            heard: list[Advice] = []

            async def changed(now: Advice) -> bool:
                await asyncio.sleep(0)
                heard.append(now)
                return len(now.outcomes) > 1

            watching = asyncio.create_task(ledger.watch_advice(advice, changed, timeout=20))
            await asyncio.to_thread(approve_elsewhere, answering, advice)
            await ledger.step_outcome(advice.id, 1, "completed")
            last = await asyncio.wait_for(watching, 20)
            assert len(last.outcomes) == len(heard[-1].outcomes) == 2
            await ledger.bypass(advice.id, "all", reason_code="time_critical", reason=REASON)
            assert (await ledger.advice_now(advice.id)).open_steps == []
            assert await ledger.await_change(await ledger.advice_now(advice.id), timeout=1) is None

    asyncio.run(all_of_it())


@pytest.mark.db
def test_the_careful_agent_runs(answering: Address, tmp_path: Path) -> None:
    activate(answering.people)
    surroundings = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "URL": answering.url, "KEY": answering.key,
        "PYTHONPATH": str(PROJECT / "clients" / "python" / "src"),
    }  # fmt: skip
    command = [sys.executable, str(PROJECT / "examples" / "careful_agent.py"), "--patience", "1"]
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603 - ours
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Suggested friction: HIGH (")
    assert "bypassed: steps [2, 3, 4, 5" in done.stdout
    [stmt] = statements("ecp.decision/1")
    assert stmt["advisory"]["bypassed"] is True


def told(**members: Any) -> Advice:
    document = {"id": "a", "level": "high", "mode": "friction", "steps": [], "explanation": ""} | members
    return advice_of(Answer(200, {}, json.dumps(document).encode()))


@pytest.mark.unit
def test_in_observer_mode_a_decision_names_the_advice_by_reference() -> None:
    assert told(level=None, mode="observer").fields() == {"refs": [{"rel": "advice", "id": "a"}]}
    assert told().fields() == {"advisory": {"advice_id": "a", "level": "high", "bypassed": False}}
    with pytest.raises(InvalidInput):
        told().fields(bypassed=True)


@pytest.mark.unit
def test_open_steps_count_people_and_what_does_not_apply() -> None:
    steps = [
        {"n": 1, "type": "second_review", "count": 2},
        {"n": 2, "type": "delay"},
        {"n": 3, "type": "poll"},
    ]
    one = {"n": 1, "outcome": "completed", "actor": "staff:a"}
    assert told(steps=steps, outcomes=[one, one]).open_steps == [1, 2, 3]
    other = one | {"actor": "staff:b"}
    apart = {"n": 2, "outcome": "not_applicable", "actor": "agent:x"}
    found = told(steps=steps, outcomes=[one, other, apart], bypasses=[{"steps": [3]}])
    assert found.open_steps == []


@pytest.mark.unit
def test_an_answer_of_another_form_is_no_advice() -> None:
    with pytest.raises(Unavailable):
        advice_of(Answer(200, {}, b'{"id": "a"}'))
