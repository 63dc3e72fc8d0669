"""Context summaries: vectors, each action, nothing lost, and policies refused with their place."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecp_project.kernel.canonical import encode, encode_any
from ecp_project.kernel.strict_yaml import load
from ledger.core.statement import validate
from ledger.core.summary import (
    DEFAULT,
    STRICT,
    ContextPolicy,
    PolicyError,
    check_choice,
    decade_band,
    policy_from,
    summarise,
)
from tests.shared import PROJECT, shared_path

pytestmark = pytest.mark.unit

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "chars", "sealed"]), inner)
    ),
    max_leaves=5,
)
names = st.sampled_from(["a", "b", "c", "_x", "Name", "\u00e9", "sealed", "_other"])
rules = st.fixed_dictionaries(
    {},
    optional={
        "a": st.sampled_from([{"action": "keep"}, {"action": "seal"}, {"action": "auto"}]),
        "b": st.sampled_from([{"action": "band", "edges": [-1, 0.5, 10]}, {"action": "band"}]),
        "c": st.sampled_from(
            [{"action": "date", "precision": "day"}, {"action": "category", "values": ["x", "other"]}]
        ),
    },
)


def show(value: Any, **rule: Any) -> Any:
    summary, _ = summarise({"x": value}, ContextPolicy("p", 1, {"x": rule} if rule else {}))
    return summary["x"]


def test_vectors_have_their_summary_and_sealed_values() -> None:
    for case in json.loads(shared_path("vectors/ledger/cases/summary.json").read_text()):
        summary, sealed = summarise(case["context"], ContextPolicy("p", 1, case["policy"]))
        assert encode(summary) == encode(case["summary"])
        assert list(sealed) == case["sealed_ptrs"]
        assert {ptr: encode_any(value).decode() for ptr, value in sealed.items()} == case["sealed_values"]


@given(st.dictionaries(names, values, max_size=6), rules)
def test_nothing_is_lost_and_nothing_shown_is_sealed_twice(context: Any, rule: Any) -> None:
    summary, sealed = summarise(context, ContextPolicy("p", 1, rule))
    restored = {
        name: shown
        for name, shown in summary.items()
        if f"/context/{name}" not in sealed and name != "_other"
    }
    for ptr, value in sealed.items():
        restored |= value if ptr == "/context/_other" else {ptr.removeprefix("/context/"): value}
    assert encode_any(restored) == encode_any(context)
    assert list(sealed) == sorted(sealed)


@given(st.dictionaries(names, values, max_size=6), rules)
def test_every_summary_fits_a_statement(context: Any, rule: Any) -> None:
    policy = ContextPolicy("some-policy", 3, rule)
    summary, _ = summarise(context, policy)
    validate(
        {
            "v": "ecp.decision/1",
            "id": "019b0a2c-4e00-7000-8000-0000000000aa",
            "org": "acme",
            "agent": "bot",
            "action": "act",
            "ts": "2026-03-02T09:00:00.000000Z",
            "explanation": "long enough to pass",
            "context_summary": summary,
            "summary_policy": policy.label,
        }
    )
    encode(summary)


def test_strict_shows_only_how_many_members_there_are() -> None:
    context = {"a": 1, "B": True}
    assert summarise(context, STRICT) == ({"_other": 2}, {"/context/_other": context})
    assert summarise({}, STRICT) == ({}, {})
    assert (STRICT.label, DEFAULT.label) == ("strict@1", "default@1")


@pytest.mark.parametrize(
    ("number", "band"),
    [
        (0, "0"),
        (-0.0, "0"),
        (0.25, "0..1"),
        (-0.25, "-1..0"),
        (5e-324, "0..1"),
        (1, "1..10"),
        (9.999999999999998, "1..10"),
        (10, "10..100"),
        (349.99, "100..1000"),
        (-17, "-100..-10"),
        (999_999_999_999_999, "100000000000000..1000000000000000"),
        (10**15, ">=1000000000000000"),
        (-(10**15), "<=-1000000000000000"),
        (1.7e308, ">=1000000000000000"),
    ],
)
def test_decade_bands(number: float, band: str) -> None:
    assert decade_band(number) == band


@given(st.floats(min_value=1, max_value=2.0**54) | st.floats(min_value=1, max_value=10_000))
def test_a_number_lies_in_its_band_as_it_is_written(number: float) -> None:
    written = Decimal(repr(number))
    low, _, high = decade_band(number).partition("..")
    assert written >= 10**15 if low == ">=1000000000000000" else Decimal(low) <= written < Decimal(high)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, None),
        (False, False),
        (99_999_999, 99_999_999),
        (-99_999_999, -99_999_999),
        (100_000_000, {"sealed": True}),
        (5.0, 5),
        (5.5, {"sealed": True}),
        (1e300, {"sealed": True}),
        ("LMP-22", "LMP-22"),
        ("a" * 64, "a" * 64),
        ("a" * 65, {"sealed": True}),
        ("", {"sealed": True}),
        ("12345678", "12345678"),
        ("123456789", {"sealed": True}),
        ("caf\u00e9", {"sealed": True}),
        ("LMP\n", {"sealed": True}),
        ([1], {"sealed": True}),
        ({}, {"sealed": True}),
    ],
)
def test_keep_shows_short_harmless_values(value: Any, shown: Any) -> None:
    assert show(value, action="keep") == shown
    assert type(show(value, action="keep")) is type(shown)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (-0.1, "<0"),
        (0, "0..0.5"),
        (0.5, "0.5..10"),
        (9.999, "0.5..10"),
        (10, ">=10"),
        (1e300, ">=10"),
        (True, {"sealed": True}),
        ("5", {"sealed": True}),
    ],
)
def test_bands_are_closed_below_and_open_above(value: Any, shown: Any) -> None:
    assert show(value, action="band", edges=[0, 0.5, 10]) == shown


def test_decimal_edges_are_compared_as_decimals() -> None:
    assert show(0.1, action="band", edges=[0.1]) == ">=0.1"
    assert show(0.09999999999999999, action="band", edges=[0.1]) == "<0.1"


@pytest.mark.parametrize(
    ("value", "precision", "shown"),
    [
        ("2026-03-02", "year", "2026"),
        ("2026-03-02T09:00:00Z", "month", "2026-03"),
        ("2026-03-02 09:00", "day", "2026-03-02"),
        ("2026-03-02x", "day", {"sealed": True}),
        ("02.03.2026", "year", {"sealed": True}),
        (20260302, "year", {"sealed": True}),
    ],
)
def test_dates_are_cut_to_their_precision(value: Any, precision: str, shown: Any) -> None:
    assert show(value, action="date", precision=precision) == shown


def test_a_category_is_itself_or_other() -> None:
    assert show("red", action="category", values=["red"]) == "red"
    assert show("blue", action="category", values=["red"]) == "other"
    assert show(7, action="category", values=["red"]) == {"sealed": True}


def test_a_value_that_merely_equals_its_summary_in_python_is_sealed() -> None:
    summary, sealed = summarise({"x": {"members": True}}, DEFAULT)
    assert summary == {"x": {"members": 1}}
    assert sealed == {"/context/x": {"members": True}}


def test_shipped_policies_load() -> None:
    document = load((PROJECT / "config" / "context_policy.yml").read_text("utf-8"))
    labels = [policy_from(policy).label for policy in document["policies"]]
    assert labels == ["default@1", "strict@1", "example-refunds@1"]
    assert policy_from(document["policies"][0]) == DEFAULT
    assert policy_from(document["policies"][1]) == STRICT


def of(**rule: Any) -> dict[str, Any]:
    return {"name": "shop", "version": 1, "rules": {"x": rule}}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "mapping of name"),
        ({"version": 1, "rules": {}}, "name: must match"),
        ({"name": "shop", "rules": {}}, "shop.version"),
        ({"name": "shop", "version": True, "rules": {}}, "shop.version"),
        ({"name": "shop", "version": 1}, "shop.rules: must be a mapping"),
        ({"name": "shop", "version": 1, "rules": {}, "colour": 1}, "shop: unknown member colour"),
        ({"name": "shop", "version": 1, "names": "all"}, "shop.names"),
        ({"name": "shop", "version": 1, "names": "none", "rules": {}}, "shop.rules: with names: none"),
        ({"name": "shop", "version": 1, "rules": {"_x": {"action": "keep"}}}, "shop.rules._x: a rule is for"),
        ({"name": "shop", "version": 1, "rules": {"X": {"action": "keep"}}}, "shop.rules.X: a rule is for"),
        ({"name": "shop", "version": 1, "rules": {"x": "keep"}}, "shop.rules.x: must be a mapping"),
        (of(action="show"), "shop.rules.x.action: must be one of"),
        (of(), "shop.rules.x.action"),
        (of(action="keep", edges=[1]), "shop.rules.x.edges: keep does not know it"),
        (of(action="band", edges=[]), "shop.rules.x.edges: must be 1 to 32 numbers"),
        (of(action="band", edges=[True]), "shop.rules.x.edges: must be 1 to 32 numbers"),
        (of(action="band", edges=[1, 1]), "ascending"),
        (of(action="band", edges=[float("inf")]), "2\\^53-1"),
        (of(action="band", edges=[float("nan")]), "2\\^53-1"),
        (of(action="date"), "shop.rules.x.precision: must be one of year, month, day"),
        (of(action="date", precision=["year"]), "precision"),
        (of(action="category"), "shop.rules.x.values"),
        (of(action="category", values=["e\u0301"]), "NFC"),
        (of(action="category", values=["x" * 65]), "at most 64"),
        (of(action="category", values=[1]), "each must be a text"),
    ],
)
def test_a_wrong_policy_is_refused_with_its_place(document: Any, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        policy_from(document)


# --- which policy an organisation chooses

LABELS = {"default@1", "strict@1"}


@pytest.mark.parametrize(
    "choice", [{}, {"*": "strict@1"}, {"refund.grant": "default@1", "*": "strict@1"}, {"a" * 128: "strict@1"}]
)
def test_choice_of_policies_that_there_are_is_taken(choice: Any) -> None:
    check_choice(choice, LABELS)


@pytest.mark.parametrize(
    ("choice", "why"),
    [
        (None, "maps actions to policies"),
        (["strict@1"], "maps actions to policies"),
        ("strict@1", "maps actions to policies"),
        ({"*": "strict"}, 'for "\\*" there is no such policy; there are: default@1, strict@1'),
        ({"*": "Strict@1"}, "no such policy"),
        ({"*": None}, "no such policy"),
        ({"*": ["strict@1"]}, "no such policy"),
        ({"refund.grant": "strict@2"}, 'for "refund.grant" there is no such policy'),
        ({"": "strict@1"}, "no action of a decision"),
        ({"Refund Grant": "strict@1"}, '"Refund Grant" is no action of a decision'),
        ({"a" * 129: "strict@1"}, "no action of a decision"),
        ({"**": "strict@1"}, "no action of a decision"),
    ],
)
def test_choice_that_would_stop_appends_is_refused(choice: Any, why: str) -> None:
    with pytest.raises(PolicyError, match=why):
        check_choice(choice, LABELS)
