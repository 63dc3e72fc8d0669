"""The kinds that friction adds to the ledger: closed members, and what they mean for a decision."""

from __future__ import annotations

from typing import Any

import pytest

from advisory.friction.core.statements import ADVICE, BYPASS, RULESET
from ecp_project.kernel.errors import BadRequest
from ledger.core.statement import kind_of, validate

pytestmark = pytest.mark.unit

UID = "019b0a2c-4e00-7000-8000-000000000002"
COMMON = {"id": UID, "org": "acme", "ts": "2026-11-22T12:00:00.000000Z", "actor": "agent:pay-agent-3"}
HASH = "sha256:" + "0" * 64
ONE: dict[str, dict[str, Any]] = {
    RULESET: {
        "approver": "staff:11111111-1111-4111-8111-111111111111",
        "ruleset": {"id": "ecp-default", "version": 1, "hash": HASH},
        "from_state": "draft", "to_state": "active", "reason": "agreed in the risk meeting",
    },
    ADVICE: {
        "agent": "pay-agent-3", "engine": "ecp-friction/1", "mode": "active",
        "evaluated_at": "2026-11-22T12:00:00.000000Z", "level": "high", "score": 65, "raw_score": 65,
        "level_from": "score", "undecided_rules": [], "missing_fields": [],
        "facts": [{"field": "action", "from": "body:/action", "state": "present", "value": "payment.transfer"}],
        "fired": [{"rule": "PAY-100", "points": 35, "via": "match"}],
        "steps": [{"n": 1, "type": "delay", "minutes": 15, "because": ["PAY-100"]}],
    },
    BYPASS: {
        "advice_id": UID, "steps": [1], "reason_code": "other", "reason_text": "It was agreed with the bank.",
    },
}  # fmt: skip


def statement(v: str, **members: Any) -> dict[str, Any]:
    whole = {"v": v} | COMMON | ONE[v] | members
    return {name: value for name, value in whole.items() if value is not None}


@pytest.mark.parametrize("v", ONE)
def test_a_whole_statement_is_good(v: str) -> None:
    validate(statement(v))


@pytest.mark.parametrize("v", ONE)
def test_agents_do_not_sign_them(v: str) -> None:
    with pytest.raises(BadRequest, match="do not sign"):
        validate(statement(v), signed_path=True)


@pytest.mark.parametrize(
    ("v", "change"),
    [
        (RULESET, {"more": 1}), (RULESET, {"reason": "short"}), (RULESET, {"to_state": "live"}), (RULESET, {"approver": None}),
        (ADVICE, {"level": "top"}), (ADVICE, {"fired": None}), (ADVICE, {"facts": None}), (ADVICE, {"mode": "friction"}),
        (ADVICE, {"detached": True}), (ADVICE, {"facts_sha256": HASH}), (ADVICE, {"score": -1}),
        (ADVICE, {"steps": [{"n": 1, "type": "block", "because": ["PAY-100"]}]}),
        (ADVICE, {"facts": [{"field": "x", "from": "y", "state": "present", "value": 1.5}]}),
        (BYPASS, {"advice_id": None}), (BYPASS, {"reason_code": "boredom"}), (BYPASS, {"reason_text": "no"}), (BYPASS, {"steps": [0]}),
    ],
)  # fmt: skip
def test_a_statement_of_another_form_is_refused(v: str, change: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        validate(statement(v, **change))


def test_a_detached_advice_carries_hashes_instead() -> None:
    detached = {"detached": True, "facts": None, "fired": None, "facts_sha256": HASH, "fired_sha256": HASH}
    validate(statement(ADVICE, **detached))


def test_a_bypass_that_names_its_decision_says_so_of_it() -> None:
    said = kind_of(BYPASS).project(statement(BYPASS, decision_id=UID))
    assert (said.target, said.bypassed) == (UID, True)
    assert kind_of(BYPASS).project(statement(BYPASS)).target is None
    assert kind_of(ADVICE).project(statement(ADVICE)).target is None
