"""Cases beside a rule file: facts, and what the advice must then say (FRICTION 11)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from advisory.friction.core.values import instant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from advisory.friction.core.calculator import FrictionCalculator

DEFAULT_TIME = "2026-11-22T12:00:00Z"


class BadCases(ValueError):
    """The file holds no cases."""


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One case; `differences` names each member that is not as expected."""

    id: str
    differences: dict[str, dict[str, Any]]


def checked(calculator: FrictionCalculator, document: Any) -> Iterator[CaseResult]:
    """Compare only the members that a case expects; steps are compared without their numbers."""
    cases = document.get("cases") if isinstance(document, dict) else None
    if not isinstance(cases, list):
        raise BadCases('a file of cases is an object {"cases": [...]}')
    for place, case in enumerate(cases):
        yield _checked(calculator, place, case)


def _checked(calculator: FrictionCalculator, place: int, case: Any) -> CaseResult:
    if not isinstance(case, dict) or not isinstance(case.get("expected"), dict):
        raise BadCases(f"case {place} is no object with input and expected")
    facts, at = case.get("input", {}), instant(case.get("evaluated_at", DEFAULT_TIME))
    if not isinstance(facts, dict) or at is None:
        raise BadCases(f"case {place} needs an object as input and an RFC 3339 evaluated_at")
    told = calculator.evaluate(facts, at).document()
    for step in told["steps"]:
        step.pop("n")
    differences = {
        name: {"expected": expected, "found": told.get(name)}
        for name, expected in case["expected"].items()
        if name not in told or told[name] != expected
    }
    return CaseResult(str(case.get("id", place)), differences)
