"""Conditions: operators on leaves and the three-valued logic above them (FRICTION 2.2 and 2.3).

A result is True, False or None for unknown. Leaves are compiled to functions once, when a file is loaded; an
evaluation then tests every leaf, so that its trace is complete, and combines the results.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from dataclasses import field as member
from datetime import UTC, datetime, timedelta
from functools import partial
from operator import eq, ge, gt, itemgetter, le, lt, ne
from typing import TYPE_CHECKING, Any, Literal

from advisory.friction.core.values import FactType, Field, comparable, in_domain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from zoneinfo import ZoneInfo

Truth = bool | None
Test = "Callable[[Any, datetime], bool]"

STRING, INTEGER, NUMBER = FactType.STRING, FactType.INTEGER, FactType.NUMBER
BOOLEAN, TIMESTAMP, LIST = FactType.BOOLEAN, FactType.TIMESTAMP, FactType.LIST
_ORDERED = frozenset({INTEGER, NUMBER, TIMESTAMP})
_NAMED = frozenset({STRING, INTEGER, NUMBER})
_ALL = frozenset(FactType)

OPERATORS: dict[str, frozenset[FactType]] = {
    "eq": _ALL - {LIST},
    "ne": _ALL - {LIST},
    "gt": _ORDERED,
    "gte": _ORDERED,
    "lt": _ORDERED,
    "lte": _ORDERED,
    "between": _ORDERED,
    "in": _NAMED,
    "not_in": _NAMED,
    "contains": frozenset({STRING, LIST}),
    "contains_any": frozenset({LIST}),
    "contains_all": frozenset({LIST}),
    "starts_with": frozenset({STRING}),
    "ends_with": frozenset({STRING}),
    "glob": frozenset({STRING}),
    "exists": _ALL,
    "missing": _ALL,
    "older_than": frozenset({TIMESTAMP}),
    "within": frozenset({TIMESTAMP}),
    "hour_between": frozenset({TIMESTAMP}),
    "weekday_in": frozenset({TIMESTAMP}),
}
WITHOUT_OPERAND = frozenset({"exists", "missing"})
BOUNDS = frozenset({"gt", "gte", "lt", "lte"})
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class OperandError(ValueError):
    """The operand does not fit; `code` is `operand_type` or `operand_domain`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Leaf:
    """One comparison. `test` takes the usable fact and the instant of evaluation."""

    field: Field
    op: str
    expected: Any
    bound: int | None
    test: Callable[[Any, datetime], bool] = member(compare=False)


@dataclass(frozen=True, slots=True)
class Condition:
    """The leaves of a rule in their order, and how their results make one."""

    leaves: tuple[Leaf, ...]
    combine: Callable[[Sequence[Truth]], Truth]


@dataclass(frozen=True, slots=True)
class Node:
    """A checked condition before it is compiled: `all`, `any`, `not` over nodes, or a leaf."""

    kind: Literal["all", "any", "not", "leaf"]
    parts: tuple[Node, ...] = ()
    leaf: Leaf | None = None


def compiled(node: Node) -> Condition:
    leaves: list[Leaf] = []
    combine = _combiner(node, leaves)
    return Condition(tuple(leaves), combine)


def _combiner(node: Node, leaves: list[Leaf]) -> Callable[[Sequence[Truth]], Truth]:
    if node.kind == "leaf":
        assert node.leaf is not None
        leaves.append(node.leaf)
        return itemgetter(len(leaves) - 1)
    parts = [_combiner(part, leaves) for part in node.parts]
    if node.kind == "not":
        return partial(_not, parts[0])
    return partial(_all if node.kind == "all" else _any, parts)


def _not(part: Callable[[Sequence[Truth]], Truth], results: Sequence[Truth]) -> Truth:
    result = part(results)
    return None if result is None else not result


def _all(parts: Sequence[Callable[[Sequence[Truth]], Truth]], results: Sequence[Truth]) -> Truth:
    values = [part(results) for part in parts]
    return False if False in values else None if None in values else True


def _any(parts: Sequence[Callable[[Sequence[Truth]], Truth]], results: Sequence[Truth]) -> Truth:
    values = [part(results) for part in parts]
    return True if True in values else None if None in values else False


