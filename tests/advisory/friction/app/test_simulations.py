"""Simulations: asked for, run in the background, stopped, and the same bytes for the same question."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from advisory.friction.models import FrictionAdvice, FrictionSimulation
from advisory.friction.selectors import recorded
from advisory.friction.selectors.recorded import RecordedFilter
from advisory.friction.services import replaying
from advisory.friction.services.replaying import simulation_step
from ecp_project.kernel.clock import utc_now
from ledger.models import ErasureBasis
from ledger.selectors.entries import OrgScope
from ledger.services.erasure import erase_decision
from tests.advisory.friction.app.test_commands import run
from tests.advisory.friction.world import DF1, SHIPPED

if TYPE_CHECKING:
    from pathlib import Path

    from tests.advisory.friction.world import World

pytestmark = pytest.mark.db

LENIENT = SHIPPED.replace(b"value: 1000000}", b"value: 9000000}").replace(b"version: 1\n", b"version: 2\n")
# One more fact of the proposal, which nobody recorded when only the shipped rules were asked.
CURIOUS = (
    SHIPPED.replace(b"  currency:  ", b"  urgency: {type: string}\n  currency:  ")
    .replace(b"{field: action, op: glob", b"{field: urgency, op: eq, value: low}, {field: action, op: glob")
    .replace(b"version: 1\n", b"version: 3\n")
)


def refusal(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def simulated(world: World, body: dict[str, Any]) -> dict[str, Any]:
    queued = world.post("simulations/", body, "operator")
    assert queued.status_code == 202, queued.content
    assert queued.json()["state"] == "queued"
    assert simulation_step(clock=utc_now)
    found: dict[str, Any] = world.get(f"simulations/{queued.json()['id']}/", "operator").json()
    assert found["state"] == "complete", found
    return found


def candidate(source: bytes = LENIENT, **members: Any) -> dict[str, Any]:
    return {"source_yaml": source.decode()} | members


def test_a_stricter_past_is_seen_beside_how_much_of_it_is_known(world: World) -> None:
    for n in range(3):
        world.ask(DF1 | {"explanation": f"Pay supplier invoice number {n}."})
    found = simulated(world, candidate())
    result = found["result"]
    assert (found["done"], found["against"]) == (3, "recorded")
    assert (result["replayable"], result["changed"], result["matrix"]["high"]["medium"]) == (3, 3, 3)
    assert result["rules"]["PAY-100"] == {"old": 3, "new": 0}
    assert result["delay_minutes"] == {"old": 45, "new": 0}
    assert [example["new"] for example in result["examples"]] == ["medium"] * 3
    assert (list(result["old_hashes"].values()), result["new_hash"]) == ([3], found["new_hash"])
    assert simulation_step(clock=utc_now) is False


def test_the_same_question_gives_the_same_bytes_here_and_on_the_command_line(
    world: World, tmp_path: Path
) -> None:
    world.ask()
    file = tmp_path / "lenient.yml"
    file.write_bytes(LENIENT)
    first, second = (simulated(world, candidate())["result"] for _ in range(2))
    assert json.dumps(first) == json.dumps(second)
    assert json.loads(run("friction_replay", str(file), "--json", "--log", "acme")[1]) == first


def test_a_stored_version_is_compared_with_an_older_one(world: World) -> None:
    world.ask()
    assert world.post("rulesets/", LENIENT, "operator", content_type="application/yaml").status_code == 201
    found = simulated(world, {"ruleset": "ecp-default", "version": 1, "against": 2})
    assert found["against"]["version"] == 2
    assert found["result"]["matrix"]["medium"]["high"] == 1
    assert list(found["result"]["old_hashes"]) == [found["against"]["hash"]]


def test_range_number_and_filters_choose_the_advice(world: World) -> None:
    for action in ("payment.transfer", "payment.transfer", "note.write"):
        world.ask(DF1 | {"action": action})
    world.ask(DF1 | {"agent": "refund-bot"}, world.colleague)
    old = FrictionAdvice.objects.order_by("evaluated_at").first()
    assert old is not None
    FrictionAdvice.objects.filter(pk=old.pk).update(evaluated_at=utc_now() - timedelta(days=3))
    day = (utc_now() - timedelta(days=1)).isoformat()
    for members, total in (
        ({}, 4), ({"last_n": 2}, 2), ({"from": day}, 3), ({"to": day}, 1),
        ({"filters": {"action": "note.write"}}, 1), ({"filters": {"agent": "refund-bot"}}, 1),
        ({"filters": {"level": "low"}}, 0),
    ):  # fmt: skip
        assert simulated(world, candidate(LENIENT, **members))["result"]["total"] == total, members


def test_a_fact_that_nobody_recorded_is_read_from_the_decision_or_unknown(world: World) -> None:
    """`erased` reads nothing any more, `alone` was never decided: both are only in part known."""
    told, erased, _alone = (
        world.ask(DF1 | {"explanation": f"Pay supplier invoice number {n}."}).json()["id"] for n in range(3)
    )
    context = DF1["context"] | {"urgency": "low"}
    _, decision = (
        world.decide({"advice_id": advice, "level": "high", "bypassed": False}, context=context)
        for advice in (told, erased)
    )
    world.reconcile()
    erase_decision(
        log=world.people.log, uid=UUID(decision), basis=ErasureBasis.LEGAL_ORDER.value, actor="system:shell",
        now=utc_now(),
    )  # fmt: skip
    result = simulated(world, candidate(CURIOUS))["result"]
    assert (result["replayable"], result["partially_replayable"], result["not_replayable"]) == (1, 2, 0)
    assert result["rules"]["PAY-100"]["new"] == 3  # known to be low, or fires because it is not known


def test_what_was_erased_is_counted_as_not_replayable(world: World) -> None:
    advice = world.ask().json()["id"]
    erase_decision(
        log=world.people.log, uid=UUID(advice), basis=ErasureBasis.LEGAL_ORDER.value, actor="system:shell",
        now=utc_now(),
    )  # fmt: skip
    world.reconcile()
    result = simulated(world, candidate())["result"]
    assert (result["total"], result["not_replayable"], result["changed"]) == (1, 1, 0)


@pytest.mark.parametrize(
    ("body", "refused"),
    [
        ({}, (400, "bad_value")), ({"ruleset": "ecp-default"}, (400, "bad_value")),
        ({"ruleset": "ecp-default", "version": 9}, (404, "not_found")),
        ({"ruleset": "ecp-default", "version": 1, "source_yaml": "x"}, (400, "bad_value")),
        ({"source_yaml": 5}, (400, "wrong_type")), ({"source_yaml": "x"}, (400, "ruleset_invalid")),
        (candidate(last_n=0), (400, "bad_value")), (candidate(last_n=100_001), (400, "bad_value")),
        (candidate(last_n="9"), (400, "bad_value")), (candidate(against="then"), (400, "bad_value")),
        (candidate(against=7), (404, "not_found")), (candidate(filters=[]), (400, "wrong_type")),
        (candidate(filters={"rule": "x"}), (400, "unknown_field")),
        (candidate(filters={"level": "extreme"}), (400, "value_invalid")),
        (candidate() | {"from": "yesterday"}, (400, "bad_value")), (candidate(more=1), (400, "unknown_field")),
    ],
)  # fmt: skip
def test_a_bad_question_is_refused(world: World, body: dict[str, Any], refused: tuple[int, str]) -> None:
    assert refusal(world.post("simulations/", body, "operator")) == refused
    assert not FrictionSimulation.objects.exists()


def test_five_at_a_time_and_each_can_be_stopped(world: World) -> None:
    ids = [world.post("simulations/", candidate(), "operator").json()["id"] for _ in range(5)]
    assert refusal(world.post("simulations/", candidate(), "operator")) == (409, "state_invalid")
    stopped = world.client("operator").delete(f"/api/v1/friction/simulations/{ids[0]}/")
    assert (stopped.status_code, stopped.json()["state"]) == (200, "cancelled")
    assert world.post("simulations/", candidate(), "operator").status_code == 202
    page = world.get("simulations/?page_size=4", "operator").json()
    assert (len(page["results"]), page["results"][-1]["state"]) == (4, "queued")
    rest = world.get(f"simulations/?page_size=4&cursor={page['next']}", "operator").json()
    assert [row["id"] for row in rest["results"]] == [ids[1], ids[0]]


def test_a_running_one_hears_that_it_is_stopped(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replaying, "TELL_EVERY", 1)
    monkeypatch.setattr(replaying, "MOVE_EVERY", 1)
    for _ in range(3):
        world.ask()
    uid = world.post("simulations/", candidate(), "operator").json()["id"]
    told: list[int] = []

    def clock() -> Any:
        told.append(FrictionSimulation.objects.get(pk=uid).done)
        if len(told) == 3:
            world.client("operator").delete(f"/api/v1/friction/simulations/{uid}/")
        return utc_now()

    assert simulation_step(clock=clock)
    row = FrictionSimulation.objects.get(pk=uid)
    assert (row.state, row.result, row.done) == ("cancelled", None, 1)


def test_what_a_lost_worker_has_left_is_begun_anew(world: World) -> None:
    world.ask()
    uid = world.post("simulations/", candidate(), "operator").json()["id"]
    rows = FrictionSimulation.objects.filter(pk=uid)
    rows.update(state="running", done=400)
    assert simulation_step(clock=utc_now) is False  # somebody is at it
    rows.update(moved_at=utc_now() - timedelta(minutes=3))
    assert simulation_step(clock=utc_now)
    assert (rows.get().state, rows.get().done) == ("complete", 1)


def test_a_simulation_covers_what_was_advised_before_it_was_asked(world: World) -> None:
    world.ask()
    world.post("simulations/", candidate(), "operator")
    world.ask()
    simulation_step(clock=utc_now)
    result = FrictionSimulation.objects.get().result
    assert result is not None
    assert result["total"] == 1


def test_recorded_advice_is_read_by_the_slice(world: World, django_assert_max_num_queries: Any) -> None:
    for _ in range(4):
        world.ask()
    scope = OrgScope(world.people.log.organisation_id)
    with pytest.MonkeyPatch.context() as patched, django_assert_max_num_queries(3):
        patched.setattr(recorded, "SLICE", 2)
        found = list(recorded.recorded_advice(scope=scope, wanted=RecordedFilter(), decided=_nobody))
    ids = [one.id for one in found]
    assert ids == [str(row.pk) for row in FrictionAdvice.objects.order_by("-evaluated_at", "-pk")]


def _nobody(uid: UUID) -> tuple[dict[str, Any], bool]:
    raise AssertionError(uid)
