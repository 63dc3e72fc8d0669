"""DecisionRecord: golden statement, validity by construction, sealing of all that is private."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecp_project.kernel.canonical import encode, encode_any, parse_statement
from ecp_project.kernel.errors import EcpError
from ecp_project.kernel.ids import is_uuid7
from ledger.core.decision import DecisionRecord
from ledger.core.sealing import commitment
from ledger.core.statement import validate
from ledger.core.summary import DEFAULT, STRICT, ContextPolicy
from tests.shared import shared_path

pytestmark = pytest.mark.unit

NOW = datetime(2026, 3, 2, 9, 0, 2, tzinfo=UTC)
VIA = {"method": "api_key", "id": "ab12cd34"}
ID = "019b0a2c-4e00-7000-8000-000000000003"
MINIMUM: dict[str, Any] = {
    "agent": "refund-bot",
    "action": "refund.approve",
    "explanation": "The goods arrived damaged.",
}


def record(**members: Any) -> DecisionRecord:
    return DecisionRecord.from_document(MINIMUM | members)


def refusal(**members: Any) -> EcpError:
    with pytest.raises(EcpError) as caught:
        record(**members)
    return caught.value


def test_golden_statement_is_built_byte_for_byte() -> None:
    golden = json.loads(shared_path("vectors/ledger/golden/sealed.json").read_text())
    entry = shared_path("vectors/ledger/golden/entries.ndjson").read_bytes().splitlines()[2]
    openings = b"".join(bytes.fromhex(part["r"]) for part in golden["parts"])
    built = DecisionRecord.from_json(json.dumps(golden["record"]).encode()).to_statement(
        org="acme",
        policy=ContextPolicy("acme-refunds", 1, golden["policy"]),
        now=NOW,
        via={"method": "api_key", "id": "ek_7Q2M"},
        random_bytes=lambda number: openings[:number],
    )
    assert b',"stmt":' + built.raw + b',"v":"ecp.entry/1"}' in entry
    assert [(part.ptr, part.r.hex(), part.value_jcs.decode(), part.c) for part in built.parts] == [
        (part["ptr"], part["r"], part["value_jcs"], part["c"]) for part in golden["parts"]
    ]


def test_decisions_of_a_real_agent_are_taken() -> None:
    for line in shared_path("data/airline-agent/decisions.ndjson").read_bytes().splitlines()[:200]:
        built = DecisionRecord.from_json(line).to_statement(org="airline", policy=DEFAULT, now=NOW, via=VIA)
        assert validate(parse_statement(built.raw)).v == "ecp.decision/1"


def test_id_and_time_come_from_the_record_else_from_the_server() -> None:
    given_both = record(id=ID, ts="2020-01-01T00:00:00.000000Z").to_statement(
        org="acme", policy=DEFAULT, now=NOW, via=None
    )
    assert (given_both.stmt["id"], given_both.stmt["ts"]) == (ID, "2020-01-01T00:00:00.000000Z")
    made = record().to_statement(org="acme", policy=DEFAULT, now=NOW, via=VIA).stmt
    assert is_uuid7(made["id"])
    assert made["ts"] == "2026-03-02T09:00:02.000000Z"
    assert made["via"] == VIA


def test_canonical_bytes_are_of_the_record_as_submitted() -> None:
    spelt = b' {"explanation": "The goods arrived d\\u0061maged.", "context": {"b": 5.0, "a": 1e21},'
    spelt += b' "action": "refund.approve", "agent": "refund-bot"}'
    same = record(context={"a": 1e21, "b": 5})
    assert DecisionRecord.from_json(spelt).canonical() == same.canonical() == same.to_json()
    assert DecisionRecord.from_json(same.to_json()) == same
    assert b'"context":{"a":1e+21,"b":5}' in same.canonical()
    same.to_statement(org="acme", policy=DEFAULT, now=NOW, via=VIA)
    assert b'"id"' not in same.canonical()


def test_every_private_value_is_committed_and_none_is_shown() -> None:
    made = record(
        id=ID,
        context={"secret": "Erika", "amount": 349.99, "Name": "Mustermann", "vip": True},
        explanation_detail="Frau Mustermann rief an.",
        data_subject="customer-88213",
        data_subjects={"/context/secret": "other-person"},
    ).to_statement(org="acme", policy=DEFAULT, now=NOW, via=VIA)
    for private in (b"Erika", b"Mustermann", b"349.99", b"customer", b"other-person"):
        assert private not in made.raw
    assert [part.ptr for part in made.parts] == [
        "/context/_other",
        "/context/amount",
        "/context/secret",
        "/explanation_detail",
    ]
    assert made.stmt["sealed"] == [{"ptr": part.ptr, "c": part.c} for part in made.parts]
    assert all(part.c == commitment(part.r, ID, part.ptr, part.value_jcs) for part in made.parts)
    assert len({part.r for part in made.parts}) == 4
    assert made.stmt["context_summary"]["vip"] is True


def test_a_detail_without_context_has_no_summary() -> None:
    made = record(explanation_detail="Frau M. rief an.").to_statement(
        org="acme", policy=STRICT, now=NOW, via=VIA
    )
    assert "context_summary" not in made.stmt
    assert "summary_policy" not in made.stmt
    assert [part.ptr for part in made.parts] == ["/explanation_detail"]


def test_public_shows_what_everyone_could_read() -> None:
    shown = record(
        id=ID, context={"a": "x"}, explanation_detail="private words", data_subject="erika"
    ).public(DEFAULT)
    assert shown == MINIMUM | {
        "id": ID,
        "context_summary": {"a": {"chars": "1..10"}},
        "summary_policy": "default@1",
        "sealed": [{"ptr": "/context/a"}, {"ptr": "/explanation_detail"}],
    }
    assert "sealed" not in record().public(DEFAULT)


def test_repr_shows_nothing_private() -> None:
    text = repr(record(context={"a": "Erika"}, explanation_detail="Erika", data_subject="Erika"))
    assert "refund-bot" in text
    assert "Erika" not in text


@pytest.mark.parametrize(
    ("members", "code", "pointer"),
    [
        ({"is_superuser": True}, "unknown_field", "/is_superuser"),
        ({"org": "acme"}, "unknown_field", "/org"),
        ({"via": VIA}, "unknown_field", "/via"),
        ({"sealed": []}, "unknown_field", "/sealed"),
        ({"_document": {}}, "unknown_field", "/_document"),
        ({"agent": None}, "wrong_type", "/agent"),
        ({"risk": None}, "wrong_type", "/risk"),
        ({"explanation": 1234567890123}, "wrong_type", "/explanation"),
        ({"explanation": "refunded1"}, "explanation_too_short", "/explanation"),
        ({"context": "abc"}, "wrong_type", "/context"),
        ({"context": None}, "wrong_type", "/context"),
        ({"explanation_detail": ""}, "bad_value", "/explanation_detail"),
        ({"explanation_detail": "x" * 8_001}, "bad_value", "/explanation_detail"),
        ({"explanation_detail": 1}, "wrong_type", "/explanation_detail"),
        ({"data_subject": ""}, "bad_value", "/data_subject"),
        ({"data_subjects": {"context": "x"}}, "bad_value", "/data_subjects/context"),
        ({"data_subjects": {"/context/a": 1}}, "wrong_type", "/data_subjects/~1context~1a"),
        ({"context": {"a": "x" * 32_769}}, "too_large", "/context"),
        ({"context": {"a": "x" * 30_000}, "explanation_detail": "y" * 8_000}, "too_large", "/context"),
    ],
)
def test_a_record_that_breaks_a_rule_is_refused_at_its_place(
    members: dict[str, Any], code: str, pointer: str
) -> None:
    error = refusal(**members)
    assert (error.code, error.pointer) == (code, pointer)


def test_a_missing_member_is_named() -> None:
    with pytest.raises(EcpError) as caught:
        DecisionRecord.from_document({"agent": "refund-bot", "explanation": MINIMUM["explanation"]})
    assert (caught.value.code, caught.value.pointer) == ("missing_field", "/action")


def test_reasons_are_the_words_of_the_security_document() -> None:
    assert refusal(explanation=7).reason == "type"
    assert refusal(agent="Agent One").reason == "identifier"
    assert refusal(explanation="y" * 4_001).reason == "length"
    assert refusal(explanation="Cafe\u0301 order was doubled").reason == "nfc"
    assert refusal(explanation="abcdefghijkl\x00m").reason == "character"


def test_a_record_made_in_python_is_judged_too() -> None:
    with pytest.raises(EcpError) as caught:
        DecisionRecord(agent="Bot", action="act", explanation="long enough to pass")
    assert caught.value.pointer == "/agent"
    with pytest.raises(EcpError) as caught:
        record(context={"when": NOW})
    assert (caught.value.code, caught.value.pointer) == ("bad_value", "/context")
    with pytest.raises(EcpError):
        record(context={"n": float("nan")})
    with pytest.raises(dataclasses.FrozenInstanceError):
        record().agent = "other"  # type: ignore[misc]  # the point of the test


def test_private_values_of_exactly_32_kib_are_taken() -> None:
    context = {"a": "x" * (32_768 - len('{"a":""}'))}
    assert record(context=context).context == context


def test_a_statement_over_48_kib_is_refused() -> None:
    alternatives = [{"option": "\U0001f600" * 200, "reason": "\U0001f600" * 500}] * 16
    big = record(alternatives=alternatives, explanation="\U0001f600" * 4_000)
    with pytest.raises(EcpError) as caught:
        big.to_statement(org="acme", policy=DEFAULT, now=NOW, via=VIA)
    assert (caught.value.code, caught.value.status) == ("too_large", 413)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "risk": st.sampled_from(["low", "high"]),
            "zone": st.sampled_from(["operator", "uncertain"]),
            "context": st.dictionaries(
                st.text(st.characters(codec="utf-8"), max_size=5),
                st.none()
                | st.floats(allow_nan=False, allow_infinity=False)
                | st.text("ab\u00e9", max_size=5),
                max_size=40,
            ),
            "explanation_detail": st.text(st.characters(codec="utf-8"), min_size=1, max_size=20),
            "subject": st.just({"type": "order", "ref": "4711"}),
        },
    ),
    st.sampled_from([DEFAULT, STRICT]),
)
def test_what_a_record_becomes_is_always_a_valid_statement(
    members: dict[str, Any], policy: ContextPolicy
) -> None:
    made = record(**members).to_statement(org="acme", policy=policy, now=NOW, via=VIA)
    assert encode(made.stmt) == made.raw
    assert parse_statement(made.raw) == made.stmt
    assert validate(made.stmt).v == "ecp.decision/1"
    assert record(**members).canonical() == encode_any(MINIMUM | members)
