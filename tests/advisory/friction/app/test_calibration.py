"""Calibration over recorded advice: by REST and as a page."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client

from advisory.friction.models import FrictionAdvice
from advisory.friction.selectors import calibration
from ecp_project.kernel.clock import utc_now

if TYPE_CHECKING:
    from tests.advisory.friction.world import World

pytestmark = pytest.mark.db

BYPASS = {"steps": "all", "reason_code": "emergency", "reason_text": "The dam would have overflowed."}


def rules(world: World, query: str = "") -> dict[str, dict[str, Any]]:
    answer = world.get(f"calibration/{query}", "auditor")
    assert answer.status_code == 200, answer.content
    return {rule["rule"]: rule for rule in answer.json()["rules"]}


def failed(world: World, uid: str) -> None:
    answer = Client().post(
        f"/api/v1/decisions/{uid}/annotations/",
        json.dumps({"kind": "outcome", "status": "failure", "text": "The payment bounced."}),
        content_type="application/json", **world.agent.headers,
    )  # fmt: skip
    assert answer.status_code == 201, answer.content


def test_what_became_of_advice_is_counted_for_each_rule(world: World) -> None:
    done, bypassed, _ = (world.ask().json()["id"] for _ in range(3))
    world.post(f"advice/{done}/steps/1/outcome/", {"outcome": "completed"})
    told = world.post(f"advice/{bypassed}/bypass/", BYPASS).json()["id"]
    world.post(f"bypasses/{told}/review/", {"verdict": "rule_should_change"}, "auditor")
    decision = world.decide({"advice_id": done, "level": "high", "bypassed": False})
    failed(world, decision)
    world.reconcile()
    found = rules(world)
    pay = found["PAY-100"]
    assert (pay["evaluated"], pay["fired"], pay["undecided"]) == (3, 3, 0)
    assert (pay["bypass_rate"]["count"], pay["bypass_rate"]["of"]) == (2, 3)  # one was not declared
    assert pay["reason_codes"] == {"emergency": 1, "undeclared": 1}
    assert pay["verdicts"] == {"rule_should_change": 1}
    assert (pay["completed"], pay["completed_under_10_s"]["count"]) == (1, 1)
    assert (pay["adverse_when_fired"]["count"], pay["adverse_when_fired"]["of"]) == (1, 1)
    assert (found["DAT-100"]["fired"], found["DAT-100"]["adverse_otherwise"]["of"]) == (0, 1)
    assert found["LIA-100"]["undecided"] == 3
    assert set(rules(world, "?rule=PAY-100")) == {"PAY-100"}


def test_the_period_bounds_what_is_counted(world: World) -> None:
    old = world.ask().json()["id"]
    FrictionAdvice.objects.filter(pk=old).update(evaluated_at=utc_now() - timedelta(days=40))
    world.ask()
    assert rules(world)["PAY-100"]["evaluated"] == 1
    found = rules(world, f"?from={utc_now() - timedelta(days=60):%Y-%m-%d}")
    assert found["PAY-100"]["evaluated"] == 2
    assert found["PAY-100"]["flags"] == ["stale_pending"]
    for bad in ("from=2026-13-01", "from=2026-02-01&to=2026-01-01", "rules=PAY-100"):
        assert world.get(f"calibration/?{bad}", "auditor").status_code == 400, bad


def test_shadows_and_what_observers_kept_are_left_out(world: World) -> None:
    world.ask()
    FrictionAdvice.objects.update(mode="shadow")
    assert rules(world) == {}


def test_slices_join_to_the_same_figures(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        world.ask()
    whole = rules(world)
    monkeypatch.setattr(calibration, "SLICE", 1)
    assert rules(world) == whole
    assert whole["PAY-100"]["evaluated"] == 3


def test_the_page_says_the_same_in_words(world: World) -> None:
    advice = world.ask().json()["id"]
    world.post(f"advice/{advice}/bypass/", BYPASS)
    page = world.client("auditor").get("/console/friction/calibration/")
    text = page.content.decode()
    assert page.status_code == 200
    for words in (
        "Points are set by people: <bdi>ecp-default</bdi> version 1",
        "PAY-100",
        "100 % of 1",
        "Emergency: 1",
    ):
        assert words in text, words
    assert world.client("viewer").get("/console/friction/calibration/").status_code == 403
    assert "PAY-100" not in world.client("stranger").get("/console/friction/calibration/").content.decode()
