"""Operators on each type: which pairs load, which operands, and what they answer (FRICTION 2.1 and 2.2)."""

from __future__ import annotations

import time
from datetime import timedelta
from fnmatch import translate
from re import compile as compiled
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advisory.friction.core.conditions import OPERATORS
from advisory.friction.core.rules import zone_names
from advisory.friction.core.values import FactState, FactType, Field, instant, rendered, shown, usable
from tests.advisory.friction.rulefile import HEAD, NOON, calculator, refusal, rule, rulefile

pytestmark = pytest.mark.unit

NAMES = {"string": "t", "integer": "m", "number": "d", "boolean": "b", "timestamp": "w", "list": "l"}
OPERAND = {"string": '"x"', "integer": "5", "number": '"0.5"', "boolean": "true",
           "timestamp": '"2026-01-01T00:00:00Z"', "list": '"x"'}  # fmt: skip

# Written out from the table of the design, so that the table of the code is not compared with itself.
TYPES = {
    "eq": "string integer number boolean timestamp", "ne": "string integer number boolean timestamp",
    "gt": "integer number timestamp", "gte": "integer number timestamp", "lt": "integer number timestamp",
    "lte": "integer number timestamp", "between": "integer number timestamp", "in": "string integer number",
    "not_in": "string integer number", "contains": "string list", "contains_any": "list", "contains_all": "list",
    "starts_with": "string", "ends_with": "string", "glob": "string",
    "exists": "string integer number boolean timestamp list",
    "missing": "string integer number boolean timestamp list", "older_than": "timestamp", "within": "timestamp",
    "hour_between": "timestamp", "weekday_in": "timestamp",
}  # fmt: skip


def good_operand(op: str, kind: str) -> str:
    one = OPERAND[kind]
    return {
        "between": f", value: [{one}, {one}]", "in": f", value: [{one}]", "not_in": f", value: [{one}]",
        "contains_any": f", value: [{one}]", "contains_all": f", value: [{one}]", "exists": "", "missing": "",
        "older_than": ", value: 36h", "within": ", value: 36h", "hour_between": ", value: [7, 19]",
        "weekday_in": ", value: [mon]",
    }.get(op, f", value: {one}")  # fmt: skip


def leaf_on(name: str, op: str, operand: str) -> str:
    return rule(f"{{field: {name}, op: {op}{operand}}}")


def test_there_are_no_other_operators() -> None:
    assert set(OPERATORS) == set(TYPES)


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("op", TYPES)
def test_a_pair_of_operator_and_type_loads_or_is_refused(op: str, kind: str) -> None:
    text = rulefile(leaf_on(NAMES[kind], op, good_operand(op, kind)))
    if kind in TYPES[op].split():
        calculator(leaf_on(NAMES[kind], op, good_operand(op, kind)))
    else:
        assert refusal(text)[0][0] == "operator_type"


@pytest.mark.parametrize(
    ("name", "op", "operand"),
    [
        ("m", "eq", '"5"'), ("m", "eq", "true"), ("b", "eq", "1"), ("b", "eq", '"true"'), ("t", "eq", "5"),
        ("d", "eq", '"1."'), ("d", "eq", '"01"'), ("d", "eq", '"1e3"'), ("d", "eq", '"1.0000000001"'), ("d", "gt", "true"),
        ("d", "eq", '"+1"'), ("d", "eq", '" 1"'), ("d", "eq", '"1\\n"'), ("w", "gt", '"2026-01-01"'),
        ("w", "gt", '"2026-02-30T00:00:00Z"'), ("w", "gt", '"2026-01-01T00:00:00"'), ("w", "gt", '"2026-01-01T00:00Z"'),
        ("w", "gt", '"2026-01-01 00:00:00Z"'), ("w", "gt", '"2026-01-01T00:00:00.1234567Z"'), ("m", "between", "5"),
        ("m", "between", "[5]"), ("m", "between", "[1, 2, 3]"), ("m", "between", "[2, 1]"), ("m", "in", "[]"), ("m", "in", "5"),
        ("m", "in", '[5, "6"]'), ("t", "contains", "5"), ("l", "contains", "5"), ("l", "contains_any", "[]"),
        ("l", "contains_any", "a"), ("l", "contains_all", "[1]"), ("t", "starts_with", '""'), ("t", "ends_with", "5"),
        ("t", "glob", '""'), ("t", "glob", '"[a]*"'), ("t", "glob", "5"), ("w", "older_than", "36"), ("w", "older_than", "0h"),
        ("w", "older_than", "36s"), ("w", "older_than", "100000h"), ("w", "within", '"1h\\n"'), ("w", "hour_between", "[7, 7]"),
        ("w", "hour_between", "[24, 1]"), ("w", "hour_between", "[1, 25]"), ("w", "hour_between", "[7]"), ("w", "hour_between", "7"),
        ("w", "hour_between", "[true, 2]"), ("w", "hour_between", "[-1, 2]"), ("w", "weekday_in", "[]"), ("w", "weekday_in", "mon"),
        ("w", "weekday_in", "[monday]"), ("w", "weekday_in", "[1]"),
    ],
)  # fmt: skip
def test_an_operand_of_the_wrong_form_is_refused(name: str, op: str, operand: str) -> None:
    assert refusal(rulefile(leaf_on(name, op, f", value: {operand}")))[0][0] == "operand_type"


