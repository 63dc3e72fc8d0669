"""POST and GET of advice: who is told what, what is stored, how bad requests are refused."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client

from advisory.friction.core.calculator import input_sha256
from advisory.friction.models import AdvisoryMode, DryRunCount, FrictionAdvice, VersionState
from advisory.friction.services.advising import advice_give
from advisory.friction.services.rulesets import advisory_mode_switch, shadows_retire
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.ids import new_uuid7
from ledger.api.authentication import KeyPrincipal
from ledger.core.decision import DecisionRecord
from ledger.core.sealing import commitment
from ledger.models import Entry
from ledger.services.operations import mode_switch
from ledger.services.sealing import open_parts
from tests.advisory.friction.rulefile import HEAD, rule, rulefile
from tests.advisory.friction.world import BASE, DF1, SHIPPED, activate

if TYPE_CHECKING:
    from tests.advisory.friction.world import World

pytestmark = pytest.mark.db

REASON = "agreed in the risk meeting"


def refusal(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_the_answer_is_advice_with_its_reasons_and_an_entry(world: World) -> None:
    answer = world.ask()
    assert answer.status_code == 201
    advice = answer.json()
    assert advice["ruleset"] == {
        "id": "ecp-default",
        "version": 1,
        "hash": "sha256:c77167975813340a0abba1ace799c0a3bd88d668cf3b50cf2e1cfea1dd58dff2",
    }
    assert advice["input_sha256"] == "sha256:cbdf198d636817c4ee97e0df24519e4885743b7beebe66e2db2e62d4605fa111"
    assert advice["fired"][0]["reason"] == "Moves 2500000 EUR (minor units), at or above 1000000."
    assert advice["explanation"].startswith("Suggested friction: HIGH")
    assert advice["links"] == {"bypass": f"{BASE}advice/{advice['id']}/bypass/"}
    entry = Entry.objects.get(log=world.people.log, uid=advice["id"])
    assert (entry.kind, entry.seq) == ("ecp.friction.advice/1", advice["entry"]["seq"])


def test_no_private_value_stands_in_the_public_statement(world: World) -> None:
    advice = world.ask().json()
    [stmt] = world.statements("ecp.friction.advice/1")
    told = json.dumps(stmt)
    for private in ("2500000", "EUR", "prod", advice["input_sha256"], "invoice"):
        assert private not in told, private
    by_field = {fact["field"]: fact for fact in stmt["facts"]}
    assert by_field["amount_minor"] == {
        "field": "amount_minor", "from": "body:/context/amount_minor", "state": "present",
    }  # fmt: skip
    assert by_field["action"]["value"] == "payment.transfer"
    assert by_field["agent.age_days"]["state"] == "missing"
    assert by_field["agent.age_days"]["log"] == world.people.log.origin


def test_the_sealed_part_opens_to_the_values_that_it_was_committed_to(world: World) -> None:
    advice = world.ask().json()
    [stmt] = world.statements("ecp.friction.advice/1")
    row = FrictionAdvice.objects.get(pk=advice["id"])
    log = world.people.log
    [part] = open_parts(log_id=log.id, origin=log.origin, uid=row.pk)
    [sealed] = stmt["sealed"]
    assert commitment(part.r, advice["id"], part.ptr, part.value_jcs) == sealed["c"]
    opened = json.loads(part.value_jcs)
    assert opened["input_sha256"] == advice["input_sha256"]
    assert {fact["field"]: fact["value"] for fact in opened["facts"]}["amount_minor"] == 2500000


def test_without_rules_the_answer_is_low_and_says_so(bare_world: World) -> None:
    advice = bare_world.ask().json()
    assert (advice["level"], advice["score"], advice["ruleset"]) == ("low", 0, None)
    assert advice["note"] == "no_active_ruleset"
    [stmt] = bare_world.statements("ecp.friction.advice/1")
    assert "ruleset" not in stmt


@pytest.mark.parametrize("level", ["low", "medium", "high"])
def test_no_level_ever_refuses_an_act(bare_world: World, level: str) -> None:
    activate(bare_world.people, rulefile(rule("{field: t, op: missing}", more=f"floor: {level}")).encode())
    answer = bare_world.ask()
    assert (answer.status_code, answer.json()["level"], answer.json()["blocking"]) == (201, level, False)


def test_a_repeat_with_the_same_key_gives_the_first_answer(world: World) -> None:
    key = new_uuid7(utc_now())
    first = world.ask(HTTP_IDEMPOTENCY_KEY=key)
    again = world.ask(HTTP_IDEMPOTENCY_KEY=f'"{key}"')
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert first.json()["id"] == key
    assert again.headers["Idempotency-Replayed"] == "true"
    other = world.ask(DF1 | {"action": "email.send"}, HTTP_IDEMPOTENCY_KEY=key)
    assert refusal(other) == (409, "id_reused")
    assert len(world.statements("ecp.friction.advice/1")) == 1


def test_a_key_that_names_another_entry_is_refused(world: World) -> None:
    assert refusal(world.ask(HTTP_IDEMPOTENCY_KEY=world.decide())) == (409, "id_reused")
    assert FrictionAdvice.objects.count() == 0


def test_the_same_question_again_is_marked(world: World) -> None:
    first, again = world.ask().json(), world.ask().json()
    assert "repeat_of" not in first
    assert again["repeat_of"] == first["id"]
    assert str(FrictionAdvice.objects.get(pk=again["id"]).repeat_of_id) == first["id"]
    other = world.ask(DF1 | {"action": "email.send"}, members={"previous_advice_id": first["id"]}).json()
    assert "repeat_of" not in other
    assert other["previous_advice_id"] == first["id"]


def test_after_a_day_a_question_is_a_new_one(world: World) -> None:
    first = world.ask().json()
    row = FrictionAdvice.objects.get(pk=first["id"])
    FrictionAdvice.objects.update(evaluated_at=row.evaluated_at - timedelta(hours=24, seconds=1))
    assert "repeat_of" not in world.ask().json()


def test_a_dry_run_stores_nothing_and_is_counted(world: World) -> None:
    answers = [world.post("advice/?dry_run=1", {"proposal": DF1}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    told = answers[0].json()
    assert (told["level"], told["dry_run"]) == ("high", True)
    assert "id" not in told
    assert FrictionAdvice.objects.count() == 0
    assert world.statements("ecp.friction.advice/1") == []
    assert list(DryRunCount.objects.values_list("agent", "count")) == [("pay-agent-3", 2)]
    assert world.post("advice/?dry_run=1", {"proposal": DF1}, "operator").status_code == 200
    assert DryRunCount.objects.get().count == 2


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in DF1.items() if key != name}


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        (b"{", (400, "malformed_json")),
        (b'{"proposal": {}, "proposal": {}}', (400, "duplicate_key")),
        (b'{"proposal": ' + b'{"a":' * 20 + b"1" + b"}" * 20 + b"}", (400, "too_deep")),
        (b'{"proposal": "' + b"x" * 70_000 + b'"}', (413, "body_too_large")),
        ({}, (400, "missing_field")),
        ({"proposal": DF1, "more": 1}, (400, "unknown_field")),
        ({"proposal": [1]}, (400, "wrong_type")),
        ({"proposal": without("action")}, (400, "missing_field")),
        ({"proposal": DF1 | {"colour": "red"}}, (400, "unknown_field")),
        ({"proposal": DF1 | {"action": "No Action"}}, (400, "bad_value")),
        ({"proposal": DF1 | {"explanation": "short"}}, (400, "explanation_too_short")),
        ({"proposal": DF1 | {"risk": 1.5}}, (400, "wrong_type")),
        ({"proposal": DF1 | {"context": []}}, (400, "wrong_type")),
        ({"proposal": DF1 | {"explanation": "e\u0301" * 20}}, (400, "text_not_nfc")),
        ({"proposal": DF1, "previous_advice_id": "x"}, (400, "bad_value")),
        ({"proposal": DF1, "previous_advice_id": "019b0a2c-4e00-7000-8000-00000000dead"}, (404, "not_found")),
        ({"proposal": DF1 | {"agent": "refund-bot"}}, (403, "agent_not_allowed")),
        ({"proposal": DF1 | {"agent": "nobody"}}, (403, "agent_not_allowed")),
    ],
)  # fmt: skip
def test_a_bad_request_is_refused_like_a_decision(world: World, body: Any, refused: tuple[int, str]) -> None:
    assert refusal(world.post("advice/", body)) == refused
    assert FrictionAdvice.objects.count() == 0


def test_faults_of_the_proposal_point_into_it(world: World) -> None:
    answer = world.ask(DF1 | {"action": "No Action"})
    assert answer.json()["pointer"] == "/proposal/action"


@pytest.mark.parametrize(
    ("path", "headers"),
    [("advice/?dry_run=yes", {}), ("advice/?x=1", {}), ("advice/", {"HTTP_IDEMPOTENCY_KEY": "not-a-uuid"})],
)
def test_other_faults_of_the_request(world: World, path: str, headers: dict[str, str]) -> None:
    assert world.post(path, {"proposal": DF1}, **headers).status_code == 400


def test_in_halt_advice_is_refused_and_a_dry_run_is_not(world: World) -> None:
    mode_switch(
        log=world.people.log, to="halt", reason="a drill of the team", actor="system:shell", now=utc_now()
    )
    assert refusal(world.ask()) == (503, "ledger_halted")
    assert FrictionAdvice.objects.count() == 0
    assert world.post("advice/?dry_run=1", {"proposal": DF1}).status_code == 200


# --- reading


def test_agents_read_their_own_and_staff_all(world: World) -> None:
    mine = world.ask().json()["id"]
    other = world.ask(DF1 | {"agent": "refund-bot"}, world.colleague).json()["id"]
    for caller, seen in (
        (None, [mine]),
        (world.colleague, [other]),
        ("viewer", [other, mine]),
        (world.stranger, []),
    ):
        assert [row["id"] for row in world.get("advice/", caller).json()["results"]] == seen
    for caller in (world.colleague, world.stranger, "stranger"):
        assert refusal(world.get(f"advice/{mine}/", caller)) == (404, "not_found")
    assert "trace" not in world.get(f"advice/{mine}/").json()
    told = world.get(f"advice/{mine}/", "viewer").json()
    assert {"trace", "facts"} <= set(told)
    assert told["trace"][0]["leaves"][0]["result"] is True  # of the action, which is public


def test_lists_are_filtered_and_paged(world: World) -> None:
    high = [
        world.ask(DF1 | {"explanation": f"Pay supplier invoice number {n}."}).json()["id"] for n in range(3)
    ]
    low = world.ask(DF1 | {"action": "note.write", "context": {"environment": "dev", "reversible": True,
                    "affected_people": 1, "data_classes": [], "confidence_pct": 90}}).json()["id"]  # fmt: skip
    first = world.get("advice/?level=high&page_size=2", "viewer").json()
    second = world.get(f"advice/?level=high&page_size=2&cursor={first['next']}", "viewer").json()
    assert [row["id"] for row in first["results"] + second["results"]] == high[::-1]
    assert second["next"] is None
    assert [row["id"] for row in world.get("advice/?level=low", "viewer").json()["results"]] == [low]
    assert world.get("advice/?bypassed=true", "viewer").json()["results"] == []
    assert len(world.get("advice/?bypassed=false&agent=pay-agent-3", "viewer").json()["results"]) == 4
    assert world.get("advice/?since=2099-01-01", "viewer").json()["results"] == []
    for bad in ("level=top", "bypassed=1", "since=soon", "cursor=x", "page_size=0", "x=1"):
        assert world.get(f"advice/?{bad}", "viewer").status_code == 400, bad
    assert world.get(f"advice/?level=low&cursor={first['next']}", "viewer").status_code == 400


# --- modes


def test_an_observed_agent_is_told_nothing_and_staff_see_it_all(world: World) -> None:
    advisory_mode_switch(
        log=world.people.log, to=AdvisoryMode.OBSERVER, reason=REASON, actor="system:shell", now=utc_now()
    )
    advice = world.ask().json()
    assert (advice["mode"], advice["level"], advice["steps"], advice["fired"]) == ("observer", None, [], [])
    assert advice["explanation"] == "observer mode: nothing is suggested"
    told = json.dumps(world.get(f"advice/{advice['id']}/").json()) + json.dumps(world.get("advice/").json())
    assert "PAY-100" not in told
    assert world.get("advice/?level=high").json()["results"] == []
    assert world.get(f"advice/{advice['id']}/", "viewer").json()["level"] == "high"
    world.decide(refs=[{"rel": "advice", "id": advice["id"]}])
    world.reconcile()
    assert world.statements("ecp.friction.bypass/1") == []
    assert "decision" in world.get(f"advice/{advice['id']}/", "viewer").json()
    [stmt] = world.statements("ecp.mode/1")
    assert (stmt["dimension"], stmt["from"], stmt["to"]) == ("advisory", "friction", "observer")


def test_a_shadow_is_evaluated_beside_and_shown_to_people_only(world: World) -> None:
    trial = rulefile(rule("{field: t, op: missing}", points=1), head=HEAD.replace("id: tiny", "id: trial"))
    version = activate(world.people, trial.encode(), VersionState.SHADOW)
    advice = world.ask().json()
    assert advice["ruleset"]["id"] == "ecp-default"
    modes = [stmt["mode"] for stmt in world.statements("ecp.friction.advice/1")]
    assert modes == ["active", "shadow"]
    assert len(world.get("advice/").json()["results"]) == 1
    shown = world.get("advice/", "viewer").json()["results"]
    assert {row["mode"] for row in shown} == {"friction", "shadow"}
    hidden = next(row["id"] for row in shown if row["mode"] == "shadow")
    assert refusal(world.get(f"advice/{hidden}/")) == (404, "not_found")
    for least, ended in ((timedelta(days=14), 0), (timedelta(0), 1)):
        assert shadows_retire(log=world.people.log, older_than=least, now=utc_now()) == ended
    assert version.state == "shadow"
    assert world.statements("ecp.friction.ruleset/1")[-1]["to_state"] == "retired"


def test_rules_in_force_later_leave_the_former_ones_in_force_until_then(world: World) -> None:
    later = SHIPPED.replace(b"version: 1", b"version: 2").replace(b'"2026-01-01T', b'"2099-01-01T')
    activate(world.people, later)
    assert world.ask().json()["ruleset"]["version"] == 1


def test_an_advice_too_long_for_a_statement_is_detached(bare_world: World) -> None:
    names = [f"field_{'x' * 50}_{n}" for n in range(190)]
    fired = [rule("{field: t, op: missing}", name=f"AA-{1000 + n}", points=1) for n in range(490)]
    readers = [
        rule("{any: [" + ", ".join(f"{{field: {name}, op: exists}}" for name in names[start : start + 50]) + "]}",
             name=f"BB-{100 + start}")
        for start in range(0, 190, 50)
    ]  # fmt: skip
    fields = "fields:\n" + "".join(f"  {name}: {{type: string}}\n" for name in [*names, "t", "n"])
    activate(bare_world.people, rulefile(*fired, *readers, fields=fields).encode())
    advice = bare_world.ask()
    assert advice.status_code == 201, advice.content
    assert len(advice.json()["fired"]) == 490
    [stmt] = bare_world.statements("ecp.friction.advice/1")
    assert stmt["detached"] is True
    assert "fired" not in stmt
    public = [{name: one[name] for name in ("rule", "points", "via")} for one in advice.json()["fired"]]
    assert stmt["fired_sha256"] == input_sha256({"fired": public})


def test_nothing_is_stored_when_the_entry_cannot_be(world: World) -> None:
    """The row and its entry come together: a record that names a foreign agent leaves neither."""
    record = DecisionRecord.from_document(DF1)
    principal = KeyPrincipal(
        kind="agent", organisation_id=world.people.acme.id, agent_slug="refund-bot", agent_status="active"
    )
    with pytest.raises(Exception, match="agent_not_allowed"):
        advice_give(log=world.people.log, record=record, proposal=DF1, principal=principal, actor="agent:refund-bot",
                    key=None, previous=None, now=utc_now())  # fmt: skip
    assert FrictionAdvice.objects.count() == 0


def test_a_browser_is_not_told_what_a_context_holds_as_markup(world: World) -> None:
    evil = "<script>alert(1)</script>"
    answer = world.ask(DF1 | {"context": DF1["context"] | {"currency": evil}})
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json()["fired"][0]["reason"].count(evil) == 1
    assert Client().get(f"{BASE}advice/").status_code == 401
