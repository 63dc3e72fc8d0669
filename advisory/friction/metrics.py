"""Metrics of friction (OPERATIONS section 8). No label names an agent, a person or a decision."""

from __future__ import annotations

from functools import lru_cache

from prometheus_client import Counter, Histogram

SUGGESTIONS = Counter("ecp_friction_suggestions_total", "Advice that was stored", ["level", "mode"])
BYPASSES = Counter("ecp_friction_bypasses_total", "Bypasses on record", ["level", "reason_code"])
RULE_FIRED = Counter("ecp_friction_rule_fired_total", "Rules that applied", ["rule", "via"])
UNADVISED = Counter("ecp_friction_unadvised_total", "Decisions for which no advice was asked")
EVAL_SECONDS = Histogram(
    "ecp_friction_eval_seconds",
    "Judging one proposal, without gathering its facts",
    buckets=(0.00002, 0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01),
)


@lru_cache(maxsize=4_096)
def rule_fired(rule: str, via: str) -> Counter:
    """The counter of one rule; looking it up by its labels costs more than counting."""
    return RULE_FIRED.labels(rule=rule, via=via)
