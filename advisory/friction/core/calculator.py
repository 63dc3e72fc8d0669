"""`FrictionCalculator`: from facts to advice with a complete trace (FRICTION 2.3 to 2.6).

Pure: no clock, no database, no network. The instant of evaluation is passed in, and the same rule set, facts
and instant give the same advice. Every rule in force runs, so the order of rules changes listings only.
"""

from __future__ import annotations

from bisect import bisect_right
from hashlib import sha256
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from advisory.friction.core.rules import LEVELS, in_force, load_ruleset
from advisory.friction.core.sources import is_body
from advisory.friction.core.steps import merged
from advisory.friction.core.values import FactState, shown, usable
from ecp_project.kernel import canonical

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from advisory.friction.core.conditions import Leaf, Truth
    from advisory.friction.core.rules import Rule, RuleSet
    from advisory.friction.core.steps import Step
    from advisory.friction.core.templates import Template
    from advisory.friction.core.values import Field

ENGINE = "ecp-friction/1"
ADVISORY_NOTE = "This is advice; you may bypass it."


class FiredRule(NamedTuple):
    rule: str
    points: int
    via: str  # match | missing
    reason: str

    def document(self) -> dict[str, Any]:
        return {"rule": self.rule, "points": self.points, "via": self.via, "reason": self.reason}


class RuleTrace(NamedTuple):
    """One rule as it was judged, with each of its leaves."""

    rule: str
    result: Truth
    tested: tuple[Leaf, ...]
    actual: tuple[Any, ...]
    results: tuple[Truth, ...]

    @property
    def leaves(self) -> tuple[dict[str, Any], ...]:
        """Each leaf as JSON: what was expected, what was found, what came of it."""
        return tuple(
            {
                "field": leaf.field.name,
                "op": leaf.op,
                "expected": leaf.expected,
                "actual": actual,
                "result": named(result),
            }
            for leaf, actual, result in zip(self.tested, self.actual, self.results, strict=True)
        )

    def unknown_fields(self) -> Iterator[str]:
        for leaf, result in zip(self.tested, self.results, strict=True):
            if result is None:
                yield leaf.field.name

    def document(self) -> dict[str, Any]:
        return {"rule": self.rule, "result": named(self.result), "leaves": list(self.leaves)}


class Fact(NamedTuple):
    """A fact that some rule in force reads. `value` is what was given, whatever its type."""

    field: str
    source: str
    state: FactState
    value: Any
    sensitive: bool


class Advice(NamedTuple):
    """What the calculator says. It blocks nothing."""

    ruleset_id: str
    version: int
    hash: str
    level: str
    score: int
    raw_score: int
    cap: int
    level_from: str  # score | floor
    fired: tuple[FiredRule, ...]
    undecided_rules: tuple[str, ...]
    missing_fields: tuple[str, ...]
    near_misses: tuple[tuple[str, str], ...]
    steps: tuple[Step, ...]
    facts: tuple[Fact, ...]
    trace: tuple[RuleTrace, ...]
    input_sha256: str

    def document(self) -> dict[str, Any]:
        """The advice as JSON, without the trace; steps are numbered from 1."""
        return {
            "ruleset": {"id": self.ruleset_id, "version": self.version, "hash": self.hash},
            "advisory": True,
            "blocking": False,
            "level": self.level,
            "score": self.score,
            "raw_score": self.raw_score,
            "level_from": self.level_from,
            "fired": [fired.document() for fired in self.fired],
            "undecided_rules": list(self.undecided_rules),
            "missing_fields": list(self.missing_fields),
            "near_misses": [{"rule": rule, "field": field} for rule, field in self.near_misses],
            "steps": [{"n": n, **step} for n, step in enumerate(self.steps, start=1)],
        }


