"""Strict Ed25519: exactly the published edge cases pass, and text forms have one spelling."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecp_project.kernel.signing import (
    b64url,
    b64url_decode,
    key_is_registrable,
    kid_of,
    public_from_seed,
    sign,
    verify,
)
from tests.shared import shared_path

pytestmark = pytest.mark.unit

SEED = bytes(range(32, 64))


def test_exactly_the_edge_cases_of_the_policy_are_accepted() -> None:
    folder = shared_path("vectors/ledger/third_party/ed25519")
    accepted = [
        case["number"]
        for case in json.loads((folder / "ed25519vectors.json").read_text())
        if verify(bytes.fromhex(case["key"]), bytes.fromhex(case["sig"]), case["msg"].encode())
    ]
    assert accepted == json.loads((folder / "ecp_policy.json").read_text())["accepted"]


def test_security_vectors_of_registration_and_use() -> None:
    for case in json.loads(shared_path("vectors/security/ed25519.json").read_text()):
        key = bytes.fromhex(case["public_key"])
        assert key_is_registrable(key) is case["key_ok"], case["why"]
        accepted = verify(key, bytes.fromhex(case["signature"]), case["message"].encode())
        assert accepted is case["accept"], case["why"]


def test_no_spelling_of_a_small_order_point_can_be_registered() -> None:
    for encoded in json.loads(shared_path("vectors/lsp/small-order-keys.json").read_text())["public_hex"]:
        assert not key_is_registrable(bytes.fromhex(encoded))


def test_one_edge_case_key_lies_in_the_subgroup() -> None:
    folder = shared_path("vectors/ledger/third_party/ed25519")
    accepted = set(json.loads((folder / "ecp_policy.json").read_text())["accepted"])
    cases = json.loads((folder / "ed25519vectors.json").read_text())
    good = [
        case
        for case in cases
        if case["number"] in accepted and key_is_registrable(bytes.fromhex(case["key"]))
    ]
    assert len(good) == 1


def test_golden_agent_key_has_its_kid() -> None:
    assert kid_of(public_from_seed(SEED)) == "JPbtasv-EAnAMNfKVnwzyg"
    assert b64url(public_from_seed(SEED)) == "Kay64UG8yvCyLhqU000LxzYeUm0L_hLIl5S8kyKWbdc"


def test_fresh_keys_are_registrable_and_sign() -> None:
    key = public_from_seed(SEED)
    assert key_is_registrable(key)
    assert verify(key, sign(SEED, b"message"), b"message")
    assert not verify(key, sign(SEED, b"message"), b"massage")


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_lengths_are_checked_before_the_library(length: int) -> None:
    key = public_from_seed(SEED)
    assert not verify(b"k" * length, sign(SEED, b"m"), b"m")
    assert not verify(key, b"s" * (length + 1), b"m")
    assert not key_is_registrable(b"k" * length)


def test_bytes_that_are_no_point_are_refused() -> None:
    no_point = (2).to_bytes(32, "little")  # y = 2 is on no point of the curve
    assert not key_is_registrable(no_point)
    assert not verify(no_point, sign(SEED, b"m"), b"m")


@given(st.binary(max_size=80))
def test_base64url_reads_back(data: bytes) -> None:
    assert b64url_decode(b64url(data)) == data


@pytest.mark.parametrize("text", ["A", "AB", "AA==", "A A", "A+==", "+/", "\u00e9", "AA\n", "AAB"])
def test_base64url_of_another_spelling_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="base64url"):
        b64url_decode(text)
