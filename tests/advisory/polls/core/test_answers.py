"""Signed answers: published bytes, closed schema, padding that hides lengths."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisory.polls.core import answers
from ecp_project.kernel.errors import BadRequest
from ecp_project.kernel.signing import kid_of, public_from_seed
from tests.advisory.polls.core.cases import cases

pytestmark = pytest.mark.unit

SEED = bytes(range(32))
GOOD: dict[str, Any] = {
    "schema": "ecp.poll.response/1",
    "poll_id": "poll_0001",
    "question_hash": "8b" * 32,
    "invitation_id": "inv_0000",
    "agent_id": "agt_000",
    "choice": "support",
    "confidence_pct": 70,
    "rationale": "Geprüft: kein Einwand.",
    "answered_at": "2026-11-22T10:00:00Z",
    "nonce": "fe" * 16,
}


def answer(**changes: Any) -> dict[str, Any]:
    payload = {name: value for name, value in (GOOD | changes).items() if value is not None}
    return {
        "kid": kid_of(public_from_seed(SEED)),
        "payload": payload,
        "signature": answers.sign_answer(SEED, payload).hex(),
    }


def test_signed_response_vectors() -> None:
    for case in cases_of_responses():
        payload, key = case["payload"], bytes.fromhex(case["public_key"])
        good = answers.signature_is_good(key, payload, bytes.fromhex(case["signature"]))
        assert good is case["valid"], case.get("why")
        if "message_sha256" in case:
            assert sha256(answers.message_of(payload)).hexdigest() == case["message_sha256"]
            assert answers.response_sha256(payload) == case["response_sha256"]
        answers.PAYLOAD.check(payload)


def cases_of_responses() -> list[dict[str, Any]]:
    return cases("signed_responses")


def test_merkle_vectors() -> None:
    for case in cases("merkle"):
        assert answers.responses_root(case["input"]["response_sha256"]) == case["expected"], case["id"]


def test_good_answer_passes() -> None:
    answers.check_answer(answer())
    answers.check_answer(answer(model_id="m", model_version="1", prompt_hash="0a" * 32, rationale=""))


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"schema": "ecp.poll.response/2"}, "/payload/schema"),
        ({"confidence_pct": 101}, "/payload/confidence_pct"),
        ({"confidence_pct": "70"}, "/payload/confidence_pct"),
        ({"confidence_pct": True}, "/payload/confidence_pct"),
        ({"rationale": "x" * 2_001}, "/payload/rationale"),
        ({"rationale": "e\u0301"}, "/payload/rationale"),
        ({"nonce": "fe" * 15}, "/payload/nonce"),
        ({"nonce": "FE" * 16}, "/payload/nonce"),
        ({"choice": "Support"}, "/payload/choice"),
        ({"answered_at": "2026-11-22 10:00"}, "/payload/answered_at"),
        ({"nonce": None}, "/payload/nonce"),
        ({"mood": "good"}, "/payload/mood"),
        ({"prompt_hash": "00"}, "/payload/prompt_hash"),
    ],
)
def test_what_is_no_answer_is_refused(changes: dict[str, Any], pointer: str) -> None:
    with pytest.raises(BadRequest) as caught:
        answers.check_answer(answer(**changes))
    assert (caught.value.code, caught.value.pointer) == ("schema_invalid", pointer)


@pytest.mark.parametrize("name", ["kid", "payload", "signature"])
def test_each_part_of_the_envelope_is_needed(name: str) -> None:
    document = answer()
    del document[name]
    with pytest.raises(BadRequest):
        answers.check_answer(document)


def test_changed_payload_loses_its_signature() -> None:
    document = answer()
    key = public_from_seed(SEED)
    signature = bytes.fromhex(document["signature"])
    assert answers.signature_is_good(key, document["payload"], signature)
    for name, value in (("choice", "oppose"), ("rationale", "Geprüft."), ("confidence_pct", 71)):
        assert not answers.signature_is_good(key, document["payload"] | {name: value}, signature)


def test_signature_is_bound_to_the_domain() -> None:
    from ecp_project.kernel.canonical import encode  # noqa: PLC0415 - its only use
    from ecp_project.kernel.signing import sign  # noqa: PLC0415 - as above

    bare = sign(SEED, encode(GOOD))
    assert not answers.signature_is_good(public_from_seed(SEED), GOOD, bare)


@given(st.binary(max_size=5_000))
def test_padding_comes_off_again(raw: bytes) -> None:
    padded = answers.pad(raw)
    assert answers.unpad(padded) == raw
    assert len(padded) % 1_024 == 0


def test_every_choice_of_usual_length_has_one_padded_length() -> None:
    assert len({len(answers.pad(b"x" * length)) for length in range(300, 1_000)}) == 1


@pytest.mark.parametrize(
    ("given_", "found"),
    [(["yes", "no"], ["yes", "no", "abstain"]), (["abstain", "yes"], ["abstain", "yes"])],
)
def test_abstaining_is_always_possible(given_: list[str], found: list[str]) -> None:
    assert answers.with_abstain(given_) == found
