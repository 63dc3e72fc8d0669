"""Three-valued logic, missing facts, scores, floors and near misses (FRICTION 2.3 to 2.6)."""

from __future__ import annotations

from datetime import timedelta
from itertools import product
from typing import Any

import pytest

from tests.advisory.friction.rulefile import HEAD, NOON, SCALE, calculator, rule

pytestmark = pytest.mark.unit

B, C, D = ("{field: b, op: eq, value: true}", "{field: m, op: eq, value: 1}", "{field: t, op: eq, value: x}")
Truth = bool | None

TRUTHS: dict[str, dict[Truth, Any]] = {
    "b": {True: True, False: False, None: None},
    "m": {True: 1, False: 2, None: "no number"},
    "t": {True: "x", False: "y", None: 7},
}


def result(when: str, **truths: bool | None) -> bool | None:
    facts = {name: TRUTHS[name][truth] for name, truth in truths.items()}
    [trace] = calculator(rule(when)).evaluate(facts, NOON).trace
    return trace.result


@pytest.mark.parametrize(("b", "m", "t"), [*product([True, False, None], repeat=3)])
def test_conditions_follow_the_strong_logic_of_kleene(b: Truth, m: Truth, t: Truth) -> None:
    """Against an oracle of its own: min, max and 1 - x over 0, 1/2, 1."""
    number = {True: 2, None: 1, False: 0}
    truth = {2: True, 1: None, 0: False}
    all_three = f"{{all: [{B}, {C}, {D}]}}"
    any_three = f"{{any: [{B}, {C}, {D}]}}"
    mixed = f"{{any: [{{all: [{B}, {C}]}}, {{not: {D}}}]}}"
    expected_mixed = max(min(number[b], number[m]), 2 - number[t])
    assert result(all_three, b=b, m=m, t=t) is truth[min(number[b], number[m], number[t])]
    assert result(any_three, b=b, m=m, t=t) is truth[max(number[b], number[m], number[t])]
    assert result(mixed, b=b, m=m, t=t) is truth[expected_mixed]


def test_every_leaf_is_in_the_trace_with_what_was_expected_and_found() -> None:
    [trace] = calculator(rule(f"{{any: [{B}, {C}, {D}]}}")).evaluate({"b": True, "m": "2"}, NOON).trace
    assert trace.document() == {
        "rule": "AA-100",
        "result": True,
        "leaves": [
            {"field": "b", "op": "eq", "expected": True, "actual": True, "result": True},
            {"field": "m", "op": "eq", "expected": 1, "actual": "2", "result": "unknown"},
            {"field": "t", "op": "eq", "expected": "x", "actual": None, "result": "unknown"},
        ],
    }


def test_an_undecided_rule_does_not_fire_unless_it_asks_to() -> None:
    asks = 'on_missing: fire\nmissing_reason: "n is {n}, so nobody knows."'
    advice = calculator(rule(), rule(name="BB-100", more=asks)).evaluate({}, NOON)
    assert advice.undecided_rules == ("AA-100", "BB-100")
    assert advice.missing_fields == ("n",)
    assert [fired.document() for fired in advice.fired] == [
        {"rule": "BB-100", "points": 10, "via": "missing", "reason": "n is unknown, so nobody knows."}
    ]


def test_a_false_rule_with_an_unknown_leaf_is_decided() -> None:
    advice = calculator(rule(f"{{all: [{B}, {C}]}}")).evaluate({"b": False}, NOON)
    assert (advice.undecided_rules, advice.missing_fields, advice.fired) == ((), (), ())


@pytest.mark.parametrize(
    ("points", "score", "raw", "level"),
    [
        ([0], 0, 0, "low"), ([29], 29, 29, "low"), ([30], 30, 30, "medium"), ([59], 59, 59, "medium"),
        ([60], 60, 60, "high"), ([100, 100], 100, 200, "high"), ([-50, 20], 0, -30, "low"),
        ([-40, 100], 60, 60, "high"),
    ],
)  # fmt: skip
def test_points_add_up_and_are_held_between_zero_and_the_cap(
    points: list[int], score: int, raw: int, level: str
) -> None:
    rules = [rule(name=f"AA-{100 + n}", points=value) for n, value in enumerate(points)]
    advice = calculator(*rules).evaluate({"n": 9}, NOON)
    assert (advice.score, advice.raw_score, advice.level, advice.level_from) == (score, raw, level, "score")


@pytest.mark.parametrize(
    ("points", "floor", "level", "level_from"),
    [
        (0, "low", "low", "score"), (0, "medium", "medium", "floor"), (0, "high", "high", "floor"),
        (30, "medium", "medium", "score"), (60, "medium", "high", "score"), (40, "high", "high", "floor"),
    ],
)  # fmt: skip
def test_a_floor_raises_the_level_and_never_lowers_it(
    points: int, floor: str, level: str, level_from: str
) -> None:
    advice = calculator(rule(points=points, more=f"floor: {floor}")).evaluate({"n": 9}, NOON)
    assert (advice.level, advice.level_from) == (level, level_from)


def test_the_floor_of_a_rule_that_did_not_fire_counts_for_nothing() -> None:
    assert calculator(rule(more="floor: high")).evaluate({"n": 4}, NOON).level == "low"


