"""What loads but is probably a mistake (FRICTION 2.8): warnings, never refusals."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from advisory.friction.core.document import dotted
from advisory.friction.core.rules import in_force
from advisory.friction.core.values import FactType, comparable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from advisory.friction.core.conditions import Leaf, Node
    from advisory.friction.core.document import Path
    from advisory.friction.core.rules import RuleSet

# Beyond this many rules the question which sums can be reached costs more than the warning is worth.
_MOST_SUMMED = 100


@dataclass(frozen=True, slots=True)
class LintWarning:
    """One warning with its place; `rule` is None for what belongs to the whole file."""

    code: str
    message: str
    line: int
    rule: str | None = None

    def document(self) -> dict[str, Any]:
        members: dict[str, Any] = {"code": self.code, "message": self.message, "line": self.line}
        return members | ({"rule": self.rule} if self.rule is not None else {})


def warnings(ruleset: RuleSet, now: datetime) -> list[LintWarning]:
    """Find all doubtful places, sorted by line; `now` tells which reviews are due."""
    found = [
        *_unused_fields(ruleset),
        *_rules_never_true(ruleset),
        *_bounds_at_limits(ruleset),
        *_reviews_due(ruleset, now),
        *_same_conditions(ruleset),
        *_idle_points(ruleset, now),
    ]
    return sorted(found, key=lambda warning: (warning.line, warning.code))


def _at(ruleset: RuleSet, path: Path) -> int:
    return ruleset.places[path][0]


def _rule(ruleset: RuleSet, index: int, code: str, message: str, *inside: str) -> LintWarning:
    line = _at(ruleset, ("rules", index, *inside))
    return LintWarning(code, message, line, ruleset.rules[index].id)


def _unused_fields(ruleset: RuleSet) -> Iterator[LintWarning]:
    read = {name for rule in ruleset.rules for name in rule.fields}
    for name in ruleset.fields:
        if name not in read:
            path: Path = ("fields", name)
            yield LintWarning("field_unused", f"no rule reads {dotted(path)}", _at(ruleset, path))


def _rules_never_true(ruleset: RuleSet) -> Iterator[LintWarning]:
    for index, rule in enumerate(ruleset.rules):
        if _never_true(rule.node):
            yield _rule(ruleset, index, "never_true", "no facts make this condition true", "when")


def _never_true(node: Node) -> bool:
    if node.kind == "any":
        return all(map(_never_true, node.parts))
    if node.kind == "all":
        return any(map(_never_true, node.parts)) or _contradicts(list(_demanded(node)))
    return node.leaf is not None and _contradicts([node.leaf])


def _demanded(node: Node) -> Iterator[Leaf]:
    """Leaves that must all be true for the node to be true."""
    if node.leaf is not None:
        yield node.leaf
    elif node.kind == "all":
        for part in node.parts:
            yield from _demanded(part)


def _contradicts(leaves: list[Leaf]) -> bool:
    by_field: dict[str, list[Leaf]] = {}
    for leaf in leaves:
        by_field.setdefault(leaf.field.name, []).append(leaf)
    return any(_excludes_all(demands) for demands in by_field.values())


def _excludes_all(demands: list[Leaf]) -> bool:
    """Whether no value of one field meets all demands on it, as far as numbers and listed values tell."""
    field = demands[0].field
    ops = {leaf.op for leaf in demands}
    if "missing" in ops and ops != {"missing"}:
        return True
    allowed = None if field.type is FactType.LIST else field.values
    for leaf in demands:
        listed = _listed(leaf)
        if listed is not None:
            allowed = listed if allowed is None else allowed & listed
    if allowed is not None:
        return not any(_meets(value, demands) for value in allowed)
    least, most = field.least, field.most
    for leaf in demands:
        low, high = _interval(leaf)
        least = low if least is None else max(least, low) if low is not None else least
        most = high if most is None else min(most, high) if high is not None else most
    return least is not None and most is not None and least > most


def _listed(leaf: Leaf) -> frozenset[Any] | None:
    if leaf.op == "eq":
        return frozenset({comparable(leaf.field.type, leaf.expected)})
    if leaf.op == "in":
        return frozenset(comparable(leaf.field.type, value) for value in leaf.expected)
    return None


# These leaves look at the value alone, not at the time of evaluation.
_TIMELESS = frozenset({"eq", "ne", "gt", "gte", "lt", "lte", "between", "in", "not_in"})


def _meets(value: Any, demands: list[Leaf]) -> bool:
    return all(leaf.op not in _TIMELESS or leaf.test(value, _NO_TIME) for leaf in demands)


_NO_TIME: Any = None


def _interval(leaf: Leaf) -> tuple[int | None, int | None]:
    """Integers (or billionths) from and to which a demand allows."""
    if leaf.bound is not None:
        low = {"gt": leaf.bound + 1, "gte": leaf.bound}.get(leaf.op)
        high = {"lt": leaf.bound - 1, "lte": leaf.bound}.get(leaf.op)
        return low, high
    if leaf.op == "between" and leaf.field.type is not FactType.TIMESTAMP:
        return comparable(leaf.field.type, leaf.expected[0]), comparable(leaf.field.type, leaf.expected[1])
    return None, None


def _bounds_at_limits(ruleset: RuleSet) -> Iterator[LintWarning]:
    for index, rule in enumerate(ruleset.rules):
        for leaf in rule.condition.leaves:
            if leaf.bound is not None and leaf.bound in (leaf.field.least, leaf.field.most):
                message = (
                    f"{leaf.field.name} {leaf.op} {leaf.expected} stands at the end of the field's range"
                )
                yield _rule(ruleset, index, "bound_at_limit", message, "when")


def _reviews_due(ruleset: RuleSet, now: datetime) -> Iterator[LintWarning]:
    for index, rule in enumerate(ruleset.rules):
        if rule.review_at is not None and now >= rule.review_at:
            yield _rule(
                ruleset, index, "review_due", "review_by has passed; the rule still runs", "review_by"
            )


def _same_conditions(ruleset: RuleSet) -> Iterator[LintWarning]:
    seen: dict[str, str] = {}
    for index, rule in enumerate(ruleset.rules):
        condition = json.dumps(ruleset.document["rules"][index]["when"], sort_keys=True)
        if condition in seen:
            message = f"the same condition as {seen[condition]}"
            yield _rule(ruleset, index, "same_condition", message, "when")
        else:
            seen[condition] = rule.id


def _idle_points(ruleset: RuleSet, now: datetime) -> Iterator[LintWarning]:
    """Rules whose points move no band, whichever other rules fire."""
    running = [(index, rule) for index, rule in enumerate(ruleset.rules) if in_force(rule, now)]
    if len(running) > _MOST_SUMMED:
        return
    for index, rule in running:
        others = _reachable([other.points for _, other in running if other is not rule])
        if all(_band(ruleset, total) == _band(ruleset, total + rule.points) for total in others):
            message = f"{rule.points} points change the level in no combination of rules"
            yield _rule(ruleset, index, "points_idle", message, "points")


def _reachable(points: list[int]) -> Iterator[int]:
    """Every sum that some of these points make, found with one bit for each possible sum."""
    lowest = sum(value for value in points if value < 0)
    sums = 1 << -lowest
    for value in points:
        sums |= sums << value if value > 0 else sums >> -value
    return (place + lowest for place in range(sums.bit_length()) if sums >> place & 1)


def _band(ruleset: RuleSet, total: int) -> int:
    return ruleset.band(max(0, min(total, ruleset.cap)))
