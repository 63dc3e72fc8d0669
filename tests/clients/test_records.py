"""What `record` makes of its arguments: normal form, defaults, refusals at the call."""

from __future__ import annotations

import enum
import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecp_client import InvalidInput
from ecp_client.ids import Ids, new_id
from ecp_client.records import annotation_line, decision_line
from ecp_project.kernel.canonical import parse_document
from ecp_project.kernel.errors import EcpError
from ecp_project.kernel.ids import is_uuid7
from ledger.core.decision import PRIVATE_MEMBERS, DecisionRecord
from tests.clients.conftest import PLAIN

pytestmark = pytest.mark.unit


def sent(agent: str | None = "pricing-bot", **fields: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(decision_line(PLAIN | fields, agent).body)
    return document


def refused(**fields: Any) -> tuple[str, Any]:
    with pytest.raises(InvalidInput) as caught:
        decision_line(PLAIN | fields, "pricing-bot", thorough=True)
    return caught.value.code, caught.value.problem.get("pointer")


def test_id_time_and_agent_are_given_at_the_call() -> None:
    before = datetime.now(UTC)
    document = sent()
    assert is_uuid7(document["id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", document["ts"])
    assert abs(datetime.fromisoformat(document["ts"]) - before).total_seconds() < 5
    assert document["agent"] == "pricing-bot"
    assert sent(agent="other-bot") | {"id": "", "ts": ""} != document | {"id": "", "ts": ""}


def test_what_the_caller_gives_goes_before_the_defaults() -> None:
    given = {"id": "019b0a2c-4e00-7000-8000-000000000003", "ts": "2026-03-02T09:00:01.000000Z"}
    assert sent(**given).items() >= given.items()
    assert sent(ts=datetime(2026, 3, 2, 10, tzinfo=UTC))["ts"] == "2026-03-02T10:00:00.000000Z"
    assert sent(id=given["id"])["ts"] == sent(id=given["id"])["ts"] == "2025-12-10T21:30:34.368000Z"
    assert refused(ts=datetime(2026, 3, 2)) == ("bad_value", "/ts")  # noqa: DTZ001 - that is the fault


def test_public_text_is_normalised_and_private_text_is_not() -> None:
    decomposed = "cafe\u0301 prices rose by 5 %"
    document = sent(explanation=decomposed, subject={"type": "shop", "ref": "cafe\u0301"},
                    context={"name": "cafe\u0301"}, explanation_detail="cafe\u0301")  # fmt: skip
    assert document["explanation"] == "café prices rose by 5 %"
    assert document["subject"]["ref"] == "café"
    assert document["context"]["name"] == document["explanation_detail"] == "cafe\u0301"


def test_string_enums_tuples_and_other_mappings_become_json() -> None:
    class Risk(enum.StrEnum):
        LOW = "low"

    document = sent(risk=Risk.LOW, alternatives=({"option": "wait", "reason": "nobody buys"},), zone=None)
    assert document["risk"] == "low"
    assert document["alternatives"] == [{"option": "wait", "reason": "nobody buys"}]
    assert "zone" not in document


@pytest.mark.parametrize(
    ("fields", "code", "pointer"),
    [
        ({"explanation": "too short"}, "explanation_too_short", "/explanation"),
        ({"explanation": "\u200b" * 12}, "explanation_too_short", "/explanation"),
        ({"explanation": None}, "missing_field", "/explanation"),
        ({"explanation": 7}, "wrong_type", "/explanation"),
        ({"action": "Price Change"}, "bad_value", "/action"),
        ({"risk": "huge"}, "bad_value", "/risk"),
        ({"colour": "red"}, "unknown_field", "/colour"),
        ({"context": ["stock"]}, "wrong_type", "/context"),
        ({"context": {"price": float("nan")}}, "bad_value", "/context"),
        ({"context": {"at": datetime(2026, 1, 1, tzinfo=UTC)}}, "bad_value", "/context"),
        ({"context": {"name": "\ud800"}}, "bad_text", None),
        ({"context": {"n": 2**53}}, "integer_out_of_range", "/context/n"),
        ({"id": "7"}, "bad_value", "/id"),
    ],
)
def test_what_the_ledger_would_refuse_is_refused_at_the_call(
    fields: dict[str, Any], code: str, pointer: str | None
) -> None:
    assert refused(**fields) == (code, pointer)


def test_a_context_that_contains_itself_is_refused() -> None:
    context: dict[str, Any] = {}
    context["self"] = context
    assert refused(context=context) == ("bad_value", "/context")


@given(
    explanation=st.text(max_size=40),
    context=st.dictionaries(
        st.text(max_size=8),
        st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
                     lambda inner: st.lists(inner, max_size=3), max_leaves=5),
        max_size=4,
    ),
)  # fmt: skip
def test_a_thorough_check_passes_exactly_what_the_ledger_takes(
    explanation: str, context: dict[str, Any]
) -> None:
    try:
        line = decision_line({"action": "a.b", "explanation": explanation, "context": context}, "bot-1",
                             thorough=True)  # fmt: skip
    except InvalidInput:
        return
    try:
        DecisionRecord.from_document(parse_document(line.body, private=PRIVATE_MEMBERS))
    except EcpError as error:  # pragma: no cover - the finding
        raise AssertionError(line.body) from error


def test_an_annotation_is_checked_like_a_statement() -> None:
    uid = new_id(1_800_000_000_000)
    document = json.loads(annotation_line(uid, "outcome", "Twelve were sold.", "success", None).body)
    assert (document["target"], document["kind"], document["status"]) == (uid, "outcome", "success")
    wrong = [
        ("x", "note", "Twelve were sold.", None),
        (uid, "note", "short", None),
        (uid, "note", "Twelve were sold.", "success"),
        (uid, "praise", "Twelve were sold.", None),
    ]
    for target, kind, text, status in wrong:
        with pytest.raises(InvalidInput):
            annotation_line(target, kind, text, status, None)


def test_ids_ascend_within_a_millisecond_and_when_the_clock_steps_back() -> None:
    ids = Ids()
    made = [
        ids.next(now) for now in [1_800_000_000_000] * 1000 + [1_799_999_999_000] * 1000 + [1_800_000_000_001]
    ]
    assert made == sorted(set(made))
    assert all(map(is_uuid7, made))


def test_ids_move_to_the_next_millisecond_when_one_is_used_up() -> None:
    ids = Ids()
    first = ids.next(1_800_000_000_000)
    ids._tail = (1 << 74) - 1
    second = ids.next(1_800_000_000_000)
    assert second > first
    assert int(second.replace("-", "")[:12], 16) == 1_800_000_000_001