class FrictionCalculator:
    """The rules of one file, applied to facts."""

    def __init__(self, ruleset: RuleSet) -> None:
        self.ruleset = ruleset
        self._steps_to = {name: name.split(".") for name in ruleset.fields}
        self._body = tuple(field.name for field in ruleset.fields.values() if is_body(field.source))
        self._ends = sorted({rule.expires_at for rule in ruleset.rules if rule.expires_at is not None})
        self._plans: dict[int, _Plan] = {}  # by the number of ends that have passed; filled when first asked

    @classmethod
    def load(cls, source: Path | str | bytes) -> FrictionCalculator:
        """Read a rule file: a `Path` names it, a text is its content. RuleSetInvalid says what is wrong."""
        return cls(load_ruleset(source.read_bytes() if isinstance(source, Path) else source))

    def evaluate(self, facts: Mapping[str, Any], evaluated_at: datetime) -> Advice:
        """Judge a facts document, in which a field `agent.age_days` is `{"agent": {"age_days": 5}}`."""
        values = {
            name: facts.get(name) if len(steps) == 1 else _nested(facts, steps)
            for name, steps in self._steps_to.items()
        }
        return self.evaluate_fields(values, evaluated_at)

    def evaluate_fields(self, values: Mapping[str, Any], evaluated_at: datetime) -> Advice:
        """Judge facts by field name; what is absent or None is missing."""
        plan = self._plan(evaluated_at)
        facts, compared, actual = _known(plan.fields, values)
        applied: list[Rule] = []
        fired: list[FiredRule] = []
        undecided: list[str] = []
        missing: dict[str, None] = {}
        near_misses: list[tuple[str, str]] = []
        trace: list[RuleTrace] = []
        for planned in plan.rules:
            rule = planned.rule
            results = _tested(planned, compared, evaluated_at)
            result = rule.condition.combine(results)
            judged = RuleTrace(rule.id, result, rule.condition.leaves, planned.pick(actual), tuple(results))
            trace.append(judged)
            if result is None:
                undecided.append(rule.id)
                missing.update(dict.fromkeys(judged.unknown_fields()))
            elif result is False and results.count(False) == 1:
                near_misses += _near_miss(planned, results, compared)
            if (reason := _reason(rule, result)) is not None:
                applied.append(rule)
                fired.append(FiredRule(rule.id, rule.points, _VIA[result], reason.render(values)))
        raw_score = sum(rule.points for rule in applied)
        score = max(0, min(raw_score, self.ruleset.cap))
        band = self.ruleset.band(score)
        level = max([band, *(rule.floor for rule in applied if rule.floor is not None)])
        suggested = [(rule.id, step) for rule in applied for step in rule.steps]
        suggested += [(f"level:{LEVELS[level]}", step) for step in self.ruleset.levels[level]]
        return Advice(
            ruleset_id=self.ruleset.id,
            version=self.ruleset.version,
            hash=self.ruleset.hash,
            level=LEVELS[level],
            score=score,
            raw_score=raw_score,
            cap=self.ruleset.cap,
            level_from="floor" if level > band else "score",
            fired=tuple(fired),
            undecided_rules=tuple(undecided),
            missing_fields=tuple(missing),
            near_misses=tuple(near_misses),
            steps=tuple(merged(suggested)),
            facts=facts,
            trace=tuple(trace),
            input_sha256=self.input_digest(values),
        )

    def input_digest(self, values: Mapping[str, Any]) -> str:
        """Binds advice to its proposal: the hash over the `body:` fields, absent ones as null."""
        return input_sha256({name: values.get(name) for name in self._body})

    def explain(self, advice: Advice) -> str:
        return explained(advice)

    def _plan(self, at: datetime) -> _Plan:
        passed = bisect_right(self._ends, at)
        if passed not in self._plans:
            self._plans[passed] = _planned(self.ruleset, at)
        return self._plans[passed]


def input_sha256(body: Mapping[str, Any]) -> str:
    return f"sha256:{sha256(canonical.encode_any(dict(body))).hexdigest()}"


def named(result: Truth) -> bool | str:
    return "unknown" if result is None else result


def _nested(facts: Mapping[str, Any], steps: Sequence[str]) -> Any:
    value: Any = facts
    for step in steps:
        if not isinstance(value, dict) or step not in value:
            return None
        value = value[step]
    return value


# --- the rules in force, laid out so that an evaluation is one walk over plain tuples


class _PlannedLeaf(NamedTuple):
    place: int  # of its fact
    test: Callable[[Any, datetime], bool]
    presence: bool | None  # what `exists` and `missing` answer for a usable fact; None for other operators


class _PlannedRule(NamedTuple):
    rule: Rule
    leaves: tuple[_PlannedLeaf, ...]
    pick: Callable[[Sequence[Any]], tuple[Any, ...]]  # out of all facts those of the leaves


