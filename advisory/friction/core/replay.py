"""What other rules would have said about recorded advice (FRICTION 8).

Facts are those that were recorded then, found by their source; a fact of the proposal that no rule asked for
then is read from the decision that followed, where it still can be. What was not recorded is unknown, and is
never worked out as if it had been known. How much of the history that leaves is counted beside every figure.
Constant memory: one recorded advice after another goes into sums.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from advisory.friction.core.rules import LEVELS
from advisory.friction.core.sources import CLOCK, from_body, is_body
from ecp_project.kernel import canonical

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from advisory.friction.core.calculator import Advice, FrictionCalculator

MOST_EXAMPLES = 50


@dataclass(frozen=True, slots=True)
class Recorded:
    """One advice as it was given. `facts` maps sources to values; None: no facts are kept any more.

    `decided` gives the body of the decision that followed, and whether all of it can still be read.
    """

    id: str
    hash: str
    level: str
    fired: tuple[str, ...]
    steps: Sequence[Mapping[str, Any]]
    evaluated_at: datetime
    clock: str
    facts: Mapping[str, Any] | None
    decided: Callable[[], tuple[Mapping[str, Any], bool]] | None = None


class _Judged(NamedTuple):
    level: str
    fired: Sequence[str]
    steps: Sequence[Mapping[str, Any]]


@dataclass(slots=True)
class Replay:
    """Sums of a replay; `result` is the same for the same input, byte for byte.

    `against` judges the same facts by other rules instead of taking what was recorded.
    """

    calculator: FrictionCalculator
    against: FrictionCalculator | None = None
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
        values, is_whole = _values(self.calculator, recorded, recorded.facts)
        old = _Judged(recorded.level, recorded.fired, recorded.steps)
        if self.against is None:
            self.old_hashes[recorded.hash] += 1
        else:
            earlier, is_old_whole = _values(self.against, recorded, recorded.facts)
            is_whole = is_whole and is_old_whole
            old = _judged(self.against.evaluate_fields(earlier, recorded.evaluated_at))
            self.old_hashes[self.against.ruleset.hash] += 1
        self.kept["replayable" if is_whole else "partially_replayable"] += 1
        new = _judged(self.calculator.evaluate_fields(values, recorded.evaluated_at))
        self.matrix[old.level, new.level] += 1
        for when, judged in (("old", old), ("new", new)):
            for rule in judged.fired:
                self.fires.setdefault(rule, Counter())[when] += 1
        self._compare_steps(old.steps, new.steps)
        if old.level != new.level:
            self.changed += 1
            if len(self.examples) < MOST_EXAMPLES:
                self.examples.append({"advice_id": recorded.id, "old": old.level, "new": new.level})

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


def _judged(advice: Advice) -> _Judged:
    return _Judged(advice.level, [fired.rule for fired in advice.fired], advice.steps)


def _values(
    calculator: FrictionCalculator, recorded: Recorded, facts: Mapping[str, Any]
) -> tuple[dict[str, Any], bool]:
    """Values of the fields that the rules read, and whether all of them are known."""
    values: dict[str, Any] = {}
    unrecorded = []
    for one in calculator.ruleset.read_fields(recorded.evaluated_at):
        if one.source == CLOCK:
            values[one.name] = recorded.clock
        elif one.source in facts:
            values[one.name] = facts[one.source]
        else:
            unrecorded.append(one)
    if not unrecorded or recorded.decided is None or not any(is_body(one.source) for one in unrecorded):
        return values, not unrecorded
    body, is_body_whole = recorded.decided()
    is_whole = True
    for one in unrecorded:
        # Of a body that was partly erased, what is not there may have been there.
        value = from_body(one.source, body) if is_body(one.source) else None
        values[one.name] = value
        is_whole = is_whole and is_body(one.source) and (value is not None or is_body_whole)
    return values, is_whole