# --- leaves


def leaf(*, field: Field, op: str, value: Any, zone: ZoneInfo) -> Leaf:
    """Compile one comparison of a pair of operator and type that exists; OperandError if it cannot be."""
    test = _test_of(field, op, value, zone)
    bound = comparable(field.type, value) if op in BOUNDS and field.type is not TIMESTAMP else None
    return Leaf(field, op, value, bound, test)


def _test_of(field: Field, op: str, value: Any, zone: ZoneInfo) -> Callable[[Any, datetime], bool]:  # noqa: C901, PLR0911 - one line for each family of operators
    if op in _COMPARISONS:
        return _comparison(op, _operand(field, value))
    if op == "between":
        return _between(field, value)
    if op in ("in", "not_in"):
        return _membership(op, frozenset(_operands(field, value)))
    if op == "contains":
        return _contains(field, value)
    if op in ("contains_any", "contains_all"):
        return _overlap(op, frozenset(_members(field, value)))
    if op in ("starts_with", "ends_with"):
        text = _text(value)
        return (lambda fact, _: fact.startswith(text)) if op == "starts_with" else _ends_with(text)
    if op == "glob":
        return _glob(value)
    if op in ("older_than", "within"):
        return _age(op, value)
    if op == "hour_between":
        return _hours(value, zone)
    if op == "weekday_in":
        return _weekdays(value, zone)
    assert op in WITHOUT_OPERAND, op
    return _never  # answered from the state of the fact alone


def _never(_fact: Any, _now: datetime) -> bool:
    raise AssertionError("a leaf on presence was tested on a value")


_COMPARISONS = {"eq": eq, "ne": ne, "gt": gt, "gte": ge, "lt": lt, "lte": le}


def _comparison(op: str, operand: Any) -> Callable[[Any, datetime], bool]:
    compare = _COMPARISONS[op]
    return lambda fact, _: compare(fact, operand)


def _operand(field: Field, value: Any) -> Any:
    operand = comparable(field.type, value)
    if operand is None:
        raise OperandError(
            "operand_type", f"the value must be of type {field.type.value}, as {field.name} is"
        )
    if not in_domain(field, operand):
        raise OperandError("operand_domain", f"{field.name} can never be {value}, so this tells nothing")
    return operand


def _operands(field: Field, value: Any) -> list[Any]:
    if type(value) is not list or not value:
        raise OperandError("operand_type", f"the value must be a non-empty list of {field.type.value}")
    return [_operand(field, item) for item in value]


def _between(field: Field, value: Any) -> Callable[[Any, datetime], bool]:
    if type(value) is not list or len(value) != 2:  # noqa: PLR2004 - the two ends of a range
        raise OperandError("operand_type", "the value must be [from, to]")
    least, most = _operands(field, value)
    if least > most:
        raise OperandError("operand_type", "the first end of the range must not be above the second")
    return lambda fact, _: least <= fact <= most


def _membership(op: str, members: frozenset[Any]) -> Callable[[Any, datetime], bool]:
    if op == "in":
        return lambda fact, _: fact in members
    return lambda fact, _: fact not in members


def _contains(field: Field, value: Any) -> Callable[[Any, datetime], bool]:
    if field.type is LIST:
        [member] = _members(field, [value])
        return lambda fact, _: member in fact
    if type(value) is not str:
        raise OperandError("operand_type", "the value must be a text")
    return lambda fact, _: value in fact


def _members(field: Field, value: Any) -> list[str]:
    if type(value) is not list or not value or not all(type(item) is str for item in value):
        raise OperandError("operand_type", "the value must be text, or a non-empty list of texts")
    if field.values is not None and not field.values.issuperset(value):
        raise OperandError("operand_domain", f"{field.name} can never hold one of these values")
    return value


def _overlap(op: str, members: frozenset[str]) -> Callable[[Any, datetime], bool]:
    if op == "contains_any":
        return lambda fact, _: not members.isdisjoint(fact)
    return lambda fact, _: members <= fact


def _text(value: Any) -> str:
    if type(value) is not str or not value:
        raise OperandError("operand_type", "the value must be a text that is not empty")
    return value


