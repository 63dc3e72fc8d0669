"""Bypasses, outcomes, standing bypasses, reviews, and what the reconciler finds."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from django.db import IntegrityError, connections, transaction

from advisory.friction.models import FrictionAdvice, FrictionBypass, StandingBypass
from advisory.friction.services import reconciling
from ecp_project.kernel.clock import format_time, utc_now
from ecp_project.kernel.ids import new_uuid7
from ledger.models import ErasureBasis
from ledger.services.erasure import erase_decision
from tests.advisory.friction.world import DF1

if TYPE_CHECKING:
    from tests.advisory.friction.world import World

pytestmark = pytest.mark.db

BYPASS = {
    "steps": "all",
    "reason_code": "time_critical",
    "reason_text": "Cut-off at the bank is in four minutes.",
}


def refusal(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


@pytest.fixture
def advice(world: World) -> dict[str, Any]:
    found: dict[str, Any] = world.ask().json()
    return found


# --- bypass


def test_a_bypass_is_an_entry_and_waits_for_its_review(world: World, advice: dict[str, Any]) -> None:
    told = world.post(f"advice/{advice['id']}/bypass/", BYPASS | {"steps": [3, 4]}).json()
    [stmt] = world.statements("ecp.friction.bypass/1")
    assert (stmt["steps"], stmt["actor"], stmt["advice_id"]) == ([3, 4], "agent:pay-agent-3", advice["id"])
    row = FrictionBypass.objects.get(pk=told["id"])
    assert row.review_due_at == row.at + timedelta(hours=24)
    assert told["entry"]["seq"] == row.entry_seq


def test_a_person_bypasses_for_the_agent(world: World, advice: dict[str, Any]) -> None:
    assert world.post(f"advice/{advice['id']}/bypass/", BYPASS, "operator").status_code == 201
    [stmt] = world.statements("ecp.friction.bypass/1")
    assert stmt["actor"].startswith("staff:")
    assert stmt["on_behalf_of"] == "agent:pay-agent-3"


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({"reason_text": "too short"}, (400, "bypass_reason_too_short")),
        ({"reason_text": "\u200b" * 30}, (400, "bypass_reason_too_short")),
        ({"reason_code": "boredom"}, (400, "value_invalid")),
        ({"reason_code": "undeclared"}, (400, "value_invalid")),
        ({"reason_code": 1}, (400, "wrong_type")),
        ({"steps": [99]}, (400, "step_unknown")),
        ({"steps": []}, (400, "wrong_type")),
        ({"steps": [True]}, (400, "wrong_type")),
        ({"steps": "some"}, (400, "wrong_type")),
        ({"why": "x"}, (400, "unknown_field")),
    ],
)
def test_a_bad_bypass_is_refused(
    world: World, advice: dict[str, Any], change: Any, refused: tuple[int, str]
) -> None:
    assert refusal(world.post(f"advice/{advice['id']}/bypass/", BYPASS | change)) == refused
    assert FrictionBypass.objects.count() == 0


def test_what_is_done_or_bypassed_cannot_be_bypassed(world: World, advice: dict[str, Any]) -> None:
    path = f"advice/{advice['id']}/"
    world.post(f"{path}steps/1/outcome/", {"outcome": "completed"})
    assert refusal(world.post(f"{path}bypass/", BYPASS | {"steps": [1]})) == (409, "step_already_done")
    assert world.post(f"{path}bypass/", BYPASS).status_code == 201
    assert refusal(world.post(f"{path}bypass/", BYPASS)) == (409, "step_already_done")


def test_a_repeated_bypass_is_answered_with_the_first(world: World, advice: dict[str, Any]) -> None:
    key = new_uuid7(utc_now())
    answers = [
        world.post(f"advice/{advice['id']}/bypass/", BYPASS, HTTP_IDEMPOTENCY_KEY=key) for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [201, 200]
    assert answers[0].json() == answers[1].json()
    other = world.post(
        f"advice/{advice['id']}/bypass/", BYPASS | {"reason_code": "other"}, HTTP_IDEMPOTENCY_KEY=key
    )
    assert refusal(other) == (409, "id_reused")


def test_the_same_reason_again_is_marked(world: World) -> None:
    told = [world.post(f"advice/{world.ask().json()['id']}/bypass/", BYPASS).json() for _ in range(2)]
    assert "warnings" not in told[0]
    assert told[1]["warnings"] == ["the same reason as in the bypass before"]


def test_strangers_find_no_advice_to_answer(world: World, advice: dict[str, Any]) -> None:
    for caller in (world.colleague, world.stranger):
        assert refusal(world.post(f"advice/{advice['id']}/bypass/", BYPASS, caller)) == (404, "not_found")
        answer = world.post(f"advice/{advice['id']}/steps/1/outcome/", {"outcome": "completed"}, caller)
        assert refusal(answer) == (404, "not_found")
    assert refusal(world.post(f"advice/{advice['id']}/bypass/", BYPASS, "viewer")) == (403, "role_missing")


# --- outcomes


def test_a_second_review_needs_as_many_people_as_it_says(world: World, advice: dict[str, Any]) -> None:
    [n] = [step["n"] for step in advice["steps"] if step["type"] == "second_review"]
    path = f"advice/{advice['id']}/steps/{n}/outcome/"
    assert refusal(world.post(path, {"outcome": "completed"})) == (403, "role_missing")
    assert world.post(path, {"outcome": "completed"}, "operator").status_code == 201
    assert refusal(world.post(path, {"outcome": "completed"}, "operator")) == (409, "step_already_done")
    world.staff["operator"] = world.people.ada
    assert world.post(path, {"outcome": "completed", "note": "Looks right."}, "operator").status_code == 201
    assert refusal(world.post(path, {"outcome": "skipped"})) == (409, "step_already_done")
    texts = [(stmt["text"], stmt["status"]) for stmt in world.statements("ecp.annotation/1")]
    assert texts == [(f"step {n} second_review: completed", "success")] * 2


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        ({"outcome": "done"}, (400, "value_invalid")), ({}, (400, "missing_field")),
        ({"outcome": "completed", "evidence_url": "javascript:alert(1)"}, (400, "bad_value")),
        ({"outcome": "completed", "note": 5}, (400, "wrong_type")),
        ({"outcome": "completed", "note": "x" * 2001}, (400, "bad_value")),
    ],
)  # fmt: skip
def test_a_bad_outcome_is_refused(
    world: World, advice: dict[str, Any], body: Any, refused: tuple[int, str]
) -> None:
    assert refusal(world.post(f"advice/{advice['id']}/steps/1/outcome/", body)) == refused


@pytest.mark.parametrize(
    ("n", "refused"), [("99", (400, "step_unknown")), ("0", (404, "not_found")), ("x", (404, "not_found"))]
)
def test_a_step_that_is_not_there(
    world: World, advice: dict[str, Any], n: str, refused: tuple[int, str]
) -> None:
    assert (
        refusal(world.post(f"advice/{advice['id']}/steps/{n}/outcome/", {"outcome": "completed"})) == refused
    )


# --- the reconciler


def test_a_decision_that_says_bypassed_is_taken_at_its_word(world: World, advice: dict[str, Any]) -> None:
    world.decide(
        {
            "advice_id": advice["id"],
            "level": "high",
            "bypassed": True,
            "bypass_reason": "The bank closes now.",
        }
    )
    world.reconcile()
    [stmt] = world.statements("ecp.friction.bypass/1")
    assert (stmt["actor"], stmt["reason_code"], stmt["reason_text"]) == (
        "agent:pay-agent-3",
        "other",
        "The bank closes now.",
    )


def test_a_decision_with_every_step_done_is_no_bypass(world: World, advice: dict[str, Any]) -> None:
    for step in advice["steps"]:
        world.post(f"advice/{advice['id']}/steps/{step['n']}/outcome/", {"outcome": "not_applicable"})
    world.decide({"advice_id": advice["id"], "level": "high", "bypassed": False})
    world.reconcile()
    assert world.statements("ecp.friction.bypass/1") == []


def test_waiting_out_a_delay_is_doing_it(world: World, advice: dict[str, Any]) -> None:
    FrictionAdvice.objects.update(evaluated_at=utc_now() - timedelta(minutes=16))
    world.decide({"advice_id": advice["id"], "level": "high", "bypassed": False})
    world.reconcile()
    [stmt] = world.statements("ecp.friction.bypass/1")
    [delay] = [step["n"] for step in advice["steps"] if step["type"] == "delay"]
    assert delay not in stmt["steps"]


def test_another_proposal_than_the_advised_one_is_told(world: World, advice: dict[str, Any]) -> None:
    context = DF1["context"] | {"amount_minor": 9, "confidence_pct": 91, "currency": "CHF"}
    world.decide({"advice_id": advice["id"], "level": "high", "bypassed": False}, context=context)
    world.reconcile()
    told = world.get(f"advice/{advice['id']}/", "viewer").json()
    assert told["decision"]["changed_fields"] == ["amount_minor", "currency"]


def test_a_fraction_is_the_same_in_advice_and_decision(world: World) -> None:
    proposal = DF1 | {"context": DF1["context"] | {"amount_minor": 0.750, "confidence_pct": 7.0}}
    advice = world.ask(proposal).json()
    world.decide({"advice_id": advice["id"], "level": "high", "bypassed": False}, context=proposal["context"])
    world.reconcile()
    assert world.get(f"advice/{advice['id']}/", "viewer").json()["decision"]["changed_fields"] == []


def test_an_advice_is_linked_to_one_decision_of_its_agent(world: World, advice: dict[str, Any]) -> None:
    said = {"advice_id": advice["id"], "level": "high", "bypassed": False}
    first = world.decide(said)
    world.decide(said)
    world.decide(said | {"advice_id": new_uuid7(utc_now())})
    world.decide()
    world.reconcile()
    assert str(FrictionAdvice.objects.get().decision_id) == first
    assert len(world.statements("ecp.friction.bypass/1")) == 1


def test_two_reconcilers_at_once_find_a_bypass_once(world: World, advice: dict[str, Any]) -> None:
    world.decide({"advice_id": advice["id"], "level": "high", "bypassed": False})

    def run(_: int) -> int:
        try:
            return reconciling.reconcile(log=world.people.log, now=utc_now())
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(run, range(4))) > 0
    assert len(world.statements("ecp.friction.bypass/1")) == 1


def test_an_erasure_reaches_the_row(world: World, advice: dict[str, Any]) -> None:
    log, uid = world.people.log, UUID(advice["id"])
    row = FrictionAdvice.objects.get(pk=uid)
    row.result["trace"] = [{"actual": 2_500_000}]  # as an older process stores it
    row.save(update_fields=["result"])
    erase_decision(
        log=log, uid=uid, basis=ErasureBasis.LEGAL_ORDER.value, actor="system:shell", now=utc_now()
    )
    world.decide({"advice_id": advice["id"], "level": "high", "bypassed": False}, context={"amount_minor": 1})
    world.reconcile()
    row = FrictionAdvice.objects.get(pk=uid)
    kept = f"{row.facts} {row.result} {row.proposal} {world.get(f'advice/{uid}/', 'viewer').content!r}"
    for private in ("2500000", "EUR", "invoice", advice["input_sha256"]):
        assert private not in kept, private
    assert (row.level, row.changed_fields) == ("high", [])
    assert [one["rule"] for one in row.result["fired"]] == [one["rule"] for one in advice["fired"]]


# --- standing bypasses


def standing(hours: float = 1, **members: Any) -> dict[str, Any]:
    expires = format_time(utc_now() + timedelta(hours=hours))
    return {"reason_text": "Migration night, the team is watching.", "expires_at": expires} | members


def test_under_a_standing_bypass_each_decision_gets_its_entry(world: World) -> None:
    begun = world.post("standing-bypasses/", standing(agents=["pay-agent-3"]), "operator").json()
    assert (begun["scope"], begun["running"]) == (["agent:pay-agent-3"], True)
    advice = world.ask().json()
    assert advice["standing_bypass"] == begun["id"]
    world.decide({"advice_id": advice["id"], "level": "high", "bypassed": False})
    world.reconcile()
    start, found = world.statements("ecp.friction.bypass/1")
    assert (start["steps"], "advice_id" in start) == ([], False)
    assert (found["reason_code"], found["standing"]["id"]) == ("standing", begun["id"])


@pytest.mark.parametrize(
    "scope", [{"agents": ["refund-bot"]}, {"actions": ["email.send"]}, {"rules": ["LIA-100"]}]
)
def test_a_standing_bypass_covers_what_it_names(world: World, scope: dict[str, Any]) -> None:
    world.post("standing-bypasses/", standing(**scope), "operator")
    assert "standing_bypass" not in world.ask().json()


def test_a_standing_bypass_ends_by_itself_and_by_hand(world: World) -> None:
    begun = world.post("standing-bypasses/", standing(), "operator").json()
    ended = world.client("operator").delete(f"/api/v1/friction/standing-bypasses/{begun['id']}/")
    assert (ended.status_code, ended.json()["running"]) == (200, False)
    assert "standing_bypass" not in world.ask().json()
    world.post("standing-bypasses/", standing(), "operator")
    StandingBypass.objects.filter(ended_at__isnull=True).update(
        starts_at=utc_now() - timedelta(hours=2), expires_at=utc_now() - timedelta(seconds=1)
    )
    assert "standing_bypass" not in world.ask().json()
    assert [row["running"] for row in world.get("standing-bypasses/", "auditor").json()["results"]] == [
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("hours", "change", "refused"),
    [
        (8.01, {}, (400, "expiry_too_far")), (-1, {}, (400, "bad_value")), (1, {"expires_at": "soon"}, (400, "bad_value")),
        (1, {"reason_text": "short"}, (400, "bypass_reason_too_short")), (1, {"rules": "all"}, (400, "wrong_type")),
        (1, {"agents": [5]}, (400, "wrong_type")), (1, {"agents": ["x"] * 101}, (400, "bad_value")),
    ],
)  # fmt: skip
def test_a_bad_standing_bypass_is_refused(
    world: World, hours: float, change: dict[str, Any], refused: tuple[int, str]
) -> None:
    assert refusal(world.post("standing-bypasses/", standing(hours, **change), "operator")) == refused


def test_a_standing_bypass_without_an_end_is_refused(world: World) -> None:
    answer = world.post("standing-bypasses/", {"reason_text": "Migration night, we watch."}, "operator")
    assert refusal(answer) == (400, "expiry_required")


def test_the_database_too_knows_the_eight_hours(world: World) -> None:
    begun = world.post("standing-bypasses/", standing(), "operator").json()
    row = StandingBypass.objects.get(pk=begun["id"])
    for seconds, fits in ((0, True), (1, False)):
        until = row.starts_at + timedelta(hours=8, seconds=seconds)
        if fits:
            StandingBypass.objects.update(expires_at=until)
        else:
            with pytest.raises(IntegrityError, match="standing_at_most_8_h"), transaction.atomic():
                StandingBypass.objects.update(expires_at=until)


# --- reviews


def test_a_review_is_one_persons_word_and_is_said_once(world: World, advice: dict[str, Any]) -> None:
    bypass = world.post(f"advice/{advice['id']}/bypass/", BYPASS).json()["id"]
    [due] = world.get("bypasses/?review=due", "auditor").json()["results"]
    assert due["id"] == bypass
    assert refusal(world.post(f"bypasses/{bypass}/review/", {"verdict": "fine"}, "auditor")) == (
        400,
        "value_invalid",
    )
    told = world.post(
        f"bypasses/{bypass}/review/", {"verdict": "justified", "note": "The bank agreed."}, "auditor"
    )
    assert told.json()["review"]["verdict"] == "justified"
    again = world.post(f"bypasses/{bypass}/review/", {"verdict": "unjustified"}, "auditor")
    assert refusal(again) == (409, "state_invalid")
    assert world.get("bypasses/?review=due", "auditor").json()["results"] == []
    [stmt] = world.statements("ecp.annotation/1")
    assert (stmt["target"], stmt["text"], stmt["status"]) == (
        bypass,
        "review: justified (The bank agreed.)",
        "success",
    )
    assert world.get("bypasses/?review=late", "auditor").status_code == 400


def test_a_low_advice_that_is_bypassed_waits_for_nobody(world: World, advice: dict[str, Any]) -> None:
    FrictionAdvice.objects.update(level="low")
    told = world.post(f"advice/{advice['id']}/bypass/", BYPASS).json()
    assert told["review_due_at"] is None
