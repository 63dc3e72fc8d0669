"""Warnings about what loads but is probably a mistake (FRICTION 2.8)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from advisory.friction import FrictionCalculator
from advisory.friction.core.lint import warnings
from tests.advisory.friction.rulefile import NOON, calculator, line_of, rule, rulefile
from tests.shared import PROJECT

pytestmark = pytest.mark.unit

# Every field of the test file is read by a rule of its own, so that only the doubtful thing is told.
READER = rule(
    "{any: [{field: n, op: exists}, {field: m, op: exists}, {field: d, op: exists}, {field: s, op: exists}, "
    "{field: t, op: exists}, {field: b, op: exists}, {field: l, op: exists}, {field: w, op: exists}]}",
    name="ZZ-999", points=60,
)  # fmt: skip


def told(*rules: str) -> list[tuple[str, str | None]]:
    found = warnings(calculator(*rules, READER).ruleset, NOON)
    return [(warning.code, warning.rule) for warning in found]


def test_the_shipped_rules_need_no_warning() -> None:
    shipped = FrictionCalculator.load(PROJECT / "config" / "friction_rules.yml").ruleset
    assert warnings(shipped, NOON) == []


def test_a_field_that_no_rule_reads() -> None:
    ruleset = calculator(rule("{field: m, op: gt, value: 1}", points=60)).ruleset
    assert [warning.message for warning in warnings(ruleset, NOON)] == [
        f"no rule reads fields.{name}" for name in ("d", "s", "t", "b", "l", "w")
    ]
    [first, *_] = warnings(ruleset, NOON)
    assert first.document() == {
        "code": "field_unused",
        "message": "no rule reads fields.d",
        "line": line_of(rulefile(), "  d: {type"),
    }


@pytest.mark.parametrize(
    "when",
    [
        "{all: [{field: m, op: gt, value: 5}, {field: m, op: lt, value: 5}]}",
        "{all: [{field: m, op: gte, value: 5}, {all: [{field: m, op: lte, value: 4}]}]}",
        "{all: [{field: m, op: between, value: [1, 3]}, {field: m, op: gt, value: 3}]}",
        "{all: [{field: t, op: eq, value: x}, {field: t, op: ne, value: x}]}",
        "{all: [{field: t, op: in, value: [x, y]}, {field: t, op: eq, value: z}]}",
        "{all: [{field: t, op: missing}, {field: t, op: eq, value: z}]}",
        "{all: [{field: s, op: not_in, value: [a, b]}, {field: b, op: exists}]}",
        "{field: n, op: gt, value: 100}",
        "{field: n, op: lt, value: 0}",
        "{any: [{field: n, op: lt, value: 0}, {field: s, op: not_in, value: [a, b]}]}",
        "{all: [{field: b, op: exists}, {any: [{field: n, op: lt, value: 0}]}]}",
        '{all: [{field: d, op: gt, value: "0.5"}, {field: d, op: lt, value: "0.500000001"}]}',
    ],
)  # fmt: skip
def test_a_rule_that_can_never_be_true(when: str) -> None:
    assert ("never_true", "AA-100") in told(rule(when, points=60))


@pytest.mark.parametrize(
    "when",
    [
        "{all: [{field: m, op: gte, value: 5}, {field: m, op: lte, value: 5}]}",
        "{any: [{field: m, op: gt, value: 5}, {field: m, op: lt, value: 5}]}",
        "{all: [{field: m, op: gt, value: 5}, {field: d, op: lt, value: 5}]}",
        "{not: {field: n, op: lt, value: 1}}",
        "{all: [{field: l, op: contains, value: a}, {field: l, op: contains, value: b}]}",
        "{all: [{field: w, op: older_than, value: 1h}, {field: w, op: within, value: 1d}]}",
        "{all: [{field: t, op: eq, value: xy}, {field: t, op: starts_with, value: x}]}",
        '{all: [{field: w, op: gt, value: "2026-01-01T00:00:00Z"}, {field: w, op: between, value: ["2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"]}]}',
        "{all: [{field: t, op: missing}, {field: t, op: missing}]}",
    ],
)  # fmt: skip
def test_a_rule_that_may_be_true_is_left_alone(when: str) -> None:
    assert told(rule(when, points=60)) == []


@pytest.mark.parametrize("when", ["{field: n, op: gte, value: 0}", "{field: n, op: lte, value: 100}"])
def test_a_bound_at_the_end_of_its_range(when: str) -> None:
    assert told(rule(when, points=60)) == [("bound_at_limit", "AA-100")]


def test_a_review_that_is_due() -> None:
    ruleset = calculator(rule(points=60, more='review_by: "2026-11-21"'), READER).ruleset
    midnight = NOON.replace(hour=0)
    assert [warning.code for warning in warnings(ruleset, midnight)] == ["review_due"]
    assert warnings(ruleset, midnight - timedelta(microseconds=1)) == []


def test_the_same_condition_twice() -> None:
    again = rule("{op: gte, value: 5, field: n}", name="BB-100", points=60)
    assert told(rule(points=60), again) == [("same_condition", "BB-100")]


@pytest.mark.parametrize(
    ("points", "idle"),
    [([0], [0]), ([29], [0]), ([30], []), ([15, 15], []), ([10, 10], [0, 1]), ([-10, 30], []), ([-10, 60], []), ([-5, 10], [0, 1]), ([100], [])],
)  # fmt: skip
def test_points_that_move_no_band(points: list[int], idle: list[int]) -> None:
    conditions = ["n", "m", "d"]
    rules = [
        rule(f"{{field: {name}, op: exists}}", name=f"AA-{100 + index}", points=value)
        for index, (name, value) in enumerate(zip(conditions, points, strict=False))
    ]
    found = warnings(calculator(*rules).ruleset, NOON)
    assert [warning.rule for warning in found if warning.code == "points_idle"] == [
        f"AA-{100 + n}" for n in idle
    ]


def test_many_rules_are_linted_in_a_moment() -> None:
    rules = [rule(name=f"AA-{100 + n}", points=(-1) ** n * (n % 100 + 1)) for n in range(100)]
    assert {warning.code for warning in warnings(calculator(*rules).ruleset, NOON)} == {
        "same_condition",
        "field_unused",
    }
    more = [rule(name=f"AA-{100 + n}", points=0) for n in range(101)]
    assert "points_idle" not in {warning.code for warning in warnings(calculator(*more).ruleset, NOON)}
