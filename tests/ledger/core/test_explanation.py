"""Visible characters (LEDGER section 4) and the lint that only warns."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecp_project.kernel.errors import BadRequest
from ledger.core.decision import DecisionRecord, lint, visible_characters
from ledger.core.fields import Explained
from ledger.core.summary import ContextPolicy
from tests.shared import shared_path

pytestmark = pytest.mark.unit

HINDI = (
    "\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e "
    "\u092f\u0939 \u0920\u0940\u0915 \u0939\u0948"
)
GOOD = "The parcel was lost, so the customer gets a refund."


def test_vectors_count_as_published() -> None:
    for case in json.loads(shared_path("vectors/ledger/cases/explanation.json").read_text()):
        assert visible_characters(case["text"]) == case["visible"], case["text"]
        assert (case["visible"] >= 10) is case["accept"]


@pytest.mark.parametrize(
    ("text", "visible"),
    [
        ("refunded10", 10),
        ("a b c d e f g h i", 9),
        ("\u200b" * 10, 0),
        ("\u3164" * 10, 0),
        (
            HINDI,
            15,
        ),
        ("\U0001f1eb\U0001f1f7" * 5, 10),
        ("a" + "\u0301" * 9, 1),
    ],
)
def test_examples_of_the_security_document(text: str, visible: int) -> None:
    assert visible_characters(text) == visible


@given(st.text(max_size=30))
def test_acceptance_agrees_with_the_count(text: str) -> None:
    try:
        Explained(100).check(text)
    except BadRequest as error:
        if error.code == "explanation_too_short":
            assert visible_characters(text) < 10
    else:
        assert visible_characters(text) >= 10


@given(st.text(st.characters(max_codepoint=0x7F)))
def test_the_count_of_ascii_is_the_general_one(text: str) -> None:
    general = visible_characters(text + "\u00e9") - 1
    assert visible_characters(text) == general


# --- lint


def warnings(explanation: str) -> list[str]:
    return lint(DecisionRecord(agent="bot", action="act", explanation=explanation))


def test_a_plain_sentence_raises_no_warning() -> None:
    assert warnings(GOOD) == []
    assert warnings("\u4ef7\u683c\u5df2\u7ecf\u4e0b\u8c03\u767e\u5206\u4e4b\u4e94\u4e86\u5427") == []
    assert warnings("Refund of 1,200.50 EUR for order 4711 of 2026-03-02, as agreed.") == []


@pytest.mark.parametrize(
    ("explanation", "warning"),
    [
        ("internationalisation", "single word"),
        ("aaaa bbbb aaaa bbbb", "distinct letters"),
        ("Write to erika@example.org about the refund.", "e-mail address"),
        ("Called +49 170 1234567 about the refund.", "phone number"),
        ("Called 0170/1234567 about the refund.", "phone number"),
        ("Paid to DE02 1203 0000 0000 2020 51 today.", "IBAN"),
        ("Paid to DE02120300000000202051 today.", "IBAN"),
    ],
)
def test_doubtful_text_is_warned_of_and_never_refused(explanation: str, warning: str) -> None:
    assert any(warning in line for line in warnings(explanation))


def test_a_boolean_without_a_rule_is_warned_of() -> None:
    record = DecisionRecord(agent="bot", action="act", explanation=GOOD, context={"vip": True, "n": 1})
    assert lint(record) == []
    assert len(lint(record, ContextPolicy("p", 1))) == 1
    assert lint(record, ContextPolicy("p", 1, {"vip": {"action": "keep"}})) == []
    assert lint(record, ContextPolicy("p", 1, names_none=True)) == []
