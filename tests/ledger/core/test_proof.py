"""Proof texts (C2SP tlog-proof) and receipts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.core.merkle import ProofInvalid, inclusion_proof
from ledger.core.note import COSIGNATURE, Checkpoint, Signer, Verifier, make_vkey, open_checkpoint
from ledger.core.proof import QuorumMissing, format_proof, parse_proof, receipt, verify_proof
from ledger.core.tiles import TileReader
from tests.ledger.core.sample_log import sample_log

pytestmark = pytest.mark.unit

LOG = sample_log(11)
READER = TileReader(11, lambda _level, _index, _width: b"".join(LOG.leaves))
WITNESSES = [Signer(f"witness.test/{number}", bytes([number]) * 32) for number in (1, 2)]
WITNESS_KEYS = [Verifier(make_vkey(signer.name, signer.public_key, COSIGNATURE)) for signer in WITNESSES]


def proof_text(index: int, *, cosigned: int = 0) -> str:
    note = LOG.notes[-1]
    text = open_checkpoint(note, LOG.verifier).text()
    note += "".join(signer.cosign(text, seconds=5) for signer in WITNESSES[:cosigned])
    return format_proof(index, inclusion_proof(index, 11, READER), note)


def test_each_entry_is_proven_and_only_by_its_own_proof() -> None:
    for index, entry in enumerate(LOG.entries):
        assert verify_proof(proof_text(index), entry, LOG.verifier).size == 11
        with pytest.raises(ProofInvalid):
            verify_proof(proof_text(index), LOG.entries[index - 1], LOG.verifier)


def test_proof_text_survives_the_round_trip() -> None:
    proof = parse_proof(proof_text(4))
    assert format_proof(proof.index, proof.hashes, proof.note) == proof_text(4)


@settings(max_examples=300)
@given(st.data())
def test_any_one_bit_change_of_a_proof_is_refused(data: st.DataObject) -> None:
    raw = bytearray(proof_text(6).encode())
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises((ProofInvalid, UnicodeDecodeError)):
        verify_proof(raw.decode(), LOG.entries[6], LOG.verifier)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("c2sp.org/tlog-proof@v1", "c2sp.org/tlog-proof@v2"),
        ("index 6", "index 06"),
        ("index 6", "index 7"),
        ("index 6\n", ""),
        ("index 6\n", "index 6\n\n"),
        ("index 6\n", "index 6\nAAAA\n"),
        ("index 6\n", "extra !\nindex 6\n"),
        ("index 6\n", "index 6\n" + "A" * 43 + "=\n"),
        ("index 6\n", "index 6\n" + ("A" * 43 + "=\n") * 64),
        ("ecp.test", "ecp.best"),
    ],
)
def test_proof_that_is_malformed_is_refused(old: str, new: str) -> None:
    text = proof_text(6)
    assert old in text
    with pytest.raises(ProofInvalid):
        verify_proof(text.replace(old, new, 1), LOG.entries[6], LOG.verifier)


def test_endless_proof_is_refused() -> None:
    with pytest.raises(ProofInvalid):
        parse_proof("x" * 200_000)


def test_extra_line_of_another_writer_is_read_over() -> None:
    text = proof_text(6).replace("index", "extra YWJj\nindex", 1)
    assert verify_proof(text, LOG.entries[6], LOG.verifier).size == 11


def test_quorum_counts_the_witnesses_that_cosigned() -> None:
    text = proof_text(6, cosigned=2)
    assert verify_proof(text, LOG.entries[6], LOG.verifier, WITNESS_KEYS, 2) == Checkpoint(
        LOG.origin, 11, open_checkpoint(LOG.notes[-1], LOG.verifier).root
    )
    with pytest.raises(QuorumMissing, match="1 of the 2"):
        verify_proof(proof_text(6, cosigned=1), LOG.entries[6], LOG.verifier, WITNESS_KEYS, 2)


def test_receipt_before_signing_has_no_proof() -> None:
    common: dict[str, Any] = {
        "log": LOG.origin,
        "id": "x",
        "seq": 1,
        "rcvd": "t",
        "leaf_hash": bytes(32),
        "stmt_digest": "sha256:0",
    }
    logged = receipt(status="logged", entry_url="/e", **common)
    signed = receipt(status="signed", entry_url="/e", checkpoint_size=2, tlog_proof="p", **common)
    assert logged.keys() == signed.keys() - {"checkpoint_size", "tlog_proof"}
    assert (signed["v"], signed["leaf_hash"]) == ("ecp.receipt/1", "00" * 32)
