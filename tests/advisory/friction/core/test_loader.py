"""A rule file is refused with code, line and rule for whatever is wrong with it (FRICTION 2.8)."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from advisory.friction import FrictionCalculator
from advisory.friction.core.document import MAX_BYTES, dotted
from advisory.friction.core.rules import RuleSetInvalid, load_ruleset
from tests.advisory.friction.rulefile import (
    FIELDS,
    HEAD,
    SCALE,
    calculator,
    line_of,
    refusal,
    rule,
    rulefile,
)
from tests.shared import PROJECT

pytestmark = pytest.mark.unit

WHOLE = rulefile(rule())


def with_line(old: str, new: str) -> str:
    assert old in WHOLE
    return WHOLE.replace(old, new)


def nested(depth: int) -> str:
    return "{not: " * (depth - 1) + "{field: b, op: eq, value: true}" + "}" * (depth - 1)


def many_leaves(count: int) -> str:
    half = ", ".join(["{field: b, op: eq, value: true}"] * (count // 2))
    rest = ", ".join(["{field: b, op: eq, value: true}"] * (count - count // 2))
    return f"{{any: [{{all: [{half}]}}, {{all: [{rest}]}}]}}"


# What is changed, the piece of text on the line that is blamed, and the code.
REFUSED = {
    "flow left open": ("title: Tiny", "title: [Tiny", "description", "yaml_syntax"),
    "tab as indent": ("    title: T", "\t title: T", "\t title", "yaml_syntax"),
    "two documents": ("rules:", "---\nrules:", "---", "yaml_multiple_documents"),
    "key twice": ("title: Tiny", "title: Tiny\ntitle: Again", "title: Again", "yaml_duplicate_key"),
    "key twice in flow": ("d: {type: number}", "d: {type: number, type: list}", "type: list", "yaml_duplicate_key"),
    "anchor": ("title: Tiny", "title: &t Tiny", "&t", "yaml_alias"),
    "alias": ("title: Tiny", "title: *t", "*t", "yaml_alias"),
    "anchor on a list": ("rules:", "rules: &r", "rules: &r", "yaml_alias"),
    "anchor on a key": ("title: Tiny", "&k title: Tiny", "&k", "yaml_alias"),
    "tag": ("title: Tiny", "title: !!str Tiny", "!!str", "yaml_tag"),
    "tag on a key": ("title: Tiny", "!!str title: Tiny", "!!str", "yaml_tag"),
    "python tag": ("title: Tiny", "title: !!python/name:os.system x", "python", "yaml_tag"),
    "number as key": ("  n: {type", "  5: {type", "  5: {type", "yaml_key_type"),
    "list as key": ("title: Tiny", "? [a, {b: c}]\n: Tiny", "? [a", "yaml_key_type"),
    "mapping as key": ("title: Tiny", "? {a: b}\n: Tiny", "? {a", "yaml_key_type"),
    "merge key": ("title: Tiny", "<<: {title: Tiny}", "<<", "yaml_key_type"),
    "yes as key": ("title: Tiny", "yes: Tiny", "yes: Tiny", "yaml_key_type"),
    "escape of no character": ("title: Tiny", 'title: "\\U00110000"', "title", "yaml_syntax"),
    "escape of a surrogate": ("title: Tiny", 'title: "\\ud800"', "title", "value_invalid"),
    "escape of a control": ("title: Tiny", 'title: "\\0"', "title", "value_invalid"),
    "raw control": ("title: Tiny", "title: Ti\x07ny", "title", "yaml_syntax"),
    "top key unknown": ("title: Tiny", "title: Tiny\ncolour: red", "colour", "key_unknown"),
    "top key missing": ("version: 1\n", "", "schema", "key_missing"),
    "other schema": ("ecp.friction/1", "ecp.friction/9", "schema", "schema_unknown"),
    "bad id": ("id: tiny", "id: Tiny", "id: Tiny", "value_invalid"),
    "id of one letter": ("id: tiny", "id: t", "id: t", "value_invalid"),
    "version zero": ("version: 1", "version: 0", "version", "value_invalid"),
    "version true": ("version: 1", "version: true", "version", "value_invalid"),
    "title empty": ("title: Tiny", 'title: ""', "title", "value_invalid"),
    "title long": ("title: Tiny", f"title: {'x' * 201}", "title: x", "value_invalid"),
    "description long": ("For tests", "x" * 2001, "description", "value_invalid"),
    "mode": ("mode: draft", "mode: live", "mode", "value_invalid"),
    "time without zone": ("00:00:00Z", "00:00:00", "effective_from", "value_invalid"),
    "time unquoted": ('"2026-01-01T00:00:00Z"', "2026-01-01T00:00:00Z", "effective_from", "yaml_value_type"),
    "zone": ("timezone: UTC", "timezone: Mars/Olympus", "timezone", "timezone_unknown"),
    "zone of this machine": ("timezone: UTC", "timezone: localtime", "timezone", "timezone_unknown"),
    "zone a number": ("timezone: UTC", "timezone: 1", "timezone", "timezone_unknown"),
    "advisory text": ("advisory: true", 'advisory: "true"', "advisory", "advisory_not_true"),
    "advisory null": ("advisory: true", "advisory:", "advisory", "advisory_not_true"),
    "fields a list": ("fields:\n", "fields: []\nrest:\n", "fields", "value_invalid"),
    "field name": ("  n: {type", "  n..x: {type", "n..x", "value_invalid"),
    "field type": ("d: {type: number}", "d: {type: float}", "float", "value_invalid"),
    "field type missing": ("d: {type: number}", "d: {unit: EUR}", "unit", "key_missing"),
    "field key": ("d: {type: number}", "d: {type: number, most: 3}", "most", "key_unknown"),
    "field scalar": ("d: {type: number}", "d: number", "d: number", "value_invalid"),
    "source": ("d: {type: number}", 'd: {type: number, from: "env:HOME"}', "env", "source_unknown"),
    "source of the body": ("d: {type: number}", 'd: {type: number, from: "body:/agent"}', "agent", "source_unknown"),
    "source of no history": ("d: {type: number}", 'd: {type: number, from: "history:luck"}', "luck", "source_unknown"),
    "source with a bad escape": ("d: {type: number}", 'd: {type: number, from: "body:/context/~2"}', "~2", "source_unknown"),
    "values empty": ("values: [a, b]", "values: []", "values", "value_invalid"),
    "values mistyped": ("values: [a, b]", "values: [a, 1]", "values", "value_invalid"),
    "values of booleans": ("b: {type: boolean}", "b: {type: boolean, values: [true]}", "values: [true]", "value_invalid"),
    "min of text": ("t: {type: string}", "t: {type: string, min: 1}", "min: 1", "value_invalid"),
    "min above max": ("min: 0, max: 100", "min: 9, max: 1", "min: 9", "value_invalid"),
    "sensitive": ("t: {type: string}", "t: {type: string, sensitive: 1}", "sensitive", "value_invalid"),
    "scoring a list": ("scoring: {method: sum, cap: 100, bands: {low: 0, medium: 30, high: 60}}", "scoring: []", "scoring", "value_invalid"),
    "method": ("method: sum", "method: max", "method", "value_invalid"),
    "cap": ("cap: 100", "cap: 1001", "cap", "value_invalid"),
    "bands a list": ("bands: {low: 0, medium: 30, high: 60}", "bands: [0, 30, 60]", "bands", "bands_invalid"),
    "band low": ("low: 0", "low: 1", "bands", "bands_invalid"),
    "band equal": ("medium: 30", "medium: 60", "bands", "bands_invalid"),
    "band above cap": ("high: 60", "high: 101", "bands", "bands_invalid"),
    "band a text": ("high: 60", 'high: "60"', "bands", "bands_invalid"),
    "band missing": (", high: 60", "", "bands", "key_missing"),
    "level missing": ("low: {steps: []}, ", "", "levels", "key_missing"),
    "level steps missing": ("low: {steps: []}", "low: {}", "levels", "key_missing"),
    "rules a mapping": ("rules:\n", "rules: {}\nrest:\n", "rules", "value_invalid"),
    "rule a text": ("  - id: AA-100\n", "  - text\n  - id: AA-100\n", "- text", "value_invalid"),
    "rule key": ("    points: 10", "    pionts: 10\n    points: 10", "pionts", "key_unknown"),
    "rule key missing": ("    points: 10\n", "", "id: AA-100", "key_missing"),
    "rule id": ("AA-100", "AA-1", "AA-1", "rule_id_invalid"),
    "rule id with a line end": ("id: AA-100", 'id: "AA-100\\n"', "AA-100", "rule_id_invalid"),
    "points high": ("points: 10", "points: 101", "points", "value_invalid"),
    "points true": ("points: 10", "points: true", "points", "value_invalid"),
    "floor": ("points: 10", "points: 10\n    floor: top", "floor", "value_invalid"),
    "on_missing": ("points: 10", "points: 10\n    on_missing: stop", "on_missing", "value_invalid"),
    "fire without a reason": ("points: 10", "points: 10\n    on_missing: fire", "on_missing", "missing_reason_absent"),
    "enabled": ("points: 10", "points: 10\n    enabled: 1", "enabled", "value_invalid"),
    "owner": ("points: 10", "points: 10\n    owner: 1", "owner", "value_invalid"),
    "tags": ("points: 10", "points: 10\n    tags: [1]", "tags", "value_invalid"),
    "references": ("points: 10", "points: 10\n    references: x", "references", "value_invalid"),
    "valid_until": ("points: 10", 'points: 10\n    valid_until: "2026-02-30"', "valid_until", "value_invalid"),
    "review_by": ("points: 10", "points: 10\n    review_by: soon", "review_by", "value_invalid"),
    "reason a number": ('reason: "n is {n}."', "reason: 5", "reason", "value_invalid"),
    "placeholder": ("{n}.", "{q}.", "reason", "placeholder_unknown"),
    "placeholder with blanks": ("{n}.", "{ n }.", "reason", "placeholder_unknown"),
    "placeholder attribute": ("{n}.", "{n.__class__}.", "reason", "placeholder_unknown"),
    "doubled braces": ("{n}.", "{{n}}.", "reason", "placeholder_unknown"),
    "open brace": ("{n}.", "{n.", "reason", "placeholder_unknown"),
    "close brace": ("{n}.", "n}.", "reason", "placeholder_unknown"),
    "condition a text": ("when: {field: n, op: gte, value: 5}", "when: always", "when", "value_invalid"),
    "condition empty": ("when: {field: n, op: gte, value: 5}", "when: {}", "when", "key_missing"),
    "condition two kinds": ("when: {field: n, op: gte, value: 5}", "when: {all: [{field: b, op: exists}], any: []}", "when", "key_unknown"),
    "any empty": ("when: {field: n, op: gte, value: 5}", "when: {any: []}", "when", "value_invalid"),
    "not a list": ("when: {field: n, op: gte, value: 5}", "when: {not: []}", "when", "value_invalid"),
    "too deep": ("{field: n, op: gte, value: 5}", nested(9), "when", "too_deep"),
    "too many leaves": ("{field: n, op: gte, value: 5}", many_leaves(65), "when", "too_many_leaves"),
    "leaf without value": (", value: 5", "", "when", "key_missing"),
    "leaf with another key": ("value: 5", "value: 5, unless: 6", "when", "key_unknown"),
    "exists with value": ("op: gte, value: 5", "op: exists, value: 5", "when", "key_unknown"),
    "field undeclared": ("field: n,", "field: q,", "when", "field_undeclared"),
    "field a number": ("field: n,", "field: 5,", "when", "field_undeclared"),
    "operator": ("op: gte", "op: matches", "when", "operator_unknown"),
    "operator a list": ("op: gte", "op: [gte]", "when", "operator_unknown"),
    "operator type": ("field: n, op: gte", "field: l, op: gte", "when", "operator_type"),
    "operand null": ("value: 5", "value: null", "when", "operand_type"),
    "operand below min": ("value: 5", "value: -1", "when", "operand_domain"),
    "operand above max": ("value: 5", "value: 101", "when", "operand_domain"),
    "step a text": ("points: 10", "points: 10\n    steps: [delay]", "steps", "step_invalid"),
    "step without type": ("points: 10", "points: 10\n    steps: [{minutes: 5}]", "steps", "step_invalid"),
    "step type": ("points: 10", "points: 10\n    steps: [{type: block}]", "steps", "step_unknown"),
    "step type a list": ("points: 10", "points: 10\n    steps: [{type: [delay]}]", "steps", "step_unknown"),
    "steps a mapping": ("points: 10", "points: 10\n    steps: {type: delay}", "steps", "value_invalid"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_fault_is_named_where_it_stands(name: str) -> None:
    old, new, blamed, code = REFUSED[name]
    text = with_line(old, new)
    found = refusal(text)
    assert found[0][0] == code
    assert blamed in text.splitlines()[found[0][1] - 1]


@pytest.mark.parametrize(
    "scalar",
    [
        "5.5", "1.0", "-0.5", ".5", "5.", "1e3", "1E3", "1.5e3", "012", "0o17", "0x1F", "0b11", "+5", "1_000", "-0x1",
        "08", "-007", "12:30", "1:2:3", "2026-01-01", "2026-1-1", "2026-01-01 10:00:00", "yes", "No", "ON", "off",
        "True", "FALSE", "Null", ".inf", "-.INF", ".nan", "=", "9007199254740992", "1" * 5000,
    ],
)  # fmt: skip
def test_an_unquoted_scalar_that_yaml_would_reinterpret_is_refused(scalar: str) -> None:
    assert refusal(with_line("value: 5", f"value: {scalar}")) == [
        ("yaml_value_type", line_of(WHOLE, "when"), "AA-100")
    ]


@pytest.mark.parametrize("scalar", ["y", "n", "x1", "1x", "pay-100", "v1.2", "12:30h", "é", "a:b", "-", "…"])
def test_an_unquoted_word_stays_a_word(scalar: str) -> None:
    text = (
        with_line("title: Tiny", f"title: {scalar}")
        if scalar != "-"
        else with_line("title: Tiny", "title: '-'")
    )
    assert FrictionCalculator.load(text).ruleset.title == scalar


def test_integers_keep_their_sign_and_null_is_null() -> None:
    run = calculator(rule("{field: m, op: in, value: [-3, 0, 9007199254740991]}"))
    assert run.ruleset.document["rules"][0]["when"]["value"] == [-3, 0, 9007199254740991]


def test_all_problems_are_told_at_once_sorted_by_line() -> None:
    text = (
        with_line("title: Tiny", "title: 5")
        .replace("points: 10", "points: ten")
        .replace("op: gte", "op: like")
    )
    assert refusal(text) == [
        ("value_invalid", line_of(text, "title: 5"), None),
        ("operator_unknown", line_of(text, "when"), "AA-100"),
        ("value_invalid", line_of(text, "points"), "AA-100"),
    ]


def test_a_problem_carries_its_column_and_path() -> None:
    with pytest.raises(RuleSetInvalid) as refused:
        load_ruleset(with_line("value: 5", 'value: "5"'))
    assert refused.value.problems[0].document() == {
        "code": "operand_type",
        "message": "the value must be of type integer, as n is",
        "line": line_of(WHOLE, "when"),
        "column": WHOLE.splitlines()[line_of(WHOLE, "when") - 1].index("5") + 1,
        "path": "rules[0].when.value",
        "rule": "AA-100",
    }
    assert "operand_type" in str(refused.value)


def test_what_is_refused_once_is_not_refused_again() -> None:
    """A value that YAML would change is no further problem of type or operand."""
    text = (
        with_line("version: 1", "version: 1.5")
        .replace("points: 10", "points: 1.5")
        .replace("max: 100", "max: 1e2")
    )
    assert {code for code, _, _ in refusal(text)} == {"yaml_value_type"}
    assert refusal(
        with_line("d: {type: number}", "m2: {type: float}").replace("field: n,", "field: m2,")
    ) == [("value_invalid", line_of(WHOLE, "d: {type"), None)]


def test_at_most_fifty_problems_are_told() -> None:
    assert len(refusal(rulefile(*[rule(name="bad") for _ in range(60)]))) == 50


def test_a_rule_id_names_one_rule() -> None:
    text = rulefile(rule(), rule())
    assert refusal(text) == [("rule_id_duplicate", len(text.splitlines()) - 4, "AA-100")]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"\xff\xfe", "yaml_syntax"), (b"a: \xc3", "yaml_syntax"), ("", "value_invalid"), ("# only words", "value_invalid"),
        ("- a", "value_invalid"), ("text", "value_invalid"), ("null", "value_invalid"), ("[" * 5000, "too_deep"),
        ("{a: " * 5000, "too_deep"), ("a: b: c", "yaml_syntax"), ("%YAML 9.9\n--- a", "yaml_syntax"),
        ("&a [*a]", "yaml_alias"), ("? a\n? b\n", "key_missing"), ("a: 'x", "yaml_syntax"),
        ("? " * 3000, "yaml_key_type"), ("? ? a", "yaml_key_type"), ("\ud800", "yaml_syntax"),
    ],
)  # fmt: skip
def test_what_is_no_rule_file_at_all_is_refused(text: str | bytes, code: str) -> None:
    assert refusal(text)[0][0] == code


def test_size_counts_in_bytes() -> None:
    padding = "#" + "é" * ((MAX_BYTES - len(WHOLE.encode()) - 1) // 2)
    fits = WHOLE + padding
    FrictionCalculator.load(fits)
    assert refusal(fits + "éé") == [("too_large", 1, None)]


def test_limits_hold_at_their_last_good_value() -> None:
    fields = (
        "fields:\n" + "".join(f"  f{n}: {{type: integer}}\n" for n in range(199)) + "  n: {type: integer}\n"
    )
    calculator(rule(), fields=fields)
    assert refusal(rulefile(rule(), fields=fields + "  more: {type: list}\n"))[0][0] == "too_many_fields"
    calculator(rule(nested(8)))
    calculator(rule(many_leaves(64)))
    twenty = "steps: [" + ", ".join(["{type: delay, minutes: 1}"] * 20) + "]"
    calculator(rule(more=twenty))
    assert refusal(rulefile(rule(more=twenty[:-1] + ", {type: delay, minutes: 1}]")))[0][0] == "step_invalid"
    parts = ", ".join(["{field: b, op: exists}"] * 65)
    assert refusal(rulefile(rule(f"{{all: [{parts}]}}")))[0][0] == "value_invalid"


def test_five_hundred_rules_load_and_one_more_does_not() -> None:
    rules = [rule(name=f"AA-{1000 + n}") for n in range(500)]
    assert len(calculator(*rules).ruleset.rules) == 500
    assert refusal(rulefile(*rules, rule())) == [
        ("too_many_rules", line_of(rulefile(rule()), "rules:") + 1, None)
    ]


def test_fields_find_their_source() -> None:
    fields = (
        "fields:\n  agent_age_days: {type: integer}\n  agent.age_days: {type: integer}\n"
        '  who: {type: string, from: "body:/action"}\n  z: {type: string, from: "ledger:zone"}\n'
        '  odd: {type: string, from: "body:/context/a~1b/~0c"}\n'
    )
    found = calculator(fields=fields).ruleset.fields
    assert {name: field.source for name, field in found.items()} == {
        "agent_age_days": "history:agent_age_days",
        "agent.age_days": "body:/context/agent/age_days",
        "who": "body:/action",
        "z": "ledger:zone",
        "odd": "body:/context/a~1b/~0c",
    }


def test_a_file_is_loaded_from_its_path_and_from_its_text() -> None:
    path = PROJECT / "config" / "friction_rules.yml"
    loaded = FrictionCalculator.load(path).ruleset.hash
    assert loaded == FrictionCalculator.load(path.read_text(encoding="utf-8")).ruleset.hash
    assert loaded == FrictionCalculator.load(path.read_bytes()).ruleset.hash


def test_a_missing_file_is_the_callers_error() -> None:
    with pytest.raises(FileNotFoundError):
        FrictionCalculator.load(Path("nowhere.yml"))


def test_paths_read_like_code() -> None:
    assert dotted(("rules", 0, "when", "all", 12, "value")) == "rules[0].when.all[12].value"


# --- whatever the bytes are, the answer is a rule set or a refusal, soon

PIECES = st.sampled_from(
    [*HEAD.splitlines(), *FIELDS.splitlines(), *SCALE.splitlines(), *rule().splitlines(), "rules:", "? ", "- ",
     "{", "}", "[", "]", "&a", "*a", "!!x", "|", ">", "'", '"', ": ", "#", "\t", "---", "...", "%TAG", "\x00", "é"]
)  # fmt: skip


def answered(source: str | bytes) -> float:
    start = time.process_time()
    try:
        FrictionCalculator.load(source)
    except RuleSetInvalid as error:
        lines = [problem.line for problem in error.problems]
        assert lines == sorted(lines)
        assert all(line >= 1 for line in lines)
    return time.process_time() - start


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400))
@example(b"\xef\xbb\xbf" + WHOLE.encode())
def test_random_bytes_are_refused_and_nothing_worse(source: bytes) -> None:
    assert answered(source) < 1


@settings(max_examples=60, deadline=None)
@given(st.lists(PIECES, max_size=30).map("\n".join))
def test_random_pieces_of_a_rule_file_are_judged(source: str) -> None:
    assert answered(source) < 1


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, len(WHOLE) - 1),
    st.integers(0, 12),
    st.sampled_from(["", "{", "]", "\n", ": ", "&", "5.0", "  "]),
)
def test_a_good_file_with_one_wound_is_judged(start: int, length: int, piece: str) -> None:
    assert answered(WHOLE[:start] + piece + WHOLE[start + length :]) < 1