@pytest.mark.parametrize(
    ("when", "facts", "near"),
    [
        ("{field: m, op: gte, value: 100}", {"m": 90}, True),
        ("{field: m, op: gte, value: 100}", {"m": 89}, False),
        ("{field: m, op: gt, value: 100}", {"m": 100}, True),
        ("{field: m, op: lt, value: 60}", {"m": 66}, True),
        ("{field: m, op: lte, value: 60}", {"m": 67}, False),
        ("{field: m, op: gt, value: -10}", {"m": -11}, True),
        ("{field: m, op: gt, value: 0}", {"m": 0}, True),
        ("{field: m, op: gt, value: 0}", {"m": -1}, False),
        ("{field: m, op: eq, value: 100}", {"m": 99}, False),
        ("{field: m, op: between, value: [10, 20]}", {"m": 9}, False),
        ('{field: d, op: gte, value: "10"}', {"d": "9.000000000"}, True),
        ('{field: d, op: gte, value: "10"}', {"d": "8.999999999"}, False),
        ('{field: w, op: lt, value: "2026-01-01T00:00:00Z"}', {"w": "2026-01-01T00:00:01Z"}, False),
        ("{not: {field: m, op: lt, value: 100}}", {"m": 99}, False),
        ("{all: [{field: m, op: gte, value: 100}, {field: b, op: eq, value: true}]}", {"m": 99, "b": True}, True),
        ("{all: [{field: m, op: gte, value: 100}, {field: b, op: eq, value: true}]}", {"m": 99}, False),
        ("{all: [{field: m, op: gte, value: 100}, {field: n, op: gte, value: 5}]}", {"m": 99, "n": 4}, False),
        ("{any: [{field: m, op: gte, value: 100}, {field: n, op: gte, value: 50}]}", {"m": 99, "n": 4}, False),
    ],
)  # fmt: skip
def test_a_near_miss_is_one_number_within_a_tenth_of_its_bound(
    when: str,
    facts: dict[str, Any],
    near: bool,  # noqa: FBT001 - a column of the table
) -> None:
    advice = calculator(rule(when)).evaluate(facts, NOON)
    assert bool(advice.near_misses) is near
    assert advice.fired == ()


def test_a_disabled_rule_is_not_looked_at() -> None:
    advice = calculator(rule(more="enabled: false")).evaluate({"n": 9}, NOON)
    assert (advice.trace, advice.facts, advice.score) == ((), (), 0)


@pytest.mark.parametrize(
    ("until", "last_moment"),
    [
        ('"2026-11-22"', NOON.replace(hour=23, minute=59, second=59, microsecond=999_999)),
        ('"2026-11-22T12:00:00Z"', NOON),
        ('"2026-11-22T13:00:00+01:00"', NOON),
    ],
)
def test_a_rule_ends_after_its_last_moment(until: str, last_moment: Any) -> None:
    run = calculator(rule(more=f"valid_until: {until}"), rule(name="BB-100"))
    before = run.evaluate({"n": 9}, last_moment)
    after = run.evaluate({"n": 9}, last_moment + timedelta(microseconds=1))
    assert [fired.rule for fired in before.fired] == ["AA-100", "BB-100"]
    assert [fired.rule for fired in after.fired] == ["BB-100"]
    assert run.evaluate({"n": 9}, last_moment).score == before.score  # asked in any order


def test_a_date_ends_by_the_clock_of_the_rule_set() -> None:
    vienna = HEAD.replace("timezone: UTC", "timezone: Europe/Vienna")
    run = calculator(rule(more='valid_until: "2026-11-22"'), head=vienna)
    at = NOON.replace(hour=23)
    assert run.evaluate({"n": 9}, at - timedelta(microseconds=1)).score == 10
    assert run.evaluate({"n": 9}, at).score == 0


def test_an_empty_rule_set_says_low_and_nothing_else() -> None:
    advice = calculator().evaluate({"n": 9}, NOON)
    assert advice.document() == {
        "ruleset": {"id": "tiny", "version": 1, "hash": advice.hash},
        "advisory": True, "blocking": False, "level": "low", "score": 0, "raw_score": 0,
        "level_from": "score", "fired": [], "undecided_rules": [], "missing_fields": [], "near_misses": [],
        "steps": [],
    }  # fmt: skip


def test_the_explanation_is_fixed_prose() -> None:
    run = calculator(
        rule(points=35),
        rule("{field: m, op: gte, value: 100}", name="BB-100", points=-5),
        rule("{field: b, op: eq, value: true}", name="CC-100", more="floor: high"),
    )
    raised = run.evaluate({"n": 5, "m": 95, "b": True}, NOON)
    assert run.explain(raised) == (
        "Suggested friction: HIGH (45 of 100, raised by a floor). 2 rules apply: AA-100 (+35) n is 5; "
        "CC-100 (+10) n is 5. Undecided: none. Closest rule that did not apply: BB-100 (m). "
        "This is advice; you may bypass it."
    )
    assert run.explain(run.evaluate({"n": 4, "m": 100}, NOON)) == (
        "Suggested friction: LOW (0 of 100). 1 rule applies: BB-100 (-5) n is 4. Undecided: CC-100 "
        "(not known: b). Closest rule that did not apply: none. This is advice; you may bypass it."
    )
    assert "No rule applies. " in run.explain(run.evaluate({"n": 1, "m": 1, "b": False}, NOON))


def test_only_facts_that_a_rule_reads_are_recorded() -> None:
    facts = (
        calculator(rule("{field: m, op: gte, value: 3}")).evaluate({"n": "x", "m": 4, "b": True}, NOON).facts
    )
    assert [(fact.field, fact.source, fact.state.value, fact.value) for fact in facts] == [
        ("n", "body:/context/n", "mistyped", "x"),
        ("m", "body:/context/m", "present", 4),
    ]


def test_the_cap_is_the_files_own() -> None:
    scale = SCALE.replace("cap: 100", "cap: 70")
    assert calculator(rule(points=90), scale=scale).evaluate({"n": 9}, NOON).score == 70
