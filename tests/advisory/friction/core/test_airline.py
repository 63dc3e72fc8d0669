"""What the shipped rules say about the decisions of the airline agent, and what stricter rules would have said."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest

from advisory.friction import FrictionCalculator
from advisory.friction.core.replay import Recorded, Replay
from advisory.friction.core.sources import from_body, is_body
from advisory.friction.core.values import instant
from tests.shared import PROJECT, shared_path

pytestmark = pytest.mark.unit

AT = "2026-11-20T10:00:00.000000Z"
SHIPPED = (PROJECT / "config" / "friction_rules.yml").read_text(encoding="utf-8")


def recorded(calculator: FrictionCalculator, number: int, decision: dict[str, Any]) -> Recorded:
    at = instant(AT)
    assert at is not None
    body = [field for field in calculator.ruleset.fields.values() if is_body(field.source)]
    values = {field.name: from_body(field.source, decision) for field in body} | {"decided_at": AT}
    advice = calculator.evaluate_fields(values, at)
    return Recorded(
        id=str(number), hash=advice.hash, level=advice.level, fired=tuple(one.rule for one in advice.fired),
        steps=advice.steps, evaluated_at=at, clock=AT, facts={fact.source: fact.value for fact in advice.facts},
    )  # fmt: skip


def test_each_decision_is_advised_and_replayed() -> None:
    lines = shared_path("data/airline-agent/decisions.ndjson").read_text(encoding="utf-8").splitlines()
    shipped = FrictionCalculator.load(SHIPPED)
    history = [recorded(shipped, number, json.loads(line)) for number, line in enumerate(lines)]
    # The airline states amounts and people by other names. A payment is told by its action; how many people an
    # act concerns nobody says, so that rule asks for care, and its points alone make no level.
    assert {one.fired for one in history} == {("SOC-100",)}
    assert Counter(one.level for one in history) == {"low": len(lines)}
    same = Replay(shipped)
    careful = Replay(FrictionCalculator.load(SHIPPED.replace("points: 20", "points: 30")))
    for one in history:
        same.add(one)
        careful.add(one)
    assert (same.changed, same.kept["replayable"]) == (0, len(lines))
    assert careful.matrix == {("low", "medium"): len(lines)}
    assert careful.steps == {"added:second_review": len(lines)}
    assert careful.share_moved("medium") == 100