@pytest.mark.parametrize(
    ("name", "op", "operand"),
    [
        ("s", "eq", "c"), ("s", "ne", "c"), ("s", "in", "[a, c]"), ("n", "gt", "101"), ("n", "lt", "-1"),
        ("n", "between", "[0, 101]"), ("n", "not_in", "[0, 101]"), ("v", "contains", "q"),
        ("v", "contains_any", "[p, q]"), ("e", "gte", '"0.25"'), ("e", "eq", '"0.7500000001"'),
    ],
)  # fmt: skip
def test_an_operand_that_the_field_can_never_be_is_refused(name: str, op: str, operand: str) -> None:
    fields = (
        "fields:\n  n: {type: integer, min: 0, max: 100}\n  s: {type: string, values: [a, b]}\n"
        '  v: {type: list, values: [p]}\n  e: {type: number, min: "0.5", max: 3}\n'
    )
    expected = "operand_type" if "7500000001" in operand else "operand_domain"
    assert refusal(rulefile(leaf_on(name, op, f", value: {operand}"), fields=fields))[0][0] == expected


def answer(name: str, op: str, operand: str, fact: Any, *, head: str = HEAD) -> Any:
    [trace] = calculator(leaf_on(name, op, operand), head=head).evaluate({name: fact}, NOON).trace
    return trace.leaves[0]["result"]


def value(text: str) -> str:
    return f", value: {text}"


