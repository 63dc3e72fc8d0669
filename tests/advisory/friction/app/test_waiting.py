"""Steps wait for the right people, and nothing of it holds up the agent (FRICTION 10.1)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from advisory.friction.models import (
    FrictionAdvice,
    FrictionDuty,
    FrictionNotice,
    FrictionWait,
    NotificationTarget,
    TargetKind,
)
from advisory.friction.services.reminding import remind
from ecp_project.kernel.clock import utc_now
from ledger.models import Agent, Membership
from tests.advisory.friction.world import DF1
from tests.people import person

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.test import Client

    from tests.advisory.friction.world import World

pytestmark = pytest.mark.db
REVIEWS = "/console/reviews/?tab=friction.waiting"
HEALTH = DF1 | {"context": DF1["context"] | {"data_classes": ["health"]}}


def page_of(advice: dict[str, Any]) -> str:
    return f"/console/friction/frictionadvice/{advice['id']}/change/"


def waiting(client: Client) -> list[int]:
    """Numbers of the steps that the tab shows, in its order."""
    text = client.get(REVIEWS).content.decode()
    return [int(part.partition('"')[0]) for part in text.split("#step-")[1:]]


def answer(client: Client, advice: dict[str, Any], n: int, what: str = "done", note: str = "") -> Any:
    return client.post(page_of(advice), {"n": str(n), "answer": what, "note": note})


def second_operator(world: World) -> Client:
    made: User = person("olga", world.people.acme, "operator")
    client = world.client("operator")
    client.force_login(made)
    return client


def test_the_queue_shows_steps_for_people_to_whoever_may_answer_them(world: World) -> None:
    world.ask()
    assert waiting(world.client("operator")) == [1, 2, 3]
    assert DF1["explanation"] in world.client("operator").get(REVIEWS).content.decode()
    assert waiting(world.client("auditor")) == []
    assert waiting(world.client("stranger")) == []


def test_a_review_by_two_waits_on_after_the_first_and_ends_after_the_second(world: World) -> None:
    advice = world.ask().json()
    first, second = world.client("operator"), second_operator(world)
    assert answer(first, advice, 3).status_code == 302
    assert waiting(first) == [1, 2]
    assert waiting(second) == [1, 2, 3]
    again = answer(first, advice, 3)
    assert (again.status_code, b"waits for another person" in again.content) == (409, True)
    answer(second, advice, 3)
    assert waiting(second) == [1, 2]
    told = world.get(f"advice/{advice['id']}/").json()["outcomes"]
    actors = {
        f"staff:{pseudonym}"
        for pseudonym in Membership.objects.filter(user__username__in=("operator-here", "olga")).values_list(
            "pseudonym", flat=True
        )
    }
    assert {(one["n"], one["outcome"]) for one in told} == {(3, "completed")}
    assert {one["actor"] for one in told} == actors


def test_who_answers_for_the_agent_does_not_review_it(world: World) -> None:
    Agent.objects.filter(slug="pay-agent-3").update(owner="Operator-Here")
    advice = world.ask().json()
    owner = world.client("operator")
    assert waiting(owner) == [1, 2]
    refused = answer(owner, advice, 3)
    assert (refused.status_code, b"You answer for this agent" in refused.content) == (403, True)


def test_a_duty_is_done_by_its_holder_and_by_any_operator_while_nobody_holds_it(world: World) -> None:
    advice = world.ask(HEALTH).json()
    privacy = next(step["n"] for step in advice["steps"] if step.get("role") == "privacy")
    operator, auditor = world.client("operator"), world.client("auditor")
    assert privacy in waiting(operator)
    assert b"nobody holds the duty privacy" in operator.get(REVIEWS).content
    FrictionDuty.objects.create(
        organisation=world.people.acme,
        label="privacy",
        member=Membership.objects.get(user=world.staff["auditor"]),
    )
    assert privacy not in waiting(operator)
    assert waiting(auditor) == [privacy]
    assert answer(operator, advice, privacy).status_code == 403
    assert answer(auditor, advice, privacy).status_code == 302
    assert waiting(auditor) == []


def test_a_duty_is_given_handed_over_and_taken_back_on_record(world: World) -> None:
    before = len(world.statements("ecp.staff/1"))
    admin, path = world.client("admin"), "/console/friction/frictionduty/"
    first, second = (Membership.objects.get(user=world.staff[role]) for role in ("auditor", "viewer"))
    form = {"organisation": str(world.people.acme.pk), "label": "privacy"}
    assert admin.post(f"{path}add/", form | {"member": str(first.pk)}).status_code == 302
    duty = FrictionDuty.objects.get()
    changed = admin.post(f"{path}{duty.pk}/change/", {"label": "privacy", "member": str(second.pk)})
    assert changed.status_code == 302
    assert admin.post(f"{path}{duty.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not FrictionDuty.objects.exists()
    acts = world.statements("ecp.staff/1")[before:]
    assert [(act["action"], act["object"]) for act in acts] == [
        ("frictionduty.register", f"frictionduty:privacy:{first.pseudonym}"),
        ("frictionduty.change", f"frictionduty:privacy:{second.pseudonym}"),
        ("frictionduty.delete", f"frictionduty:privacy:{second.pseudonym}"),
    ]


def test_what_waits_for_others_hides_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("advisory.friction.selectors.waiting.MOST", 1)
    advice = world.ask(HEALTH).json()
    privacy = next(step["n"] for step in advice["steps"] if step.get("role") == "privacy")
    auditor = Membership.objects.get(user=world.staff["auditor"])
    FrictionDuty.objects.create(organisation=world.people.acme, label="privacy", member=auditor)
    assert waiting(world.client("auditor")) == [privacy]


def test_declining_needs_a_reason_and_is_no_refusal_of_the_act(world: World) -> None:
    advice = world.ask().json()
    client = world.client("operator")
    short = answer(client, advice, 2, "declined", "No.")
    assert (short.status_code, b"explanation_too_short" in short.content) == (400, True)
    assert b">No.</textarea>" in short.content
    answer(client, advice, 2, "declined", "Staging has no such invoices to rehearse with.")
    assert waiting(client) == [1, 3]
    [told] = world.get(f"advice/{advice['id']}/").json()["outcomes"]
    assert (told["outcome"], told["note"]) == ("skipped", "Staging has no such invoices to rehearse with.")
    assert world.decide({"advice_id": advice["id"], "level": "high", "bypassed": False})


def test_a_comment_is_on_the_log_and_leaves_the_step_waiting(world: World) -> None:
    advice = world.ask().json()
    client = world.client("operator")
    answer(client, advice, 3, "comment", "Which invoice is it, please?")
    assert waiting(client) == [1, 2, 3]
    [noted] = world.statements("ecp.annotation/1")
    assert (noted["kind"], noted["target"]) == ("note", advice["id"])
    told = world.get(f"advice/{advice['id']}/?wait=30&seen=0").json()  # the agent that waits hears of it
    assert told["changes"] == 1
    [comment] = told["comments"]
    assert (comment["n"], comment["text"]) == (3, "Which invoice is it, please?")


def test_a_bypass_and_an_undeclared_bypass_take_steps_out_of_the_queue(world: World) -> None:
    first, second = world.ask().json(), world.ask().json()
    client = world.client("operator")
    reason = {"reason_code": "time_critical", "reason_text": "Cut-off at the bank is in four minutes."}
    world.post(f"advice/{first['id']}/bypass/", {"steps": [1, 3]} | reason)
    assert waiting(client) == [2, 1, 2, 3]
    world.decide({"advice_id": second["id"], "level": "high", "bypassed": False})
    world.reconcile()
    assert waiting(client) == [2]


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({}, b"step_unknown"),
        ({"n": "99", "answer": "done"}, b"step_unknown"),
        ({"n": "1", "answer": "approve"}, b"bad_value"),
        ({"n": "1", "answer": "done", "evidence_url": "javascript:alert(1)"}, b"bad_value"),
        ({"n": "1", "answer": "done", "note": "x" * 2_001}, b"bad_value"),
    ],
)
def test_what_cannot_be_taken_comes_back_with_its_reason(
    world: World, form: dict[str, str], code: bytes
) -> None:
    advice = world.ask().json()
    refused = world.client("operator").post(page_of(advice), form)
    assert refused.status_code == 400
    assert code in refused.content
    assert world.statements("ecp.annotation/1") == []


# --- time


def later(world: World, **span: float) -> int:
    """A turn of the reminders when the steps have waited this long; the log's own clock is not moved."""
    for wait in FrictionWait.objects.select_related("advice"):
        back = timedelta(**span) - (wait.advice.evaluated_at - wait.opened_at)
        FrictionWait.objects.filter(pk=wait.pk).update(
            opened_at=wait.opened_at - back, due_at=wait.due_at - back, next_at=wait.next_at - back
        )
    return remind(log=world.people.log, now=utc_now())


