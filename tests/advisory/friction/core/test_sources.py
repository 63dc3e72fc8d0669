"""Facts out of a proposal by JSON pointer (FRICTION 3)."""

from __future__ import annotations

from typing import Any

import pytest

from advisory.friction.core.sources import History, from_body, history_of, is_body, is_context

pytestmark = pytest.mark.unit

BODY: dict[str, Any] = {
    "action": "payment.transfer",
    "context": {
        "amount": 0.750,
        "whole": 7.0,
        "big": 1e21,
        "a/b": {"~c": 5},
        "list": [1.5],
        "none": None,
        "flag": False,
    },
}


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("body:/action", "payment.transfer"), ("body:/context/amount", "0.75"), ("body:/context/whole", "7"),
        ("body:/context/big", "1e+21"), ("body:/context/a~1b/~0c", 5), ("body:/context/absent", None),
        ("body:/context/none", None), ("body:/context/flag", False), ("body:/context/amount/deeper", None),
        ("body:/context/list", [1.5]), ("body:/context/list/0", None),
    ],
)  # fmt: skip
def test_a_pointer_finds_its_value(source: str, value: Any) -> None:
    found = from_body(source, BODY)
    assert (found, type(found)) == (value, type(value))


def test_a_proposal_without_context_holds_no_facts() -> None:
    assert from_body("body:/context/amount", {"action": "x"}) is None


def test_sources_tell_what_they_are() -> None:
    assert history_of("history:agent_age_days") is History.AGENT_AGE_DAYS
    assert history_of("body:/action") is None
    assert (is_body("body:/action"), is_context("body:/action"), is_context("body:/context/x")) == (
        True,
        False,
        True,
    )
    assert not is_body("clock:evaluated_at")
