"""Observer mode over decisions that nobody asked about, the switch, long polls, and links that do not hold."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections
from django.urls import reverse

from advisory.friction.models import FrictionAdvice, FrictionInvalidLink
from advisory.friction.services import observing
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.ids import new_uuid7
from ledger.api import base
from ledger.models import EntrySearch
from tests.advisory.friction.app.test_commands import run
from tests.advisory.friction.world import DF1, activate

if TYPE_CHECKING:
    from tests.advisory.friction.world import World

pytestmark = pytest.mark.db

WHY = "The first weeks are for looking on."


def observed(world: World) -> list[FrictionAdvice]:
    while observing.observe(log=world.people.log, now=utc_now()):
        pass
    return list(FrictionAdvice.objects.order_by("pk"))


# --- the mode


def test_an_admin_switches_the_mode_and_the_log_tells(world: World) -> None:
    assert world.get("mode/", "viewer").json() == {"mode": "friction", "since": None, "actor": None}
    switched = world.post("mode/", {"to": "observer", "reason": WHY}, "admin")
    assert (switched.status_code, switched.json()["mode"]) == (200, "observer")
    [stmt] = [stmt for stmt in world.statements("ecp.mode/1") if stmt["dimension"] == "advisory"]
    assert (stmt["from"], stmt["to"], stmt["reason"]) == ("friction", "observer", WHY)
    assert world.ask().json()["level"] is None
    for body, refused in (
        ({"to": "observer", "reason": WHY}, (409, "state_invalid")), ({"to": "off", "reason": WHY}, (400, "value_invalid")),
        ({"to": "friction", "reason": "short"}, (400, "bad_value")), ({"to": "friction"}, (400, "missing_field")),
    ):  # fmt: skip
        answer = world.post("mode/", body, "admin")
        assert (answer.status_code, answer.json()["code"]) == refused, body


def test_the_command_shows_and_switches_it(world: World) -> None:
    assert run("friction_mode", "--log", "acme") == (0, "acme: friction\n")
    code, told = run("friction_mode", "observer", "--reason", WHY, "--log", "acme", "--json")
    assert (code, '"mode": "observer"' in told) == (0, True)
    assert " by system:shell" in run("friction_mode", "--log", "acme")[1]
    assert run("friction_mode", "friction", "--log", "acme")[0] == 1
    assert run("friction_mode", "observer", "--reason", WHY, "--log", "acme")[0] == 1
    assert world.get("mode/", "viewer").json()["actor"] == "system:shell"


# --- decisions that nobody asked about


def test_in_observer_mode_a_decision_without_advice_is_judged_for_staff_alone(world: World) -> None:
    world.decide()  # before: nobody looks back at it
    assert observed(world) == []
    world.post("mode/", {"to": "observer", "reason": WHY}, "admin")
    decision = world.decide()
    [row] = observed(world)
    assert observed(world) == [row]
    assert (row.mode, row.level, str(row.decision_id), row.actor) == (
        "observer", "high", decision, "system:friction",
    )  # fmt: skip
    [stmt] = world.statements("ecp.friction.advice/1")
    assert (stmt["mode"], stmt["level"], stmt["id"], "sealed" in stmt) == (
        "observer",
        "high",
        str(row.pk),
        False,
    )
    # Outside the hours of work one more applies.
    assert [one["rule"] for one in stmt["fired"]][:2] == ["PAY-100", "OPS-100"]
    staff = world.get(f"advice/{row.pk}/", "viewer").json()
    assert (staff["level"], staff["decision"]["id"]) == ("high", decision)
    assert world.get(f"advice/{row.pk}/").json()["level"] is None
    assert world.statements("ecp.friction.bypass/1") == []


def test_what_is_stored_of_it_quotes_nothing_private(world: World) -> None:
    world.post("mode/", {"to": "observer", "reason": WHY}, "admin")
    world.decide()
    [row] = observed(world)
    kept = f"{row.facts} {row.result} {row.proposal} {world.statements('ecp.friction.advice/1')}"
    for private in ("2500000", "EUR", "invoice"):
        assert private not in kept, private
    assert {fact["state"] for fact in row.facts if fact["from"].startswith("body:/context/")} == {"present"}


def test_a_decision_that_names_its_advice_is_not_judged_again(world: World) -> None:
    world.post("mode/", {"to": "observer", "reason": WHY}, "admin")
    advice = world.ask().json()["id"]
    world.decide(refs=[{"rel": "advice", "id": advice}])
    assert [str(row.pk) for row in observed(world)] == [advice]


def test_two_observers_at_once_store_an_evaluation_once(world: World) -> None:
    world.post("mode/", {"to": "observer", "reason": WHY}, "admin")
    world.decide()
    barrier = threading.Barrier(2)

    def look() -> None:
        barrier.wait()
        observing.observe(log=world.people.log, now=utc_now())
        connections.close_all()

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(observed(world)) == 1


def test_without_rules_nothing_is_judged(bare_world: World) -> None:
    bare_world.post("mode/", {"to": "observer", "reason": WHY}, "admin")
    bare_world.decide()
    assert observed(bare_world) == []
    activate(bare_world.people)
    bare_world.decide()
    assert len(observed(bare_world)) == 1


# --- long polls


def test_a_wait_ends_at_once_when_a_person_acts(world: World) -> None:
    advice = world.ask().json()
    found: list[dict[str, Any]] = []

    def wait() -> None:
        found.append(world.get(f"advice/{advice['id']}/?wait=20&seen=0").json())
        connections.close_all()

    waiter = threading.Thread(target=wait)
    started = time.monotonic()
    waiter.start()
    world.post(f"advice/{advice['id']}/steps/3/outcome/", {"outcome": "completed"}, "operator")
    waiter.join()
    assert time.monotonic() - started < 10
    assert (found[0]["changes"], found[0]["outcomes"][0]["outcome"]) == (1, "completed")


def test_a_wait_without_a_change_ends_and_a_missed_one_is_told_at_once(world: World) -> None:
    advice = world.ask().json()["id"]
    assert world.get(f"advice/{advice}/?wait=1").json()["changes"] == 0
    world.post(f"advice/{advice}/steps/1/outcome/", {"outcome": "completed"})
    started = time.monotonic()
    assert world.get(f"advice/{advice}/?wait=30&seen=0").json()["changes"] == 1
    assert time.monotonic() - started < 5
    for bad in ("wait=31", "wait=x", "seen=-1", "wait=1&more=1"):
        assert world.get(f"advice/{advice}/?{bad}").status_code == 400, bad
    assert world.get(f"advice/{new_uuid7(utc_now())}/?wait=30").status_code == 404


def test_beyond_a_quarter_of_the_threads_nobody_waits(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    advice = world.ask().json()["id"]
    taken = threading.BoundedSemaphore(1)
    assert taken.acquire(blocking=False)
    monkeypatch.setattr("advisory.friction.api.views.waiting", taken)
    answer = world.get(f"advice/{advice}/?wait=30")
    assert (answer.status_code, answer.headers["Retry-After"]) == (200, "1")
    assert base.waiting is not taken


# --- links that do not hold


def test_a_link_that_does_not_hold_is_marked_and_the_decision_stands(world: World) -> None:
    advice = world.ask().json()["id"]
    said = {"level": "high", "bypassed": False}
    first = world.decide(said | {"advice_id": advice})
    second = world.decide(said | {"advice_id": advice})
    foreign = world.ask(DF1 | {"agent": "refund-bot"}, world.colleague).json()["id"]
    third = world.decide(said | {"advice_id": foreign})
    world.reconcile()
    world.reconcile()
    faults = {str(row.decision_id): row.fault for row in FrictionInvalidLink.objects.all()}
    assert faults == {second: "taken", third: "unknown"}
    told = world.get(f"advice/{advice}/", "viewer").json()
    assert told["invalid_links"] == [{"decision_id": second, "fault": "taken"}]
    assert EntrySearch.objects.filter(entry__uid__in=[second, third]).count() == 2
    page = world.client("viewer").get(reverse("admin:record", args=[third]), follow=True)
    assert page.status_code == 200
    assert "the link does not hold" in page.content.decode()
    sound = world.client("viewer").get(reverse("admin:record", args=[first]), follow=True)
    assert "the link does not hold" not in sound.content.decode()