@pytest.mark.parametrize(
    ("name", "op", "operand", "fact", "expected"),
    [
        ("t", "eq", "é", "e\u0301", False), ("t", "eq", "a", "A", False), ("t", "contains", '""', "x", True),
        ("t", "contains", "ay", "pay", True), ("t", "starts_with", "pa", "pay", True), ("t", "starts_with", "ay", "pay", False),
        ("t", "ends_with", "ay", "pay", True), ("t", "ends_with", "pa", "pay", False), ("t", "in", "[a, b]", "c", False),
        ("t", "not_in", "[a, b]", "c", True), ("b", "ne", "true", False, True), ("b", "eq", "true", 1, "unknown"),
        ("m", "eq", "1", True, "unknown"), ("m", "eq", "1", "1", "unknown"), ("m", "between", "[1, 3]", 1, True),
        ("m", "between", "[1, 3]", 3, True), ("m", "between", "[1, 3]", 0, False), ("m", "gte", "3", 2, False),
        ("m", "gt", "3", 4, True), ("m", "lt", "3", 3, False), ("m", "lte", "3", 4, False), ("m", "ne", "3", 4, True),
        ("d", "eq", "3", "3.000000000", True), ("d", "gt", '"-0.5"', "-0.4", True), ("d", "eq", '"0"', "-0", True),
        ("d", "lt", '"999999999999999999"', "999999999999999998.999999999", True), ("d", "eq", "1", "1.0000000000", "unknown"),
        ("d", "between", '["-1", "1"]', "-1.000000001", False), ("d", "eq", '"0.1"', 0, False),
        ("l", "contains", "a", [], False), ("l", "contains", "a", ["b", "a", "a"], True), ("l", "contains", "a", ["a", 1], "unknown"),
        ("l", "contains_any", "[a, b]", [], False), ("l", "contains_all", "[a, b]", ["a"], False), ("l", "contains_all", "[a, b]", ["b", "a"], True),
        ("l", "contains", "a", "a", "unknown"), ("l", "contains", "a", {"a": 1}, "unknown"), ("s", "eq", "a", "c", "unknown"),
        ("s", "exists", None, "c", False), ("s", "missing", None, "c", True), ("s", "missing", None, "a", False), ("n", "exists", None, 101, False),
        ("n", "exists", None, 100, True), ("n", "missing", None, "100", True), ("n", "exists", None, None, False), ("b", "exists", None, False, True),
        ("w", "eq", '"2026-11-22T12:00:00Z"', "2026-11-22t13:00:00+01:00", True), ("w", "gt", '"2026-11-22T12:00:00Z"', "2026-11-22T12:00:00.1Z", True),
        ("w", "eq", '"2026-11-22T12:00:00Z"', "2026-11-22T12:00:60Z", "unknown"), ("w", "eq", '"2026-11-22T12:00:00Z"', "2026-11-22T24:00:00Z", "unknown"),
        ("w", "eq", '"2026-11-22T12:00:00Z"', 5, "unknown"), ("w", "eq", '"2026-11-22T12:00:00Z"', "٢026-11-22T12:00:00Z", "unknown"),
        ("w", "lt", '"2026-11-22T12:00:00Z"', "0001-01-01T00:00:00+01:00", "unknown"), ("w", "gt", '"2026-11-22T12:00:00Z"', "9999-12-31T23:59:59Z", True),
        ("w", "weekday_in", "[fri]", "9999-12-31T23:59:59Z", True), ("w", "older_than", "1m", "2026-11-22T11:59:00Z", False),
        ("w", "older_than", "1m", "2026-11-22T11:58:59.999999Z", True), ("w", "within", "1m", "2026-11-22T11:59:00Z", True),
        ("w", "within", "1d", "2026-11-22T12:00:00.000001Z", False), ("w", "within", "99999d", "1900-01-01T00:00:00Z", True),
        ("w", "hour_between", "[7, 24]", "2026-11-22T23:59:59Z", True), ("w", "hour_between", "[7, 24]", "2026-11-22T06:59:59Z", False),
        ("w", "hour_between", "[0, 24]", "2026-11-22T00:00:00Z", True), ("w", "hour_between", "[19, 7]", "2026-11-22T07:00:00Z", False),
        ("w", "hour_between", "[19, 7]", "2026-11-22T19:00:00Z", True), ("w", "weekday_in", "[sat, sun]", "2026-11-22T12:00:00Z", True),
        ("w", "weekday_in", "[mon]", "2026-11-22T12:00:00Z", False),
    ],
)  # fmt: skip
def test_a_leaf_answers_by_the_table(
    name: str, op: str, operand: str | None, fact: Any, expected: Any
) -> None:
    assert answer(name, op, value(operand) if operand is not None else "", fact) == expected


def test_local_time_is_that_of_the_rule_set() -> None:
    """The clocks of Vienna went back at 01:00 UTC on 25 October 2026: both hours before and after are 2 o'clock."""
    vienna = HEAD.replace("timezone: UTC", "timezone: Europe/Vienna")
    for fact, expected in (
        ("2026-10-24T23:59:59Z", False), ("2026-10-25T00:30:00Z", True), ("2026-10-25T01:30:00Z", True),
        ("2026-10-25T02:00:00Z", False),
    ):  # fmt: skip
        assert answer("w", "hour_between", value("[2, 3]"), fact, head=vienna) is expected
    assert answer("w", "weekday_in", value("[mon]"), "2026-10-25T23:00:00Z", head=vienna) is True


def test_a_zone_of_the_far_west_does_not_leave_the_calendar() -> None:
    west = HEAD.replace("timezone: UTC", "timezone: Pacific/Honolulu")
    assert answer("w", "hour_between", value("[0, 1]"), "0001-01-01T00:00:00Z", head=west) is True


def test_zones_are_those_of_the_data_that_we_ship() -> None:
    assert {"UTC", "Europe/Vienna", "America/Argentina/Ushuaia"} <= zone_names()


# --- glob

LETTERS = st.text("ab?*", min_size=1, max_size=8)


@settings(max_examples=500, deadline=None)
@given(LETTERS, st.text("abc?*", max_size=10))
def test_glob_agrees_with_the_matcher_of_the_standard_library(pattern: str, text: str) -> None:
    expected = compiled(translate(pattern)).match(text) is not None
    assert GLOB(pattern, text) is expected


def GLOB(pattern: str, text: str) -> bool:  # noqa: N802 - reads as the operator
    from advisory.friction.core.conditions import leaf  # noqa: PLC0415 - beside its only use

    field = Field("t", FactType.STRING, "body:/context/t")
    return leaf(field=field, op="glob", value=pattern, zone=NOON.tzinfo).test(text, NOON)  # type: ignore[arg-type]  # glob looks at no zone


