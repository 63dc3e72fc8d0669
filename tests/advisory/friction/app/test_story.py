"""The whole way of a piece of advice over REST, and its twin: the bypass that nobody declared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from advisory.friction import FrictionCalculator
from advisory.friction.selectors.recorded import RecordedFilter
from advisory.friction.services.replaying import replay_run
from ledger.models import Entry, EntrySearch
from tests.advisory.friction.world import SHIPPED

if TYPE_CHECKING:
    from tests.advisory.friction.world import World

pytestmark = pytest.mark.db


def test_ask_complete_one_step_bypass_the_rest_and_decide(world: World) -> None:
    asked = world.ask()
    assert asked.status_code == 201, asked.content
    advice = asked.json()
    assert (advice["level"], advice["mode"]) == ("high", "friction")
    assert [fired["rule"] for fired in advice["fired"]][:2] == ["PAY-100", "OPS-100"]
    assert (advice["advisory"], advice["blocking"]) == (True, False)
    assert [step["type"] for step in advice["steps"]][:3] == [
        "extra_documentation",
        "rehearsal",
        "second_review",
    ]

    done = world.post(f"advice/{advice['id']}/steps/1/outcome/", {"outcome": "completed"})
    assert done.status_code == 201, done.content
    bypass = world.post(
        f"advice/{advice['id']}/bypass/",
        {
            "steps": "all",
            "reason_code": "time_critical",
            "reason_text": "Cut-off at the bank is in four minutes.",
        },
    )
    assert bypass.status_code == 201, bypass.content
    assert bypass.json()["recorded"] is True
    assert 1 not in bypass.json()["steps"]

    decision = world.decide(
        {
            "advice_id": advice["id"],
            "level": "high",
            "bypassed": True,
            "bypass_reason": "No time for all the steps.",
        }
    )
    world.reconcile()

    told = world.get(f"advice/{advice['id']}/", "auditor").json()
    assert told["decision"] == {"id": decision, "changed_fields": []}
    assert [one["n"] for one in told["outcomes"]] == [1]
    [recorded] = world.statements("ecp.friction.bypass/1")
    assert recorded["id"] == bypass.json()["id"]
    assert recorded["reason_code"] == "time_critical"
    [stated] = world.statements("ecp.friction.advice/1")
    assert stated["id"] == advice["id"]
    [annotated] = world.statements("ecp.annotation/1")
    assert (annotated["target"], annotated["text"], annotated["status"]) == (
        advice["id"], "step 1 extra_documentation: completed", "success",
    )  # fmt: skip
    shown = EntrySearch.objects.get(entry__uid=decision)
    assert (shown.level, shown.bypassed) == ("high", True)


def test_an_undeclared_bypass_is_found_and_is_found_once(world: World) -> None:
    advice = world.ask().json()
    decision = world.decide({"advice_id": advice["id"], "level": "high", "bypassed": False})
    assert EntrySearch.objects.filter(entry__uid=decision, bypassed=True).count() == 0
    world.reconcile()
    world.reconcile()
    [found] = world.statements("ecp.friction.bypass/1")
    assert (found["actor"], found["reason_code"]) == ("system:friction", "undeclared")
    assert (found["on_behalf_of"], found["decision_id"]) == ("agent:pay-agent-3", decision)
    named = {step["n"]: step["type"] for step in advice["steps"]}
    assert [named[n] for n in found["steps"]] == [
        "extra_documentation",
        "rehearsal",
        "second_review",
        "delay",
    ]
    assert EntrySearch.objects.get(entry__uid=decision).bypassed is True
    assert world.get("bypasses/?review=due", "auditor").json()["results"][0]["reason_code"] == "undeclared"


def test_a_person_approves_in_the_console_and_changed_rules_would_say_otherwise(world: World) -> None:
    """Issue 5's story: ask, approve one step in the console, bypass another, decide, look, replay."""
    advice = world.ask().json()
    operator, page = world.client("operator"), f"/console/friction/frictionadvice/{advice['id']}/change/"
    assert f"{page}#step-1" in operator.get("/console/reviews/").content.decode()
    approved = {"n": "1", "answer": "done", "note": "All three papers are in the file."}
    assert operator.post(page, approved).status_code == 302
    told = world.get(f"advice/{advice['id']}/").json()
    [outcome] = told["outcomes"]
    assert (outcome["n"], outcome["outcome"]) == (1, "completed")
    assert outcome["actor"].startswith("staff:")

    reason = "Cut-off at the bank is in four minutes."
    body = {"steps": "all", "reason_code": "time_critical", "reason_text": reason}
    left = [step["n"] for step in advice["steps"]][1:]
    assert world.post(f"advice/{advice['id']}/bypass/", body).json()["steps"] == left
    uid = world.decide(
        {"advice_id": advice["id"], "level": "high", "bypassed": True, "bypass_reason": reason}
    )
    world.reconcile()
    kinds = ("ecp.friction.advice/1", "ecp.annotation/1", "ecp.friction.bypass/1", "ecp.decision/1")
    assert [len(world.statements(kind)) for kind in kinds] == [1, 1, 1, 1]

    entry = Entry.objects.get(uid=uid)
    record = operator.get(f"/console/ledger/decision/{entry.pk}/change/").content.decode()
    for shown in ("Add documents", reason, "operator-here", "Large payment"):
        assert shown in record, shown

    milder = SHIPPED.replace(b"points: 35", b"points: 5").replace(b"\nversion: 1\n", b"\nversion: 2\n")
    found = replay_run(
        log=world.people.log, calculator=FrictionCalculator.load(milder), wanted=RecordedFilter(last=100),
        progress=lambda *_: None,
    )  # fmt: skip
    assert (found.changed, found.matrix["high", "medium"]) == (1, 1)