def _ends_with(text: str) -> Callable[[Any, datetime], bool]:
    return lambda fact, _: fact.endswith(text)


_match_age = re.compile(r"([1-9][0-9]{0,4})([mhd])").fullmatch
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def _age(op: str, value: Any) -> Callable[[Any, datetime], bool]:
    match = _match_age(value) if type(value) is str else None
    if match is None:
        raise OperandError("operand_type", 'the value must be a time span such as "30m", "36h" or "14d"')
    span = timedelta(**{_UNITS[match[2]]: int(match[1])})
    if op == "older_than":
        return lambda fact, now: fact < now - span
    return lambda fact, now: now - span <= fact <= now


_MIDNIGHT = 24


def _hours(value: Any, zone: ZoneInfo) -> Callable[[Any, datetime], bool]:
    fits = type(value) is list and len(value) == 2 and all(type(hour) is int for hour in value)  # noqa: PLR2004
    if not fits or not 0 <= value[0] < _MIDNIGHT or not 0 <= value[1] <= _MIDNIGHT or value[0] == value[1]:
        raise OperandError(
            "operand_type", "the value must be two different hours, 0 to 23; the second may be 24"
        )
    first, last = value
    if first < last:
        return lambda fact, _: first <= _local(fact, zone).hour < last
    return lambda fact, _: not last <= _local(fact, zone).hour < first


def _weekdays(value: Any, zone: ZoneInfo) -> Callable[[Any, datetime], bool]:
    if type(value) is not list or not value or not all(day in WEEKDAYS for day in value):
        raise OperandError("operand_type", f"the value must be a non-empty list of {', '.join(WEEKDAYS)}")
    days = frozenset(map(WEEKDAYS.index, value))
    return lambda fact, _: _local(fact, zone).weekday() in days


def _local(instant: datetime, zone: ZoneInfo) -> datetime:
    try:
        return instant.astimezone(zone)
    except OverflowError:  # the first and last day of the calendar have no other local time
        return instant.astimezone(UTC)


# --- glob: `*` any run, `?` one code point; no pattern takes long


def _glob(value: Any) -> Callable[[Any, datetime], bool]:
    if type(value) is not str or not value:
        raise OperandError("operand_type", "the value must be a pattern that is not empty")
    if "[" in value:
        raise OperandError("operand_type", "a pattern knows * and ? only; [ is not allowed")
    parts = value.split("*")
    if len(parts) == 1:
        return lambda fact, _: len(fact) == len(value) and _fits(value, fact, 0)
    head, *middle, tail = parts
    runs = [part for part in middle if part]
    return lambda fact, _: _match_runs(head, runs, tail, fact)


def _match_runs(head: str, runs: list[str], tail: str, fact: str) -> bool:
    """Head and tail stand at the ends; between them each part takes the first place that it finds."""
    end = len(fact) - len(tail)
    position = len(head)
    if position > end or not _fits(head, fact, 0) or not _fits(tail, fact, end):
        return False
    for run in runs:
        found = fact.find(run, position, end) if "?" not in run else _find_run(run, fact, position, end)
        if found < 0:
            return False
        position = found + len(run)
    return True


def _fits(pattern: str, fact: str, offset: int) -> bool:
    if "?" not in pattern:
        return fact.startswith(pattern, offset)
    return all(mark in ("?", char) for mark, char in zip(pattern, fact[offset:], strict=False)) and len(
        fact
    ) - offset >= len(pattern)


def _find_run(run: str, fact: str, start: int, end: int) -> int:
    """First place of a part with `?`: one pass with a bit for each position of the pattern (shift-and)."""
    anything = sum(1 << index for index, mark in enumerate(run) if mark == "?")
    masks: dict[str, int] = {}
    for index, mark in enumerate(run):
        masks[mark] = masks.get(mark, anything) | 1 << index
    last, state, mask_of = 1 << len(run) - 1, 0, masks.get
    for position, char in enumerate(fact[start:end], start):
        state = (state << 1 | 1) & mask_of(char, anything)
        if state & last:
            return position + 1 - len(run)
    return -1
