"""Sealed values: published commitments and ciphertexts, and what must not open."""

from __future__ import annotations

import json

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ecp_project.kernel.canonical import encode_any
from ledger.core.sealing import aad, commitment, derive, seal, unseal
from tests.shared import shared_path

pytestmark = pytest.mark.unit

R = bytes(32)
DEK = bytes(range(32))
NONCE = bytes(12)


def test_sealed_vectors_have_their_commitment_and_ciphertext() -> None:
    for case in json.loads(shared_path("vectors/ledger/cases/sealed_cases.json").read_text()):
        value_jcs = encode_any(case["value"])
        assert value_jcs.decode() == case["value_jcs"]
        r, dek, nonce = (bytes.fromhex(case[name]) for name in ("r", "dek", "nonce"))
        assert commitment(r, case["id"], case["ptr"], value_jcs) == case["c"]
        context = aad(case["origin"], case["id"], case["ptr"])
        ciphertext = seal(dek, nonce, context, r, value_jcs)
        assert ciphertext.hex() == case["ciphertext"]
        assert unseal(dek, nonce, context, ciphertext) == (r, value_jcs)


def test_golden_parts_are_reproduced() -> None:
    golden = json.loads(shared_path("vectors/ledger/golden/sealed.json").read_text())
    cipher = AESGCM(bytes.fromhex(golden["dek"]))
    for part in golden["parts"]:
        context = aad(golden["origin"], golden["id"], part["ptr"])
        r, nonce = bytes.fromhex(part["r"]), bytes.fromhex(part["nonce"])
        assert seal(cipher, nonce, context, r, part["value_jcs"].encode()).hex() == part["ciphertext"]


def test_a_ciphertext_opens_only_under_its_key_at_its_place_unchanged() -> None:
    context = aad("ecp.example/log/acme", "id", "/context/a")
    sealed = seal(DEK, NONCE, context, R, b"1")
    changed = bytes([sealed[0] ^ 1]) + sealed[1:]
    for dek, place, ciphertext in (
        (bytes(32), context, sealed),
        (DEK, aad("ecp.example/log/acme", "id", "/context/b"), sealed),
        (DEK, aad("ecp.example/log/other", "id", "/context/a"), sealed),
        (DEK, context, changed),
    ):
        with pytest.raises(InvalidTag):
            unseal(dek, NONCE, place, ciphertext)


def test_a_commitment_is_bound_to_opening_id_pointer_and_value() -> None:
    commitments = {
        commitment(R, "a", "/context/x", b"1"),
        commitment(DEK, "a", "/context/x", b"1"),
        commitment(R, "b", "/context/x", b"1"),
        commitment(R, "a", "/context/y", b"1"),
        commitment(R, "a", "/context/x", b"2"),
    }
    assert len(commitments) == 5


def test_an_opening_or_nonce_of_another_length_is_a_bug() -> None:
    with pytest.raises(AssertionError):
        seal(DEK, NONCE, b"", b"short", b"1")
    with pytest.raises(AssertionError):
        seal(DEK, b"short", b"", R, b"1")


def test_derived_keys_differ_by_purpose_and_follow_rfc_5869() -> None:
    assert derive(R, b"ecp-idem/v1") != derive(R, b"ecp-handle/v1")
    # Appendix A.3 of RFC 5869: no salt, no info; the first 32 bytes of its output.
    expected = "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d"
    assert derive(b"\x0b" * 22, b"").hex() == expected