def notices() -> list[tuple[str, str, str]]:
    rows = FrictionNotice.objects.order_by("created_at", "target_name")
    return [(row.target_name, row.occasion, row.state) for row in rows]


def test_reminders_go_at_half_time_and_at_the_deadline_then_the_step_expires(world: World) -> None:
    NotificationTarget.objects.create(
        organisation=world.people.acme, name="operator", kind=TargetKind.MAIL, address="desk@acme.example"
    )
    advice = world.ask().json()
    told = [row for row in notices() if row[0] == "operator"]
    assert (later(world, hours=11), told) == (0, [])
    assert later(world, hours=13) == 3
    assert later(world, hours=14) == 0
    of_role = FrictionNotice.objects.filter(target_name="operator")
    assert sorted(of_role.values_list("n", "occasion")) == [(1, "half"), (2, "half"), (3, "half")]
    assert later(world, hours=25) == 3
    assert of_role.filter(occasion="deadline").count() == 3
    assert waiting(world.client("operator")) == []
    outcomes = world.get(f"advice/{advice['id']}/").json()["outcomes"]
    assert {(one["outcome"], one["actor"]) for one in outcomes} == {("expired", "system:friction")}
    assert later(world, days=9) == 0


def test_nobody_is_told_under_a_standing_bypass(world: World) -> None:
    world.post(
        "standing-bypasses/",
        {
            "reason_text": "The whole team is watching.",
            "expires_at": (utc_now() + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        },
        "operator",
    )
    row = FrictionAdvice.objects.get(pk=world.ask().json()["id"])
    assert row.standing_id is not None
    later(world, hours=25)
    assert notices() == []
    assert not FrictionWait.objects.filter(closed_at__isnull=True).exists()


def test_whoever_asked_does_not_answer(world: World) -> None:
    answered = world.post("advice/", {"proposal": DF1}, "operator").json()
    asked = FrictionAdvice.objects.get(pk=UUID(answered["id"]))
    assert asked.actor.startswith("staff:")
    assert waiting(world.client("operator")) == []
    assert waiting(second_operator(world)) == [1, 2, 3]
