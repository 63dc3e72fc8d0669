"""Speed of the friction calculator on one core, with the full trace (FRICTION, limits)."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from advisory.friction import FrictionCalculator
from tests.shared import PROJECT

if TYPE_CHECKING:
    from collections.abc import Mapping

RULES = 30
ROUNDS = 5

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)

# A large irreversible payment and a harmless note: rules that fire and rules that do not.
FACTS: list[Mapping[str, Any]] = [
    {
        "action": "payment.transfer", "environment": "prod", "amount_minor": 2_500_000, "currency": "EUR",
        "reversible": False, "affected_people": 1, "confidence_pct": 91, "data_classes": [],
        "decided_at": "2026-11-20T10:00:00Z", "liability_zone": "operator",
        "agent": {"age_days": 400, "reversals_30d": 0, "bypass_pct_30d": 10},
    },
    {
        "action": "note.write", "environment": "staging", "reversible": True, "affected_people": 1,
        "confidence_pct": 70, "data_classes": ["public"], "decided_at": "2026-11-20T10:00:00Z",
        "liability_zone": "operator", "agent": {"age_days": 400, "reversals_30d": 0, "bypass_pct_30d": 10},
    },
]  # fmt: skip


def measured(seconds: float) -> dict[str, float]:
    """Evaluations per second: the shipped rules, and 30 rules made of them."""
    shipped = (PROJECT / "config" / "friction_rules.yml").read_text(encoding="utf-8")
    return {
        "shipped": _speed(FrictionCalculator.load(shipped), seconds),
        "thirty": _speed(FrictionCalculator.load(_repeated(shipped)), seconds),
    }


def _repeated(shipped: str) -> str:
    head, rules = shipped.split("rules:\n")
    bodies = [re.sub(r"^\S+", "", rule) for rule in rules.split("  - id: ")[1:]]
    listed = (f"  - id: ZZ-{100 + n}{bodies[n % len(bodies)]}" for n in range(RULES))
    return f"{head}rules:\n{''.join(listed)}"


def _speed(calculator: FrictionCalculator, seconds: float) -> float:
    """The best of some rounds is the speed; processor time, as other processes are not meant."""
    rates = []
    for _ in range(ROUNDS):
        count, start = 0, time.process_time()
        while (spent := time.process_time() - start) < seconds / ROUNDS:
            for facts in FACTS:
                advice = calculator.evaluate(facts, NOON)
                assert len(advice.trace) == len(calculator.ruleset.rules)
            count += len(FACTS)
        rates.append(count / spent)
    return max(rates)
