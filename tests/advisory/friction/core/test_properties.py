"""What holds for all rule sets and facts: order, floors, missing facts, hashes (FRICTION, tests that must exist)."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import rfc8785
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from advisory.friction import FrictionCalculator
from advisory.friction.core.rules import LEVELS
from tests.advisory.friction.rulefile import NOON, calculator, rule, rulefile
from tests.shared import PROJECT

pytestmark = pytest.mark.unit

SHIPPED = (PROJECT / "config" / "friction_rules.yml").read_text(encoding="utf-8")
CALCULATOR = FrictionCalculator.load(SHIPPED)

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "action": st.sampled_from(["payment.transfer", "email.send", "x"]),
    "environment": st.sampled_from(["dev", "prod", "production"]),
    "amount_minor": st.integers(900_000, 1_100_000) | st.just("1000000"),
    "currency": st.just("EUR"),
    "reversible": st.booleans(),
    "affected_people": st.integers(80, 120) | st.just("many"),
    "confidence_pct": st.integers(50, 110),
    "data_classes": st.lists(st.sampled_from(["health", "public", "minors"]), max_size=3),
    "decided_at": st.sampled_from(["2026-11-20T10:00:00Z", "2026-11-22T10:00:00Z", "soon"]),
    "liability_zone": st.sampled_from(["manufacturer", "uncertain", "nobody"]),
    "agent.age_days": st.integers(10, 18),
    "agent.reversals_30d": st.integers(0, 5),
    "agent.bypass_pct_30d": st.integers(40, 60),
}
FACTS = st.fixed_dictionaries({}, optional=VALUES)


def decided(values: dict[str, Any]) -> dict[str, bool]:
    trace = CALCULATOR.evaluate_fields(values, NOON).trace
    return {one.rule: one.result for one in trace if one.result is not None}


@settings(max_examples=200, deadline=None)
@given(FACTS, st.data())
def test_a_further_fact_never_turns_a_decided_rule_undecided(
    facts: dict[str, Any], data: st.DataObject
) -> None:
    more = dict(facts)
    for name in data.draw(st.sets(st.sampled_from(sorted(VALUES)))):
        more.setdefault(name, data.draw(VALUES[name]))
    before = decided(facts)
    assert before.items() <= decided(more).items()


def shuffled(seed: int) -> FrictionCalculator:
    document = json.loads(json.dumps(CALCULATOR.ruleset.document))
    random.Random(seed).shuffle(document["rules"])  # noqa: S311 - repeatable, no secret
    return FrictionCalculator.load(yaml.safe_dump(document, sort_keys=False))


SHUFFLED = [shuffled(seed) for seed in range(6)]


@settings(max_examples=200, deadline=None)
@given(FACTS, st.sampled_from(SHUFFLED))
def test_the_order_of_rules_changes_listings_only(facts: dict[str, Any], other: FrictionCalculator) -> None:
    one, two = (run.evaluate_fields(facts, NOON) for run in (CALCULATOR, other))
    assert one.hash != two.hash or CALCULATOR.ruleset.document == other.ruleset.document
    assert (one.level, one.score, one.raw_score, one.level_from) == (
        two.level,
        two.score,
        two.raw_score,
        two.level_from,
    )
    assert sorted(one.fired) == sorted(two.fired)
    assert set(one.missing_fields) == set(two.missing_fields)

    def causeless(steps: tuple[dict[str, Any], ...]) -> list[Any]:
        return [{**step, "because": sorted(step["because"])} for step in steps]

    assert causeless(one.steps) == causeless(two.steps)


@settings(max_examples=30, deadline=None)
@given(FACTS)
def test_evaluation_is_pure(facts: dict[str, Any]) -> None:
    before = json.dumps(facts, sort_keys=True)
    assert CALCULATOR.evaluate_fields(facts, NOON) == CALCULATOR.evaluate_fields(facts, NOON)
    assert json.dumps(facts, sort_keys=True) == before
    assert FrictionCalculator.load(SHIPPED).evaluate_fields(facts, NOON) == CALCULATOR.evaluate_fields(
        facts, NOON
    )


@settings(max_examples=200, deadline=None)
@given(FACTS)
def test_what_is_unknown_fires_only_where_a_rule_asks_for_it(facts: dict[str, Any]) -> None:
    advice = CALCULATOR.evaluate_fields(facts, NOON)
    asking = {rule.id for rule in CALCULATOR.ruleset.rules if rule.missing_reason is not None}
    by_missing = {fired.rule for fired in advice.fired if fired.via == "missing"}
    assert by_missing == asking & set(advice.undecided_rules)
    matched = {trace.rule for trace in advice.trace if trace.result is True}
    assert {fired.rule for fired in advice.fired if fired.via == "match"} == matched


POINTS = st.lists(st.tuples(st.integers(-100, 100), st.sampled_from([None, *LEVELS])), min_size=1, max_size=6)


def level_of(rules: list[tuple[int, str | None]]) -> tuple[int, str]:
    texts = [
        rule(name=f"AA-{100 + n}", points=points, more=f"floor: {floor}" if floor else "")
        for n, (points, floor) in enumerate(rules)
    ]
    advice = calculator(*texts).evaluate({"n": 9}, NOON)
    assert 0 <= advice.score <= 100
    return LEVELS.index(advice.level), advice.level_from


@settings(max_examples=60, deadline=None)
@given(POINTS, st.sampled_from(LEVELS))
def test_a_further_floor_never_lowers_the_level(rules: list[tuple[int, str | None]], floor: str) -> None:
    before, _ = level_of(rules)
    after, _ = level_of([*rules, (0, floor)])
    assert after == max(before, LEVELS.index(floor))


@settings(max_examples=60, deadline=None)
@given(POINTS)
def test_no_level_lies_below_a_floor_or_its_band(rules: list[tuple[int, str | None]]) -> None:
    level, level_from = level_of(rules)
    score = max(0, min(100, sum(points for points, _ in rules)))
    band = 2 if score >= 60 else 1 if score >= 30 else 0
    floors = [LEVELS.index(floor) for _, floor in rules if floor]
    assert level == max([band, *floors])
    assert level_from == ("floor" if level > band else "score")


# --- hashes

DESIGN = "sha256:c77167975813340a0abba1ace799c0a3bd88d668cf3b50cf2e1cfea1dd58dff2"


def hash_of(text: str) -> str:
    return FrictionCalculator.load(text).ruleset.hash


def test_the_shipped_file_has_the_hash_of_the_design() -> None:
    assert hash_of(SHIPPED) == DESIGN


def test_a_foreign_canonicaliser_gives_the_same_hash() -> None:
    from hashlib import sha256  # noqa: PLC0415 - the oracle, kept apart

    parsed = yaml.safe_load(SHIPPED)
    assert f"sha256:{sha256(rfc8785.dumps(parsed)).hexdigest()}" == DESIGN


def test_comments_layout_and_key_order_do_not_change_the_hash() -> None:
    document = yaml.safe_load(SHIPPED)
    backwards = dict(reversed(document.items()))
    assert hash_of(yaml.safe_dump(backwards, sort_keys=False)) == DESIGN
    assert hash_of(yaml.safe_dump(document, default_flow_style=True, width=40)) == DESIGN
    assert hash_of(json.dumps(document, indent=3)) == DESIGN
    assert hash_of("# a comment\n" + SHIPPED.replace("rules:\n", "rules:   # all\n")) == DESIGN


def test_what_changes_the_meaning_changes_the_hash() -> None:
    def changed(**members: Any) -> str:
        return hash_of(yaml.safe_dump(yaml.safe_load(SHIPPED) | members, sort_keys=False))

    rules = yaml.safe_load(SHIPPED)["rules"]
    assert changed(rules=rules[::-1]).startswith("sha256:dfe61fef")
    assert changed(rules=rules[::-1]).endswith("f708")
    pay = changed(rules=[{**rules[0], "points": 36}, *rules[1:]])
    assert pay.startswith("sha256:34bc4347")
    assert pay.endswith("e12")
    assert (
        len(
            {
                DESIGN,
                pay,
                changed(mode="draft"),
                changed(version=2),
                changed(title="x"),
                changed(rules=rules[1:]),
            }
        )
        == 6
    )


def test_the_hash_tells_true_from_one_and_text_from_number() -> None:
    texts = [
        rule("{field: t, op: in, value: [a]}", more=more)
        for more in ('tags: ["1"]', "tags: [a]", "enabled: true", "")
    ]
    assert len({hash_of(rulefile(text)) for text in texts}) == 4


@settings(max_examples=60, deadline=None)
@given(FACTS, FACTS)
def test_the_input_digest_depends_on_body_facts_alone(facts: dict[str, Any], other: dict[str, Any]) -> None:
    body = {name for name, field in CALCULATOR.ruleset.fields.items() if field.source.startswith("body:")}
    mixed = {name: value for name, value in facts.items() if name in body} | {
        name: value for name, value in other.items() if name not in body
    }
    assert (
        CALCULATOR.evaluate_fields(facts, NOON).input_sha256
        == CALCULATOR.evaluate_fields(mixed, NOON).input_sha256
    )
