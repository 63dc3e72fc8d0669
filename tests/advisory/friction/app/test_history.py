"""`history:` facts: each one from what is on record, and missing where it cannot be told."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest
from django.test import Client

from advisory.friction.core.sources import History
from advisory.friction.models import FrictionAdvice
from advisory.friction.selectors import history
from advisory.friction.selectors.history import history_facts
from ecp_project.kernel import signing
from ecp_project.kernel.clock import utc_now
from ledger.services.agentkeys import agent_key_add

if TYPE_CHECKING:
    from tests.advisory.friction.world import World

pytestmark = pytest.mark.db


def facts(world: World, *wanted: History) -> dict[str, int | None]:
    found = history_facts(
        log=world.people.log,
        agent="pay-agent-3",
        action="payment.transfer",
        wanted=wanted or tuple(History),
        now=utc_now(),
    )
    return {fact.value: told.value for fact, told in found.items()}


def test_of_an_agent_without_history_little_is_known(world: World) -> None:
    assert facts(world) == {
        "agent_age_days": None, "agent_key_age_days": None, "agent_bypass_pct_30d": None, "minutes_since_last_decision": None,
        "agent_decisions_30d": 0, "agent_same_action_30d": 0, "agent_reversals_30d": 0, "agent_adverse_90d": 0,
        "org_open_bypass_reviews": 0,
    }  # fmt: skip


def annotate(world: World, uid: str, **members: str) -> None:
    answer = Client().post(
        f"/api/v1/decisions/{uid}/annotations/", json.dumps({"text": "Looked at it again."} | members),
        content_type="application/json", **world.agent.headers,
    )  # fmt: skip
    assert answer.status_code == 201, answer.content


def test_decisions_reversals_and_outcomes_are_counted_once_each(world: World) -> None:
    wrong, corrected, failed, _ = (world.decide() for _ in range(4))
    world.decide(action="email.send", refs=[{"rel": "corrects", "id": corrected}])
    for _ in range(2):
        annotate(world, wrong, kind="correction")
    annotate(world, failed, kind="outcome", status="failure")
    annotate(world, wrong, kind="outcome", status="success")
    assert facts(world)["agent_decisions_30d"] == 0  # the search projection has not come so far
    world.reconcile()
    told = facts(world)
    assert (told["agent_decisions_30d"], told["agent_same_action_30d"]) == (5, 4)
    assert (told["agent_reversals_30d"], told["agent_adverse_90d"]) == (2, 1)
    assert told["minutes_since_last_decision"] == 0


def test_the_age_is_that_of_the_first_key(world: World) -> None:
    for seed, days in ((b"1" * 32, 20), (b"2" * 32, 3)):
        now = utc_now()
        agent_key_add(
            agent=world.agent.agent, public_key=signing.public_from_seed(seed), valid_from=now - timedelta(days=days),
            valid_until=None, actor="system:shell", prove=partial(signing.sign, seed), now=now,
        )  # fmt: skip
    assert facts(world, History.AGENT_AGE_DAYS, History.AGENT_KEY_AGE_DAYS) == {
        "agent_age_days": 20, "agent_key_age_days": 3,
    }  # fmt: skip


def test_the_share_of_bypasses_needs_five_pieces_of_advice(world: World) -> None:
    for n in range(5):
        advice = world.ask().json()["id"]
        if n < 2:
            body = {"steps": "all", "reason_code": "other", "reason_text": "It was agreed with the bank."}
            world.post(f"advice/{advice}/bypass/", body)
        share = facts(world, History.AGENT_BYPASS_PCT_30D)["agent_bypass_pct_30d"]
        assert share == (40 if n == 4 else None)
    assert facts(world, History.ORG_OPEN_BYPASS_REVIEWS) == {"org_open_bypass_reviews": 2}
    FrictionAdvice.objects.update(evaluated_at=utc_now() - timedelta(days=31))
    assert facts(world, History.AGENT_BYPASS_PCT_30D)["agent_bypass_pct_30d"] is None


def test_a_fact_that_takes_too_long_is_missing_and_advice_is_given(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = ("SELECT 1 FROM pg_sleep(5)", 0)
    monkeypatch.setattr(history, "QUERIES", {**history.QUERIES, History.AGENT_REVERSALS_30D: slow})
    answer = world.ask()
    assert answer.status_code == 201
    told = world.get(f"advice/{answer.json()['id']}/", "viewer").json()
    by_field = {fact["field"]: fact for fact in told["facts"]}
    assert by_field["agent.reversals_30d"]["error"] == "timeout"
    assert by_field["agent.reversals_30d"]["state"] == "missing"