@pytest.mark.parametrize(
    "limit_s",
    [
        pytest.param(0.05, marks=pytest.mark.perf),  # as promised, on a quiet machine
        1.0,  # on any machine: one that tries every way needs hours
    ],
)
@pytest.mark.parametrize(
    "pattern",
    ["a*" * 50 + "b", "*a" * 1000, "*" * 1000 + "b", "?" * 100 + "*b", "*" + "a?" * 40 + "b*", "*?a" * 30 + "b", "a" * 1000],
)  # fmt: skip
def test_no_pattern_takes_long(pattern: str, limit_s: float) -> None:
    text = "a" * 100_000
    assert min(seconds_for(pattern, text) for _ in range(5)) < limit_s  # a neighbour may slow one of them


def seconds_for(pattern: str, text: str) -> float:
    start = time.thread_time()
    GLOB(pattern, text)
    return time.thread_time() - start


# --- facts


@pytest.mark.parametrize(
    ("kind", "fact", "state"),
    [
        ("integer", None, "missing"), ("integer", 5, "present"), ("integer", 5.0, "mistyped"), ("integer", 11, "out_of_domain"),
        ("integer", -1, "out_of_domain"), ("integer", 0, "present"), ("integer", 10, "present"), ("integer", True, "mistyped"),
        ("list", ["a"], "present"), ("list", [], "present"), ("list", ["a", "z"], "out_of_domain"), ("list", [None], "mistyped"),
        ("string", "a", "present"), ("string", "z", "out_of_domain"), ("string", ["a"], "mistyped"),
    ],
)  # fmt: skip
def test_a_fact_is_usable_only_within_its_declaration(kind: str, fact: Any, state: str) -> None:
    numeric = kind == "integer"
    field = Field("x", FactType(kind), "body:/context/x", None if numeric else frozenset({"a", "b"}),
                  0 if numeric else None, 10 if numeric else None)  # fmt: skip
    assert usable(field, fact)[0] is FactState(state)


def test_instants_are_read_with_their_fractions() -> None:
    assert instant("2026-11-22T12:00:00.000001Z") == NOON + timedelta(microseconds=1)
    assert instant("2026-11-22T12:00:00-00:00") == NOON


PLAIN = Field("x", FactType.STRING, "body:/context/x")
SECRET = Field("x", FactType.STRING, "body:/context/x", sensitive=True)


@pytest.mark.parametrize(
    ("fact", "text"),
    [
        (None, "unknown"), (True, "true"), (False, "false"), (-7, "-7"), ("1.50", "1.50"), ([], ""),
        (["b", "a"], "b, a"), ([True, 1, None], "true, 1, unknown"), ({"a": 1}, "unknown"), ("x" * 120, "x" * 120),
        ("x" * 121, "x" * 120 + "…"), ("{n}", "{n}"), (["y" * 200], "y" * 120 + "…"),
    ],
)  # fmt: skip
def test_a_fact_in_a_sentence(fact: Any, text: str) -> None:
    assert rendered(PLAIN, fact) == text


def test_a_long_list_in_a_sentence_is_cut() -> None:
    assert rendered(PLAIN, ["abcde"] * 1000) == ", ".join(["abcde"] * 30)[:120] + "…"


@pytest.mark.parametrize(
    ("fact", "visible"),
    [
        (None, None), (5, 5), (True, True), ("x" * 121, "x" * 120 + "…"), (["a", 1], ["a", "(no text)"]),
        (["a"] * 20, ["a"] * 20), (["a"] * 21, ["a"] * 20 + ["…"]), ({"a": 1}, "(no single value)"), (1.5, "(no single value)"),
    ],
)  # fmt: skip
def test_a_fact_in_a_trace_is_short(fact: Any, visible: Any) -> None:
    assert shown(PLAIN, fact) == visible


def test_a_sensitive_fact_is_shown_nowhere() -> None:
    assert rendered(SECRET, "canary") == "(hidden)"
    assert shown(SECRET, "canary") == "(hidden)"
    assert shown(SECRET, 7) == "(hidden)"
    assert rendered(SECRET, None) == "unknown"
    fields = "fields:\n  n: {type: integer, sensitive: true}\n  t: {type: string, sensitive: true}\n"
    run = calculator(
        rule("{all: [{field: n, op: gte, value: 5}, {field: t, op: contains, value: can}]}"), fields=fields
    )
    advice = run.evaluate({"n": 424242, "t": "canary"}, NOON)
    told = f"{advice.document()} {[trace.document() for trace in advice.trace]} {run.explain(advice)}"
    assert advice.fired[0].reason == "n is (hidden)."
    assert "canary" not in told
    assert "424242" not in told
