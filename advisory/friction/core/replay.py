"""What other rules would have said about recorded advice (FRICTION 8).

Facts are those that were recorded then, found by their source; what was not recorded is unknown, and is never
worked out as if it had been known. How much of the history that leaves is counted beside every figure.
Constant memory: one recorded advice after another goes into sums.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from advisory.friction.core.rules import LEVELS
from advisory.friction.core.sources import CLOCK
from ecp_project.kernel import canonical

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from advisory.friction.core.calculator import FrictionCalculator

MOST_EXAMPLES = 50


@dataclass(frozen=True, slots=True)
class Recorded:
    """One advice as it was given. `facts` maps sources to values; None: no facts are kept any more."""

    id: str
    hash: str
    level: str
    fired: tuple[str, ...]
    steps: Sequence[Mapping[str, Any]]
    evaluated_at: datetime
    clock: str
    facts: Mapping[str, Any] | None


@dataclass(slots=True)
class Replay:
    """Sums of a replay; `result` is the same for the same input, byte for byte."""

    calculator: FrictionCalculator
    matrix: Counter[tuple[str, str]] = field(default_factory=Counter)
    fires: dict[str, Counter[str]] = field(default_factory=dict)
    steps: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    old_hashes: Counter[str] = field(default_factory=Counter)
    delay_minutes: Counter[str] = field(default_factory=Counter)
    changed: int = 0
    examples: list[dict[str, str]] = field(default_factory=list)

    def add(self, recorded: Recorded) -> None:
        if recorded.facts is None:
            self.kept["not_replayable"] += 1
            return
        values, is_whole = self._values(recorded, recorded.facts)
        self.kept["replayable" if is_whole else "partially_replayable"] += 1
        self.old_hashes[recorded.hash] += 1
        advice = self.calculator.evaluate_fields(values, recorded.evaluated_at)
        self.matrix[recorded.level, advice.level] += 1
        for when, rules in (("old", recorded.fired), ("new", [fired.rule for fired in advice.fired])):
            for rule in rules:
                self.fires.setdefault(rule, Counter())[when] += 1
        self._compare_steps(recorded.steps, advice.steps)
        if recorded.level != advice.level:
            self.changed += 1
            if len(self.examples) < MOST_EXAMPLES:
                self.examples.append({"advice_id": recorded.id, "old": recorded.level, "new": advice.level})

    def _values(self, recorded: Recorded, facts: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
        values: dict[str, Any] = {}
        is_whole = True
        for one in self.calculator.ruleset.read_fields(recorded.evaluated_at):
            if one.source == CLOCK:
                values[one.name] = recorded.clock
            elif one.source in facts:
                values[one.name] = facts[one.source]
            else:
                is_whole = False
        return values, is_whole

    def _compare_steps(self, old: Sequence[Mapping[str, Any]], new: Sequence[Mapping[str, Any]]) -> None:
        before, after = (Counter(step["type"] for step in steps) for steps in (old, new))
        for kind, count in (after - before).items():
            self.steps[f"added:{kind}"] += count
        for kind, count in (before - after).items():
            self.steps[f"removed:{kind}"] += count
        for when, steps in (("old", old), ("new", new)):
            self.delay_minutes[when] += sum(step["minutes"] for step in steps if step["type"] == "delay")

    @property
    def total(self) -> int:
        return sum(self.kept.values())

    @property
    def compared(self) -> int:
        return sum(self.matrix.values())

    def share_moved(self, level: str) -> float:
        """Percentage points by which the share of a level has grown; for display and for a limit."""
        if not self.compared:
            return 0.0
        old = sum(count for (before, _), count in self.matrix.items() if before == level)
        new = sum(count for (_, after), count in self.matrix.items() if after == level)
        return 100 * (new - old) / self.compared

    def share_of(self, name: str) -> float:
        """Per cent of all recorded advice that changed, or that cannot be replayed."""
        if not self.total:
            return 0.0
        return 100 * (self.changed if name == "changed" else self.kept[name]) / self.total

    def result(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "v": "ecp.friction.replay/1",
            "old_hashes": dict(sorted(self.old_hashes.items())),
            "new_hash": self.calculator.ruleset.hash,
            "total": self.total,
            **{name: self.kept[name] for name in ("replayable", "partially_replayable", "not_replayable")},
            "matrix": {old: {new: self.matrix[old, new] for new in LEVELS} for old in LEVELS},
            "changed": self.changed,
            "examples": self.examples,
            "rules": {
                rule: {"old": fires["old"], "new": fires["new"]} for rule, fires in sorted(self.fires.items())
            },
            "steps": dict(sorted(self.steps.items())),
            "delay_minutes": {"old": self.delay_minutes["old"], "new": self.delay_minutes["new"]},
        }
        return found | {"result_sha256": f"sha256:{sha256(canonical.encode_any(found)).hexdigest()}"}
