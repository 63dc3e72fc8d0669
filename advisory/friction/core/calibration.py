"""Which rules help and which only annoy: figures of each rule over a period (FRICTION 9). Pure.

Everything is counted over advice that agents were given. A rule is bypassed where it fired, steps were
suggested, and at least one of them was bypassed. How decisions ended is compared between those for which the
rule fired and those for which it was in force and did not; that is a comparison, no proof of a cause.
"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from ecp_project.kernel.stats import ratio, wilson

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

QUICK_S = 10  # a step that is completed faster than this was hardly read
OFTEN = 20
NEVER_OF = 1_000
ALWAYS_OF, ALWAYS_ABOVE = 100, 0.8
NOISY_ABOVE = 0.2
PPM = 1_000_000
EQUAL = 1_000  # a ratio of one, in thousandths


class Advised(NamedTuple):
    """One advice, and what became of it."""

    in_force: Sequence[str]  # rules that were evaluated
    fired: Sequence[str]
    undecided: Sequence[str]
    has_steps: bool
    codes: frozenset[str]  # reasons of its bypasses
    verdicts: Sequence[str]
    completed_s: Sequence[float]  # from the advice to each completion
    is_pending: bool  # a person's step waits for longer than it should
    is_adverse: bool | None  # None: no decision is linked


class Share(NamedTuple):
    """So many of so many, with Wilson's 95 % interval in parts per million."""

    cases: int
    of: int

    @property
    def ppm(self) -> int | None:
        return round(PPM * self.cases / self.of) if self.of else None

    @property
    def interval(self) -> tuple[int, int]:
        low, high = wilson(self.cases / self.of if self.of else 0.0, self.of)
        return round(PPM * low), round(PPM * high)

    def document(self) -> dict[str, Any]:
        return {"count": self.cases, "of": self.of, "ppm": self.ppm, "interval_ppm": list(self.interval)}


class Lift(NamedTuple):
    """Ratio of two shares in thousandths, with its interval."""

    milli: int
    low: int
    high: int

    @property
    def tells_nothing(self) -> bool:
        return self.low <= EQUAL <= self.high


@dataclass(slots=True)
class RuleFigures:
    """Sums of one rule."""

    rule: str
    evaluated: int = 0
    fired: int = 0
    undecided: int = 0
    with_steps: int = 0
    bypassed: int = 0
    quick: int = 0
    pending: int = 0
    linked: int = 0
    linked_fired: int = 0
    adverse: int = 0
    adverse_fired: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    completed_s: array[float] = field(default_factory=lambda: array("d"))

    @property
    def bypass_rate(self) -> Share:
        return Share(self.bypassed, self.with_steps)

    @property
    def quick_share(self) -> Share:
        return Share(self.quick, len(self.completed_s))

    @property
    def median_s(self) -> int | None:
        return round(median(self.completed_s)) if self.completed_s else None

    @property
    def adverse_when_fired(self) -> Share:
        return Share(self.adverse_fired, self.linked_fired)

    @property
    def adverse_otherwise(self) -> Share:
        return Share(self.adverse - self.adverse_fired, self.linked - self.linked_fired)

    @property
    def lift(self) -> Lift | None:
        """None while one of the two shares counts nothing: then no ratio can be told."""
        found = ratio(*self.adverse_when_fired, *self.adverse_otherwise)
        if found is None:
            return None
        value, (low, high) = found
        return Lift(*(round(1_000 * number) for number in (value, low, high)))

    @property
    def flags(self) -> list[str]:
        rate, lift = self.bypass_rate, self.lift
        fires = self.fired / self.evaluated if self.evaluated else 0.0
        found = {
            "always_bypassed": rate.of >= OFTEN and rate.interval[0] * 2 > PPM,
            "never_fires": not self.fired and self.evaluated >= NEVER_OF,
            "always_fires": self.evaluated >= ALWAYS_OF and fires > ALWAYS_ABOVE,
            "noisy": fires > NOISY_ABOVE and lift is not None and lift.tells_nothing,
            "stale_pending": self.pending > 0,
        }
        return [name for name, holds in found.items() if holds]

    def document(self) -> dict[str, Any]:
        lift = self.lift
        return {
            "rule": self.rule,
            "evaluated": self.evaluated,
            "fired": self.fired,
            "undecided": self.undecided,
            "bypass_rate": self.bypass_rate.document(),
            "reason_codes": dict(sorted(self.codes.items())),
            "completed": len(self.completed_s),
            "median_s": self.median_s,
            "completed_under_10_s": self.quick_share.document(),
            "adverse_when_fired": self.adverse_when_fired.document(),
            "adverse_otherwise": self.adverse_otherwise.document(),
            "lift": None if lift is None else {"milli": lift.milli, "interval_milli": [lift.low, lift.high]},
            "verdicts": dict(sorted(self.verdicts.items())),
            "pending": self.pending,
            "flags": self.flags,
        }


def figures(advised: Iterable[Advised]) -> list[RuleFigures]:
    """Figures of every rule that was in force, by rule id."""
    rules: dict[str, RuleFigures] = {}
    for one in advised:
        fired = set(one.fired)
        for name in {*one.in_force, *fired}:  # whatever fired was in force, also under rules that are gone
            rule = rules.get(name) or rules.setdefault(name, RuleFigures(name))
            rule.evaluated += 1
            rule.linked += one.is_adverse is not None
            rule.adverse += one.is_adverse is True
            if name in fired:
                _add_fired(rule, one)
        for name in one.undecided:
            rules.setdefault(name, RuleFigures(name)).undecided += 1
    return [rules[name] for name in sorted(rules)]


def _add_fired(rule: RuleFigures, one: Advised) -> None:
    rule.fired += 1
    rule.with_steps += one.has_steps
    rule.bypassed += one.has_steps and bool(one.codes)
    rule.codes.update(one.codes)
    rule.verdicts.update(one.verdicts)
    rule.completed_s.extend(one.completed_s)
    rule.quick += sum(seconds < QUICK_S for seconds in one.completed_s)
    rule.pending += one.is_pending
    rule.linked_fired += one.is_adverse is not None
    rule.adverse_fired += one.is_adverse is True
