"""The JSON Schemas are generated, committed, and say what the validators say.

A schema cannot express NFC, visible characters, key ids or order, so it may accept more; it never refuses
what the validator takes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from unicodedata import normalize

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecp_project.kernel.errors import EcpError
from ledger.core import schema
from ledger.core.decision import DecisionRecord
from ledger.core.statement import validate
from tests.shared import PROJECT, shared_path

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit

# Faults that only the validator can see.
UNSAYABLE = {"explanation_too_short", "text_not_nfc", "bad_text", "too_large"}

record_schema = jsonschema_rs.validator_for(schema.decision_record(), validate_formats=True)
statement_schema = jsonschema_rs.validator_for(schema.statement(), validate_formats=True)


def code_of(document: dict[str, Any]) -> str | None:
    try:
        DecisionRecord.from_document(document)
    except EcpError as error:
        return error.code
    return None


def agree(document: dict[str, Any]) -> None:
    code = code_of(document)
    if code not in UNSAYABLE:
        assert record_schema.is_valid(document) is (code is None), (code, document)


def test_committed_schemas_are_the_generated_ones() -> None:
    for name, text in schema.files().items():
        assert (PROJECT / "schema" / name).read_text("utf-8") == text, f"run python -m {schema.__name__}"


def test_the_command_writes_every_schema(tmp_path: Path) -> None:
    schema.main(tmp_path / "new")
    assert {path.name for path in (tmp_path / "new").iterdir()} == set(schema.files())


def test_the_schemas_are_valid_drafts_and_describe_every_member() -> None:
    for made in (schema.decision_record(), schema.statement()):
        jsonschema_rs.meta.validate(made)
    for name, member in schema.decision_record()["properties"].items():
        assert member["title"], name
        assert member["description"].endswith("."), name
        for example in member.get("examples", ()):
            agree(MINIMUM | {name: example})
            assert record_schema.is_valid(MINIMUM | {name: example}), name


def test_statement_schema_agrees_on_the_decision_vectors() -> None:
    for case in json.loads(shared_path("vectors/ledger/cases/decision.json").read_text()):
        if case.get("code") != "explanation_too_short":
            assert statement_schema.is_valid(case["stmt"]) is case["accept"], case.get("change")


def test_statement_schema_takes_every_golden_statement() -> None:
    for line in shared_path("vectors/ledger/golden/entries.ndjson").read_bytes().splitlines():
        stmt = json.loads(line)["stmt"]
        validate(stmt)
        assert statement_schema.is_valid(stmt)


def test_record_schema_agrees_on_the_decision_vectors() -> None:
    own = {"v", "org", "context_summary", "summary_policy", "sealed", "via"}
    for case in json.loads(shared_path("vectors/ledger/cases/decision.json").read_text()):
        agree({name: value for name, value in case["stmt"].items() if name not in own})


def test_record_schema_takes_the_decisions_of_a_real_agent() -> None:
    for line in shared_path("data/airline-agent/decisions.ndjson").read_bytes().splitlines()[:200]:
        agree(json.loads(line))


MINIMUM: dict[str, Any] = {"agent": "bot", "action": "act", "explanation": "long enough to pass"}
texts = st.text(st.characters(exclude_categories=("Cc", "Cs", "Cn")), max_size=12).map(
    lambda text: normalize("NFC", text)
)
junk: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers(-5, 5) | texts | st.lists(texts, max_size=2) | st.just({})
)
times = st.sampled_from(
    [
        "2026-03-02T09:00:02.000000Z",
        "2026-02-29T09:00:02.000000Z",
        "2024-02-29T09:00:02.000000Z",
        "2026-03-02T24:00:02.000000Z",
        "2026-03-02T09:00:60.000000Z",
        "2026-03-02T09:00:02Z",
        "2026-13-02T09:00:02.000000Z",
    ]
)
identifiers = st.sampled_from(
    ["019b0a2c-4e00-7000-8000-0000000000aa", "019b0a2c-4e00-4000-8000-0000000000aa", "019B", ""]
)
flags = st.booleans()
members: dict[str, st.SearchStrategy[Any]] = {
    "agent": st.sampled_from(["bot", "b", "Bot", "a.b-c_d", "-a"]),
    "action": st.sampled_from(["act", "act.do", "Act", "act.", "a" * 128, "a" * 129]),
    "explanation": texts | st.just("long enough to pass"),
    "id": identifiers,
    "ts": times,
    "model": st.fixed_dictionaries(
        {"name": texts}, optional={"version": texts, "digest": st.just("sha256:" + "0" * 64), "x": junk}
    ),
    "subject": st.fixed_dictionaries({"type": st.sampled_from(["order", "Order"]), "ref": texts}),
    "alternatives": st.lists(st.fixed_dictionaries({"option": texts, "reason": texts}), max_size=3),
    "risk": st.sampled_from(["low", "critical", "extreme"]),
    "advisory": st.fixed_dictionaries(
        {"advice_id": identifiers, "level": st.just("low"), "bypassed": flags},
        optional={"bypass_reason": st.just("production is down now"), "steps": st.just([])},
    ),
    "zone": st.sampled_from(["operator", "both"]),
    "refs": st.lists(
        st.fixed_dictionaries({"rel": st.sampled_from(["poll", "x"]), "id": identifiers}), max_size=2
    ),
    "context": st.dictionaries(texts, junk, max_size=3),
    "explanation_detail": texts,
    "data_subject": texts,
    "data_subjects": st.dictionaries(st.sampled_from(["/context/a", "/explanation_detail", "a"]), texts),
    "extra": junk,
}


@settings(max_examples=600)
@given(st.fixed_dictionaries({}, optional={name: values | junk for name, values in members.items()}))
def test_schema_and_validator_agree_on_random_records(document: dict[str, Any]) -> None:
    agree(document)


@settings(max_examples=400)
@given(st.fixed_dictionaries({}, optional=members), st.data())
def test_schema_and_validator_agree_when_one_member_is_wrong(
    document: dict[str, Any], data: st.DataObject
) -> None:
    agree(MINIMUM | document)
    name = data.draw(st.sampled_from(sorted(members)))
    agree(MINIMUM | {name: data.draw(junk)})
