"""Steps: their members, their order and how equal ones are merged (FRICTION 2.5)."""

from __future__ import annotations

from typing import Any

import pytest

from advisory.friction.core.steps import STEP_TYPES, merged
from tests.advisory.friction.rulefile import NOON, SCALE, calculator, refusal, rule, rulefile

pytestmark = pytest.mark.unit

GOOD = {
    "extra_documentation": "documents: [a]", "rehearsal": "environment: staging", "second_review": "count: 1, role: operator",
    "poll": "sample_size: 5, deadline_minutes: 60", "delay": "minutes: 5", "cooling_off": "minutes: 5",
    "staged_rollout": "max_share_pct: 10", "notify": "to: [x], within_minutes: 5",
}  # fmt: skip


def suggested(*steps: str) -> list[dict[str, Any]]:
    """Steps of the advice when each of these is asked for by a rule of its own, AA-100, AA-101, ..."""
    rules = [
        rule(name=f"AA-{100 + n}", points=0, more=f"steps: [{{{step}}}]") for n, step in enumerate(steps)
    ]
    return list(calculator(*rules).evaluate({"n": 9}, NOON).steps)


def test_every_type_loads_and_comes_out_in_the_fixed_order() -> None:
    assert list(GOOD) == list(STEP_TYPES)
    steps = [f"type: {name}, {members}" for name, members in reversed(GOOD.items())]
    assert [step["type"] for step in suggested(*steps)] == list(GOOD)


@pytest.mark.parametrize(
    "step",
    [
        "type: delay", "type: delay, minutes: 0", "type: delay, minutes: 10081", "type: delay, minutes: true", 'type: delay, minutes: "5"',
        "type: delay, minutes: 5, hours: 1", "type: cooling_off, minutes: -1", "type: second_review, count: 10, role: operator",
        "type: second_review, count: 0, role: operator", "type: second_review, count: 1", "type: second_review, role: operator",
        'type: second_review, count: 1, role: ""', "type: second_review, count: 1, role: operator, not_same_owner: 1",
        "type: staged_rollout, max_share_pct: 0", "type: staged_rollout, max_share_pct: 101", "type: notify, to: [], within_minutes: 5",
        "type: notify, to: [1], within_minutes: 5", "type: notify, to: x, within_minutes: 5", "type: notify, to: [x]",
        "type: poll, deadline_minutes: 5", "type: poll, sample_size: 5, sample_pct: 5, deadline_minutes: 5", "type: poll, sample_size: 5",
        "type: poll, sample_pct: 101, deadline_minutes: 5", "type: poll, sample_size: 5, deadline_minutes: 5, frame: 1",
        "type: rehearsal", "type: rehearsal, environment: [a]", "type: extra_documentation, documents: []",
        'type: extra_documentation, documents: ["e\u0301"]', f"type: extra_documentation, documents: [{'x' * 65}]",
        'type: extra_documentation, documents: ["a\\nb"]', f"type: extra_documentation, documents: [{', '.join('abcdefghijklmnopqrstu')}]",
    ],
)  # fmt: skip
def test_a_step_with_wrong_members_is_refused(step: str) -> None:
    assert refusal(rulefile(rule(more=f"steps: [{{{step}}}]")))[0][0] == "step_invalid"


@pytest.mark.parametrize(
    ("one", "other", "result"),
    [
        ("type: delay, minutes: 5", "type: delay, minutes: 15", [{"minutes": 15}]),
        ("type: cooling_off, minutes: 15", "type: cooling_off, minutes: 5", [{"minutes": 15}]),
        ("type: staged_rollout, max_share_pct: 10", "type: staged_rollout, max_share_pct: 5", [{"max_share_pct": 5}]),
        ("type: extra_documentation, documents: [b, a]", "type: extra_documentation, documents: [c, a]", [{"documents": ["a", "b", "c"]}]),
        ("type: notify, to: [z], within_minutes: 9", "type: notify, to: [y], within_minutes: 3", [{"to": ["y", "z"], "within_minutes": 3}]),
        ("type: rehearsal, environment: b", "type: rehearsal, environment: a", [{"environment": "a"}, {"environment": "b"}]),
        ("type: rehearsal, environment: b", "type: rehearsal, environment: b", [{"environment": "b"}]),
        ("type: second_review, count: 1, role: x", "type: second_review, count: 3, role: x", [{"count": 3, "role": "x"}]),
        ("type: second_review, count: 1, role: x, not_same_owner: true", "type: second_review, count: 2, role: x",
         [{"count": 2, "role": "x", "not_same_owner": True}]),
        ("type: second_review, count: 1, role: x, not_same_owner: false", "type: second_review, count: 1, role: x", [{"count": 1, "role": "x"}]),
        ("type: second_review, count: 1, role: x", "type: second_review, count: 1, role: x, not_same_owner: true",
         [{"count": 1, "role": "x", "not_same_owner": True}]),
        ("type: second_review, count: 1, role: y", "type: second_review, count: 1, role: x",
         [{"count": 1, "role": "x"}, {"count": 1, "role": "y"}]),
        ("type: poll, sample_size: 5, deadline_minutes: 60", "type: poll, sample_size: 15, deadline_minutes: 90",
         [{"sample_size": 15, "deadline_minutes": 60}]),
        ("type: poll, sample_pct: 5, deadline_minutes: 60, frame: a", "type: poll, sample_size: 15, deadline_minutes: 90",
         [{"sample_size": 15, "deadline_minutes": 90}, {"sample_pct": 5, "deadline_minutes": 60, "frame": "a"}]),
        ("type: poll, sample_pct: 5, deadline_minutes: 60", "type: poll, sample_size: 15, deadline_minutes: 90",
         [{"sample_pct": 5, "sample_size": 15, "deadline_minutes": 60}]),
    ],
)  # fmt: skip
def test_equal_steps_become_one(one: str, other: str, result: list[dict[str, Any]]) -> None:
    told = suggested(one, other)
    assert [{name: step[name] for name in step if name not in ("type", "because")} for step in told] == result
    causes = [cause for step in told for cause in step["because"]]
    assert sorted(causes) == ["AA-100", "AA-101"]


def test_causes_are_rules_in_their_order_and_then_the_level() -> None:
    scale = SCALE.replace("low: {steps: []}", "low: {steps: [{type: delay, minutes: 1}]}")
    steps = "steps: [{type: delay, minutes: 3}, {type: delay, minutes: 9}]"
    run = calculator(rule(more=steps), rule(name="BB-100", more=steps), scale=scale)
    assert run.evaluate({"n": 9}, NOON).document()["steps"] == [
        {"n": 1, "type": "delay", "because": ["AA-100", "BB-100", "level:low"], "minutes": 9}
    ]


def test_merging_leaves_the_rule_set_as_it_was() -> None:
    scale = SCALE.replace("low: {steps: []}", "low: {steps: [{type: notify, to: [b, a], within_minutes: 5}]}")
    run = calculator(rule(points=0, more="steps: [{type: notify, to: [c], within_minutes: 1}]"), scale=scale)
    first = run.evaluate({"n": 9}, NOON).steps
    assert run.evaluate({"n": 9}, NOON).steps == first
    assert run.evaluate({"n": 1}, NOON).steps[0]["to"] == ["a", "b"]
    assert run.ruleset.levels[0][0] == {"type": "notify", "to": ["b", "a"], "within_minutes": 5}


def test_nothing_suggested_is_no_step() -> None:
    assert merged([]) == []
