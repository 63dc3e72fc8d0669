"""The commands: what they print and with what they end; three of them need no database."""

from __future__ import annotations

import json
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from advisory.friction.models import FrictionAdvice
from ecp_project.kernel.clock import utc_now
from tests.advisory.friction.rulefile import rule, rulefile
from tests.advisory.friction.world import DF1, SHIPPED

if TYPE_CHECKING:
    from pathlib import Path

    from tests.advisory.friction.world import World


def run(*arguments: str) -> tuple[int, str]:
    out = StringIO()
    try:
        call_command(*arguments, stdout=out, stderr=out)
    except CommandError as error:
        return error.returncode, f"{out.getvalue()}{error}"
    except SystemExit as end:
        return int(end.code or 0), out.getvalue()
    return 0, out.getvalue()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yml"
    path.write_bytes(SHIPPED)
    return path


@pytest.mark.unit
def test_validate_names_line_and_code(file: Path) -> None:
    assert run("friction_validate", str(file)) == (0, f"ecp-default v1, 8 rules, {HASH}\n")
    assert json.loads(run("friction_validate", str(file), "--json")[1]) == {
        "valid": True,
        "hash": HASH,
        "warnings": [],
    }
    file.write_text(rulefile(rule(points=101)), encoding="utf-8")
    code, told = run("friction_validate", str(file))
    assert (code, told) == (1, f"{file}:26: value_invalid a whole number from -100 to 100 (AA-100)\n")
    code, told = run("friction_validate", str(file), "--json")
    assert (code, json.loads(told)["errors"][0]["code"]) == (1, "value_invalid")
    file.write_text(rulefile(rule()), encoding="utf-8")
    assert "warning points_idle" in run("friction_validate", str(file))[1]
    assert run("friction_validate", str(file.parent / "none.yml"))[0] == 2


HASH = "sha256:c77167975813340a0abba1ace799c0a3bd88d668cf3b50cf2e1cfea1dd58dff2"


@pytest.mark.unit
def test_cases_are_compared_by_what_they_expect(file: Path, tmp_path: Path) -> None:
    cases = tmp_path / "cases.json"
    good = {"id": "a", "input": DF1["context"], "expected": {"level": "high"}}
    cases.write_text(json.dumps({"cases": [good, good | {"id": "b", "expected": {"level": "low", "x": 1}}]}))
    code, told = run("friction_test", str(file), str(cases))
    assert code == 1
    assert told.splitlines() == [
        'b: level is "high", expected "low"',
        "b: x is null, expected 1",
        "2 cases, 1 not as expected",
    ]
    cases.write_text(json.dumps({"cases": []}))
    assert run("friction_test", str(file), str(cases)) == (0, "0 cases, 0 not as expected\n")
    assert json.loads(run("friction_test", str(file), str(cases), "--json")[1])["failed"] == 0
    for bad in ("{", "[]", '{"cases": [1]}', '{"cases": [{"expected": {}, "input": 1}]}'):
        cases.write_text(bad)
        assert run("friction_test", str(file), str(cases))[0] == 2, bad


@pytest.mark.unit
def test_a_difference_is_told_rule_by_rule(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yml"
    text = SHIPPED.decode().replace("points: 35", "points: 36").replace("cap: 100", "cap: 90")
    other.write_text(text, encoding="utf-8")
    code, told = run("friction_diff", str(file), str(other))
    assert code == 0
    assert told.splitlines()[0] == f"old {HASH}"
    assert told.splitlines()[2:] == ["~ PAY-100 points: 35 -> 36", "~ scoring.cap: 100 -> 90"]
    assert json.loads(run("friction_diff", str(file), str(other), "--json")[1])["old_hash"] == HASH
    other.write_text("no rules", encoding="utf-8")
    assert run("friction_diff", str(file), str(other))[0] == 2


@pytest.mark.db
def test_a_replay_flips_what_other_rules_judge_otherwise(world: World, file: Path) -> None:
    for n in range(3):
        world.ask(DF1 | {"explanation": f"Pay supplier invoice number {n}."})
    same = json.loads(run("friction_replay", str(file), "--json", "--log", "acme")[1])
    assert (same["total"], same["replayable"], same["changed"]) == (3, 3, 0)
    assert same["matrix"]["high"] == {"low": 0, "medium": 0, "high": 3}
    assert same["rules"]["PAY-100"] == {"old": 3, "new": 3}

    lenient = SHIPPED.replace(b"value: 1000000}", b"value: 9000000}")
    file.write_bytes(lenient)
    first, second = (run("friction_replay", str(file), "--json", "--log", "acme")[1] for _ in range(2))
    assert first == second
    flipped = json.loads(first)
    assert (flipped["changed"], flipped["matrix"]["high"]["medium"]) == (3, 3)
    assert flipped["delay_minutes"] == {"old": 45, "new": 0}
    assert len(flipped["examples"]) == 3
    code, told = run("friction_replay", str(file), "--fail-if", "changed:10%", "--log", "acme")
    assert code == 1
    assert "changed: 100.0 %, limit 10 %" in told
    assert run("friction_replay", str(file), "--fail-if", "high:+5%", "--log", "acme")[0] == 0
    assert run("friction_replay", str(file), "--fail-if", "medium:+5%", "--log", "acme")[0] == 1
    assert (
        json.loads(run("friction_replay", str(file), "--json", "--last", "1", "--log", "acme")[1])["total"]
        == 1
    )
    for bad in (("--fail-if", "high"), ("--last", "0"), ("--last", "100001")):
        assert run("friction_replay", str(file), "--log", "acme", *bad)[0] == 2


@pytest.mark.db
def test_a_replay_says_how_much_it_cannot_know(world: World, file: Path) -> None:
    for _ in range(2):
        world.ask()
    newest = FrictionAdvice.objects.latest("pk")
    FrictionAdvice.objects.filter(pk=newest.pk).update(facts_erased_at=utc_now())
    text = SHIPPED.decode().replace(
        "currency:            {type", "other: {type: string}\n  currency:            {type"
    )
    file.write_text(
        text.replace("{field: action, op: glob", "{field: other, op: missing}, {field: action, op: glob"),
        encoding="utf-8",
    )
    told: dict[str, Any] = json.loads(run("friction_replay", str(file), "--json", "--log", "acme")[1])
    counts = (told["replayable"], told["partially_replayable"], told["not_replayable"])
    assert counts == (0, 1, 1)
    assert run("friction_replay", str(file), "--fail-if", "not_replayable:10%", "--log", "acme")[0] == 1
