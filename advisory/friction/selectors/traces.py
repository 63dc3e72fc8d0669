"""How each rule judged the facts of an advice: worked out when somebody looks, from what was recorded.

The rules are named by their hash and the facts stand in the row, so the same engine comes to the same result;
stored traces would be several times as large as all the rest of an advice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from advisory.friction.core.calculator import ENGINE
from advisory.friction.core.values import FactState
from advisory.friction.selectors.inforce import loaded

if TYPE_CHECKING:
    from advisory.friction.models import FrictionAdvice


def trace_of(row: FrictionAdvice) -> list[dict[str, Any]]:
    """Every rule with its leaves, in the order of the file; nothing where facts were erased or not kept."""
    if row.ruleset_version_id is None or row.facts_erased_at is not None or row.engine_version != ENGINE:
        return []
    if any("value" not in fact and fact["state"] != FactState.MISSING.value for fact in row.facts):
        return []  # an observer keeps no private values: the decision has them
    calculator = loaded(row.ruleset_version_id, row.sha256)
    values = {fact["field"]: fact.get("value") for fact in row.facts}
    return [judged.document() for judged in calculator.evaluate_fields(values, row.evaluated_at).trace]