class _Plan(NamedTuple):
    fields: tuple[Field, ...]
    rules: tuple[_PlannedRule, ...]


_NOTHING = (FactState.MISSING, None)
_PLAIN = frozenset({int, bool})
_PRESENCE = {"exists": True, "missing": False}
_VIA = {True: "match", None: "missing"}


def _planned(ruleset: RuleSet, at: datetime) -> _Plan:
    fields = ruleset.read_fields(at)
    place = {field.name: index for index, field in enumerate(fields)}
    rules = []
    for rule in ruleset.rules:
        if in_force(rule, at):
            places = [place[leaf.field.name] for leaf in rule.condition.leaves]
            leaves = [
                _PlannedLeaf(place, leaf.test, _PRESENCE.get(leaf.op))
                for place, leaf in zip(places, rule.condition.leaves, strict=True)
            ]
            rules.append(_PlannedRule(rule, tuple(leaves), _picker(places)))
    return _Plan(fields, tuple(rules))


def _picker(places: list[int]) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    if len(places) == 1:  # one index alone gives the item itself
        [only] = places
        return lambda facts: (facts[only],)
    return itemgetter(*places)


def _known(
    fields: Sequence[Field], values: Mapping[str, Any]
) -> tuple[tuple[Fact, ...], list[Any], list[Any]]:
    """Facts by place: as recorded, as compared (None: not usable), as shown in a trace."""
    facts, compared, actual = [], [], []
    for field in fields:
        value = values.get(field.name)
        state, converted = _NOTHING if value is None else usable(field, value)
        facts.append(Fact(field.name, field.source, state, value, field.sensitive))
        compared.append(converted)
        # Short values of the common types show themselves; anything else is for `shown` to judge.
        plain = value is None or (type(value) in _PLAIN and not field.sensitive)
        actual.append(value if plain else shown(field, value))
    return tuple(facts), compared, actual


def _tested(planned: _PlannedRule, compared: Sequence[Any], now: datetime) -> list[Truth]:
    results: list[Truth] = []
    for place, test, presence in planned.leaves:
        value = compared[place]
        if presence is not None:
            results.append(presence is (value is not None))
        else:
            results.append(None if value is None else test(value, now))
    return results


def _reason(rule: Rule, result: Truth) -> Template | None:
    """Why the rule applies: it is true, or it cannot be told and the rule asks to fire then."""
    return rule.reason if result else rule.missing_reason if result is None else None


def _near_miss(
    planned: _PlannedRule, results: list[Truth], compared: Sequence[Any]
) -> Iterator[tuple[str, str]]:
    """Name the one number, at most a tenth of its bound away, that keeps a rule from applying."""
    false_one = results.index(False)
    leaf = planned.rule.condition.leaves[false_one]
    if leaf.bound is None:
        return
    if abs(compared[planned.leaves[false_one].place] - leaf.bound) * 10 > abs(leaf.bound):
        return
    if planned.rule.condition.combine([*results[:false_one], True, *results[false_one + 1 :]]):
        yield planned.rule.id, leaf.field.name


# --- in words


def explained(advice: Advice) -> str:
    """The same advice in the same words: level, rules, what could not be told, what nearly applied."""
    raised = ", raised by a floor" if advice.level_from == "floor" else ""
    applied = "; ".join(applied_words(fired.rule, fired.points, fired.reason) for fired in advice.fired)
    count = len(advice.fired)
    rules = (
        f"{count} {'rule applies' if count == 1 else 'rules apply'}: {applied}."
        if count
        else "No rule applies."
    )
    undecided = ", ".join(advice.undecided_rules) or "none"
    if advice.missing_fields:
        undecided += f" (not known: {', '.join(advice.missing_fields)})"
    closest = ", ".join(f"{rule} ({field})" for rule, field in advice.near_misses) or "none"
    return (
        f"Suggested friction: {advice.level.upper()} ({advice.score} of {advice.cap}{raised}). {rules} "
        f"Undecided: {undecided}. Closest rule that did not apply: {closest}. {ADVISORY_NOTE}"
    )


def applied_words(rule: str, points: int, reason: str) -> str:
    return f"{rule} ({points:+d}) {reason.rstrip('.')}"
