"""The public vectors of the friction calculator, each case exactly."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from advisory.friction import FrictionCalculator
from advisory.friction.core.calculator import input_sha256, named
from advisory.friction.core.conditions import Condition, Node, compiled, leaf
from advisory.friction.core.rules import RuleSetInvalid
from advisory.friction.core.values import FactType, Field, instant
from tests.advisory.friction.rulefile import NOON
from tests.shared import PROJECT, shared_folder, shared_path

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit

FOLDER = "vectors/friction"


def cases(name: str) -> list[Any]:
    """The cases of a vector file; one that is skipped with its reason where the file is not at hand."""
    path = shared_folder() / FOLDER / name
    if not path.exists():
        reason = f"{FOLDER}/{name} is not at hand: set ECP_SHARED to the folder that holds it"
        return [pytest.param(None, marks=pytest.mark.skip(reason=reason))]
    found = json.loads(path.read_text(encoding="utf-8"))["cases"]
    return [pytest.param(case, id=case["id"]) for case in found]


def advice_equals(rules: Path, case: dict[str, Any]) -> None:
    calculator = FrictionCalculator.load(rules)
    at = instant(case.get("evaluated_at", "2026-11-22T12:00:00Z"))
    assert at is not None
    told = calculator.evaluate(case["input"], at).document()
    for step in told["steps"]:
        step.pop("n")
    assert {name: told[name] for name in case["expected"]} == case["expected"]


@pytest.mark.parametrize("case", cases("default_cases.json"))
def test_shipped_rules_give_the_published_advice(case: dict[str, Any]) -> None:
    advice_equals(PROJECT / "config" / "friction_rules.yml", case)


@pytest.mark.parametrize("case", cases("org_default_cases.json"))
def test_rules_of_an_organisation_give_the_published_advice(case: dict[str, Any]) -> None:
    advice_equals(shared_path(f"{FOLDER}/org_default_rules.yml"), case)


def test_the_shipped_file_is_the_published_one_byte_for_byte() -> None:
    shipped = (PROJECT / "config" / "friction_rules.yml").read_bytes()
    assert shipped == shared_path(f"{FOLDER}/default_rules.yml").read_bytes()


@pytest.mark.parametrize("case", cases("operators.json"))
def test_one_leaf_gives_the_published_result(case: dict[str, Any]) -> None:
    spec = "".join(f", {name}: {json.dumps(value)}" for name, value in case["spec"].items())
    value = "" if case["value"] is None else f", value: {json.dumps(case['value'])}"
    calculator = FrictionCalculator.load(
        'schema: ecp.friction/1\nid: one\nversion: 1\ntitle: One\ndescription: ""\nmode: draft\n'
        f'effective_from: "2026-01-01T00:00:00Z"\ntimezone: {case["timezone"]}\nadvisory: true\n'
        f"fields: {{x: {{type: {case['type']}{spec}}}}}\n"
        "scoring: {method: sum, cap: 100, bands: {low: 0, medium: 30, high: 60}}\n"
        "levels: {low: {steps: []}, medium: {steps: []}, high: {steps: []}}\n"
        f"rules: [{{id: AA-100, title: T, reason: r, points: 1, when: {{field: x, op: {case['op']}{value}}}}}]\n"
    )
    facts = {} if case["fact"] == "__absent__" else {"x": case["fact"]}
    at = instant(case["evaluated_at"])
    assert at is not None
    [rule] = calculator.evaluate(facts, at).trace
    assert [leaf["result"] for leaf in rule.leaves] == [case["result"]]
    assert named(rule.result) == case["result"]


@pytest.mark.parametrize("case", cases("refusals.json"))
def test_a_bad_file_is_refused_with_the_published_code(case: dict[str, Any]) -> None:
    if case["code"] is None:
        FrictionCalculator.load(case["yaml"])
        return
    with pytest.raises(RuleSetInvalid) as refused:
        FrictionCalculator.load(case["yaml"])
    assert refused.value.problems[0].code == case["code"]


@pytest.mark.parametrize("case", cases("input_digest.json"))
def test_the_digest_binds_advice_to_its_proposal(case: dict[str, Any]) -> None:
    assert input_sha256(case["fields"]) == case["input_sha256"]


def combined(kind: str, *truths: bool | None) -> bool | None:
    """What a node makes of parts with these results."""
    field = Field("x", FactType.BOOLEAN, "body:/context/x")
    part = Node("leaf", leaf=leaf(field=field, op="eq", value=True, zone=NOON.tzinfo))  # type: ignore[arg-type]  # no leaf of a truth table looks at a zone
    condition: Condition = compiled(Node(kind, (part,) * len(truths)))  # type: ignore[arg-type]  # kinds come from a file
    return condition.combine(truths)


@pytest.mark.parametrize("kind", ["not", "all", "any"])
def test_truth_tables_are_the_published_ones(kind: str) -> None:
    table = json.loads(shared_path(f"{FOLDER}/kleene.json").read_text(encoding="utf-8"))[kind]
    for *parts, expected in table:
        truths = [None if part == "unknown" else part for part in parts]
        assert named(combined(kind, *truths)) == expected, (kind, parts)
