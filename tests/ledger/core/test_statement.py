"""Statement kinds: closed member sets, the shared decision vectors, builders and projectors."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from ecp_project.kernel.canonical import encode, parse_statement
from ecp_project.kernel.errors import BadRequest
from ecp_project.kernel.signing import b64url, public_from_seed
from ledger.core import statement
from ledger.core.fields import Choice, Member
from ledger.core.statement import NOTHING, Projection, StatementKind, kind_of, validate
from tests.shared import shared_path

pytestmark = pytest.mark.unit

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
ID = "019b0a2c-4e00-7000-8000-0000000000aa"
OTHER_ID = "019b0a2c-4e00-7000-8000-0000000000ab"
STAFF = "staff:5d0c6a52-6c0e-4b7e-9a59-0d1f4c7b2a10"
KEY = public_from_seed(bytes(range(32)))
COMMON: dict[str, Any] = {"id_": ID, "org": "acme", "ts": NOW, "actor": STAFF}

DECISION: dict[str, Any] = {
    "v": "ecp.decision/1",
    "id": ID,
    "org": "acme",
    "agent": "pricing-bot",
    "action": "price.change",
    "ts": "2026-03-02T09:00:00.000000Z",
    "explanation": "Stock is old; the price drops by five percent.",
}
C = "A" * 43


def refusal(stmt: dict[str, Any], **options: Any) -> tuple[str, str | None]:
    with pytest.raises(BadRequest) as caught:
        validate(stmt, **options)
    return caught.value.code, caught.value.pointer


def test_decision_vectors_are_accepted_or_refused_with_their_code_and_pointer() -> None:
    for case in json.loads(shared_path("vectors/ledger/cases/decision.json").read_text()):
        if case["accept"]:
            assert validate(case["stmt"]).v == "ecp.decision/1"
        else:
            assert refusal(case["stmt"]) == (case["code"], case["pointer"]), case["change"]


def test_golden_statements_are_valid_and_project_what_they_say_of_decisions() -> None:
    lines = shared_path("vectors/ledger/golden/entries.ndjson").read_bytes().splitlines()
    statements = [json.loads(line)["stmt"] for line in lines]
    target = "019b0a2c-4e00-7000-8000-000000000003"
    assert [validate(stmt).project(stmt) for stmt in statements] == [
        NOTHING,
        Projection(target="019b0a2c-4e00-7000-8000-000000000002"),
        Projection(target=target, zone="uncertain", level="medium", bypassed=True),
        Projection(target=target),
        NOTHING,
    ]


@pytest.mark.parametrize(
    ("change", "code", "pointer"),
    [
        ({"v": None}, "wrong_type", "/v"),
        ({"v": 1}, "wrong_type", "/v"),
        ({"v": "ecp.unknown/1"}, "bad_value", "/v"),
        ({"id": 7}, "wrong_type", "/id"),
        ({"org": "a"}, "bad_value", "/org"),
        ({"agent": "bot\n"}, "bad_value", "/agent"),
        ({"agent": "b" * 65}, "bad_value", "/agent"),
        ({"action": "a" * 129}, "bad_value", "/action"),
        ({"action": "a.b.c.d.e.f.g.h.i"}, "bad_value", "/action"),
        ({"ts": "2026-02-30T09:00:00.000000Z"}, "bad_value", "/ts"),
        ({"explanation": "x" * 4_001}, "bad_value", "/explanation"),
        ({"explanation": "e\u0301" * 20}, "text_not_nfc", "/explanation"),
        ({"explanation": "abcdefghijk\x07"}, "bad_text", "/explanation"),
        ({"risk": None}, "wrong_type", "/risk"),
        ({"model": {"name": "m"}}, "missing_field", "/model/version"),
        ({"model": []}, "wrong_type", "/model"),
        ({"subject": {"type": "Order", "ref": "1"}}, "bad_value", "/subject/type"),
        ({"alternatives": [{"option": "a", "reason": "b"}] * 17}, "bad_value", "/alternatives"),
        ({"alternatives": {}}, "wrong_type", "/alternatives"),
        ({"alternatives": [{"option": "a", "reason": ""}]}, "bad_value", "/alternatives/0/reason"),
        ({"refs": [{"rel": "poll", "id": "x"}]}, "bad_value", "/refs/0/id"),
        ({"context_summary": {}}, "missing_field", "/summary_policy"),
        ({"summary_policy": "default@1"}, "missing_field", "/context_summary"),
        ({"summary_policy": "default@0", "context_summary": {}}, "bad_value", "/summary_policy"),
        ({"summary_policy": "default@1", "context_summary": {"a": [1]}}, "bad_value", "/context_summary/a"),
        (
            {"summary_policy": "default@1", "context_summary": {f"k{n}": 1 for n in range(34)}},
            "bad_value",
            "/context_summary",
        ),
        ({"sealed": [{"ptr": "/context/A", "c": C}]}, "bad_value", "/sealed/0/ptr"),
        ({"sealed": [{"ptr": "/context/a", "c": "A" * 42 + "B"}]}, "bad_value", "/sealed/0/c"),
        ({"sealed": [{"ptr": "/context/b", "c": C}, {"ptr": "/context/a", "c": C}]}, "bad_value", "/sealed"),
        ({"sealed": [{"ptr": "/context/a", "c": C}] * 2}, "bad_value", "/sealed"),
        ({"sealed": [{"ptr": f"/context/{n:03}", "c": C} for n in range(65)]}, "bad_value", "/sealed"),
        ({"via": {"method": "api_key", "id": "x" * 65}}, "bad_value", "/via/id"),
    ],
)
def test_a_decision_that_breaks_a_rule_is_refused_at_its_place(
    change: dict[str, Any], code: str, pointer: str
) -> None:
    assert refusal(DECISION | change) == (code, pointer)


def test_every_summary_value_of_section_five_is_accepted() -> None:
    values = [None, True, -17, "10..100", {"chars": "1..10"}, {"items": 3}, {"members": 2}, {"sealed": True}]
    summary = {f"k{number}": value for number, value in enumerate(values)} | {"_other": 2}
    validate(DECISION | {"context_summary": summary, "summary_policy": "default@1"})


def test_a_bypass_reason_is_for_a_bypass_alone() -> None:
    advisory = {"advice_id": ID, "level": "low", "bypassed": False}
    validate(DECISION | {"advisory": advisory})
    with_reason = advisory | {"bypass_reason": "production is down now"}
    assert refusal(DECISION | {"advisory": with_reason}) == ("bad_value", "/advisory/bypass_reason")


def test_a_short_explanation_says_how_much_is_visible() -> None:
    with pytest.raises(BadRequest) as caught:
        validate(DECISION | {"explanation": "too short"})
    assert caught.value.extensions == {"visible": 8, "required": 10}
    assert caught.value.detail == "has 8 visible characters, at least 10 are needed"


def test_via_is_the_servers_word() -> None:
    stmt = DECISION | {"via": {"method": "session", "id": "staff"}}
    validate(stmt)
    assert refusal(stmt, signed_path=True) == ("unknown_field", "/via")


def test_v_is_needed() -> None:
    assert refusal({"id": ID}) == ("missing_field", "/v")


# --- the other kinds


def annotation(**change: Any) -> dict[str, Any]:
    members = {"kind": "outcome", "target": OTHER_ID, "text": "The refund arrived.", "status": "success"}
    return statement.build_annotation(**(COMMON | members | change))


def key(**change: Any) -> dict[str, Any]:
    members = {"event": "added", "holder": "agent:bot", "public_key": KEY, "valid_from": NOW}
    return statement.build_key(**(COMMON | members | change))


def erasure(**change: Any) -> dict[str, Any]:
    members = {
        "basis": "data_subject_request",
        "requested_at": NOW,
        "run": OTHER_ID,
        "part": 1,
        "of": 1,
        "parts": [(OTHER_ID, "/explanation_detail"), (OTHER_ID, "/context/a"), (ID, "/context/a")],
    }
    return statement.build_erasure(**(COMMON | members | change))


def mode(**change: Any) -> dict[str, Any]:
    members = {"from_": "halt", "to": "active", "since": NOW, "reason": "database back"}
    return statement.build_mode(**(COMMON | members | change))


def gap(**change: Any) -> dict[str, Any]:
    prior = {"origin": "ecp.example/log/acme", "size": 5, "root": "ab" * 32}
    members = {"from_": NOW, "to": NOW, "reason": "the database was down", "estimate": 3, "prior": prior}
    return statement.build_gap(**(COMMON | members | change))


def staff(**change: Any) -> dict[str, Any]:
    members = {
        "action": "agent.change",
        "object_": "agent:bot",
        "reason": "new owner",
        "detail": {"field": "owner", "n": 1},
    }
    return statement.build_staff(**(COMMON | members | change))


BUILDERS = [annotation, key, erasure, mode, gap, staff]


@pytest.mark.parametrize("build", BUILDERS)
def test_what_a_builder_returns_is_valid_and_in_the_profile(build: Any) -> None:
    stmt = build()
    assert validate(stmt).v == stmt["v"]
    assert parse_statement(encode(stmt)) == stmt


@pytest.mark.parametrize("build", BUILDERS)
def test_every_kind_is_a_closed_set(build: Any) -> None:
    stmt = build()
    assert refusal(stmt | {"extra": 1}) == ("unknown_field", "/extra")
    for name in ("id", "org", "ts", "actor"):
        assert refusal({key: value for key, value in stmt.items() if key != name}) == (
            "missing_field",
            f"/{name}",
        )


def test_erased_parts_are_sorted_without_repeats() -> None:
    stmt = erasure(parts=[(OTHER_ID, "/context/a"), (ID, "/context/b"), (OTHER_ID, "/context/a")])
    assert stmt["parts"] == [{"id": ID, "ptr": "/context/b"}, {"id": OTHER_ID, "ptr": "/context/a"}]
    turned = copy.deepcopy(stmt)
    turned["parts"].reverse()
    assert refusal(turned) == ("bad_value", "/parts")


@pytest.mark.parametrize(
    ("build", "change", "code", "pointer"),
    [
        (annotation, {"kind": "note"}, "bad_value", "/status"),
        (annotation, {"kind": "remark"}, "bad_value", "/kind"),
        (annotation, {"text": "too short"}, "explanation_too_short", "/text"),
        (annotation, {"actor": "ada"}, "bad_value", "/actor"),
        (annotation, {"target": "x"}, "bad_value", "/target"),
        (key, {"holder": "staff:x"}, "bad_value", "/holder"),
        (key, {"public_key": b"short"}, "bad_value", "/public_key"),
        (key, {"valid_until": datetime(2026, 3, 1, tzinfo=UTC)}, "bad_value", "/valid_until"),
        (erasure, {"parts": []}, "bad_value", "/parts"),
        (erasure, {"parts": [(ID, f"/context/k{n}") for n in range(257)]}, "bad_value", "/parts"),
        (erasure, {"part": 2}, "bad_value", "/of"),
        (erasure, {"part": True}, "wrong_type", "/part"),
        (erasure, {"basis": "mood"}, "bad_value", "/basis"),
        (mode, {"dimension": "weather"}, "bad_value", "/dimension"),
        (mode, {"from_": "HALT"}, "bad_value", "/from"),
        (gap, {"to": datetime(2026, 3, 1, tzinfo=UTC)}, "bad_value", "/to"),
        (gap, {"estimate": -1}, "bad_value", "/estimate"),
        (gap, {"prior": {"origin": "o", "size": 1, "root": "AB" * 32}}, "bad_value", "/prior/root"),
        (staff, {"detail": {"a": "x" * 1_001}}, "bad_value", "/detail/a"),
        (staff, {"detail": {"a": True}}, "bad_value", "/detail/a"),
        (staff, {"detail": {"A": 1}}, "bad_value", "/detail/A"),
        (staff, {"detail": {f"k{n}": n for n in range(17)}}, "bad_value", "/detail"),
        (staff, {"detail": []}, "wrong_type", "/detail"),
    ],
)
def test_a_builder_refuses_what_the_kind_does_not_allow(
    build: Any, change: dict[str, Any], code: str, pointer: str
) -> None:
    with pytest.raises(BadRequest) as caught:
        build(**change)
    assert (caught.value.code, caught.value.pointer) == (code, pointer)


def test_a_key_id_must_be_that_of_the_key() -> None:
    stmt = key() | {"public_key": b64url(public_from_seed(bytes(32)))}
    assert refusal(stmt) == ("bad_value", "/kid")


# --- the register


def test_the_ledger_registers_its_seven_kinds() -> None:
    assert {"decision", "annotation", "key", "erasure", "mode", "gap", "staff"} <= {
        kind.v.removeprefix("ecp.").removesuffix("/1") for kind in statement.registered()
    }


def test_an_app_can_register_a_kind_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statement, "_kinds", dict(statement._kinds))
    members = statement.statement_members("ecp.test/1", Member("colour", Choice("red", "blue")))
    kind = StatementKind("ecp.test/1", members.check, lambda _: Projection(zone="operator"))
    statement.register(kind)
    stmt = {"v": "ecp.test/1", "id": ID, "org": "acme", "ts": DECISION["ts"], "colour": "red"}
    assert validate(stmt) is kind_of("ecp.test/1") is kind
    assert refusal(stmt | {"colour": "green"}) == ("bad_value", "/colour")
    with pytest.raises(AssertionError, match="registered twice"):
        statement.register(kind)
