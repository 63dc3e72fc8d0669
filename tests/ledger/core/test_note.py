"""Signed notes, checkpoints and cosignatures: what is accepted, and the many things that are not."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecp_project.kernel import signing
from ledger.core.merkle import EMPTY_ROOT, ProofInvalid
from ledger.core.note import (
    COSIGNATURE,
    Checkpoint,
    Signer,
    Verifier,
    cosignatures,
    make_vkey,
    open_checkpoint,
    open_note,
    sign_checkpoint,
)

pytestmark = pytest.mark.unit

ORIGIN = "ecp.test/log/note"
LOG = Signer(ORIGIN, b"\x01" * 32)
OTHER = Signer("ecp.test/log/other", b"\x02" * 32)
WITNESS = Signer("witness.test/w", b"\x03" * 32)
CHECKPOINT = Checkpoint(ORIGIN, 7, b"\x07" * 32)
NOTE = sign_checkpoint(CHECKPOINT, LOG)
VERIFIER = Verifier(LOG.vkey)
WITNESS_VERIFIER = Verifier(make_vkey(WITNESS.name, WITNESS.public_key, COSIGNATURE))


def test_signed_checkpoint_opens() -> None:
    assert open_checkpoint(NOTE, VERIFIER) == CHECKPOINT


def test_empty_log_has_a_checkpoint() -> None:
    empty = Checkpoint(ORIGIN, 0, EMPTY_ROOT)
    assert open_checkpoint(sign_checkpoint(empty, LOG), VERIFIER) == empty


def test_seed_is_not_shown() -> None:
    assert repr(LOG) == "Signer('ecp.test/log/note')"


def test_log_signs_under_its_own_origin_only() -> None:
    with pytest.raises(AssertionError):
        sign_checkpoint(CHECKPOINT, OTHER)


def test_checkpoint_of_another_origin_is_refused_even_when_signed() -> None:
    text = Checkpoint("ecp.test/log/else", 7, b"\x07" * 32).text()
    with pytest.raises(ProofInvalid):
        open_checkpoint(f"{text}\n{LOG.sign(text)}", VERIFIER)


@settings(max_examples=300)
@given(st.integers(0, len(NOTE.encode()) * 8 - 1))
def test_any_one_bit_change_is_refused(bit: int) -> None:
    data = bytearray(NOTE.encode())
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises((ProofInvalid, UnicodeDecodeError)):
        open_checkpoint(data.decode(), VERIFIER)


@pytest.mark.parametrize(
    "text",
    [
        f"{ORIGIN}\n7\n",
        f"{ORIGIN}\n07\n{base64.b64encode(bytes(32)).decode()}\n",
        f"{ORIGIN}\n+7\n{base64.b64encode(bytes(32)).decode()}\n",
        f"{ORIGIN}\n-1\n{base64.b64encode(bytes(32)).decode()}\n",
        f"{ORIGIN}\n\u0667\n{base64.b64encode(bytes(32)).decode()}\n",
        f"{ORIGIN}\n9223372036854775808\n{base64.b64encode(bytes(32)).decode()}\n",
        f"{ORIGIN}\n7\n{base64.b64encode(bytes(31)).decode()}\n",
        f"{ORIGIN}\n7\n{base64.b64encode(bytes(32)).decode()[:-2]}B=\n",
        f"{ORIGIN}\n7\n{base64.b64encode(bytes(32)).decode()}\nextension\n",
        f"a log\n7\n{base64.b64encode(bytes(32)).decode()}\n",
        f"\n7\n{base64.b64encode(bytes(32)).decode()}\n",
    ],
)
def test_text_that_is_no_checkpoint_is_refused_although_signed(text: str) -> None:
    with pytest.raises(ProofInvalid):
        open_checkpoint(f"{text}\n{LOG.sign(text)}", VERIFIER)


@pytest.mark.parametrize(
    "note",
    [
        "",
        NOTE.rstrip("\n"),
        NOTE.replace("\n\n", "\n"),
        NOTE.replace("—", "-"),
        NOTE + "\n",
        NOTE + "not a signature line\n",
        NOTE.replace("\n\n", "\r\n\r\n"),
        NOTE + "— x AAAA\n",
        NOTE + OTHER.sign(CHECKPOINT.text()) * 64,
        NOTE + "— x " + "A" * 70_000 + "\n",
    ],
)
def test_note_that_is_malformed_is_refused(note: str) -> None:
    with pytest.raises(ProofInvalid):
        open_checkpoint(note, VERIFIER)


def test_unknown_signers_are_ignored() -> None:
    assert open_checkpoint(NOTE + OTHER.sign(CHECKPOINT.text()), VERIFIER) == CHECKPOINT


def test_note_without_a_known_signer_is_refused() -> None:
    with pytest.raises(ProofInvalid):
        open_checkpoint(NOTE, Verifier(OTHER.vkey))


def test_known_signer_with_a_wrong_line_spoils_the_note() -> None:
    wrong = Signer(ORIGIN, LOG.seed).sign("other text\n")
    with pytest.raises(ProofInvalid):
        open_checkpoint(NOTE + wrong, VERIFIER)


def test_known_signer_signing_twice_spoils_the_note() -> None:
    with pytest.raises(ProofInvalid):
        open_checkpoint(NOTE + LOG.sign(CHECKPOINT.text()), VERIFIER)


def test_text_may_hold_empty_lines() -> None:
    text = "first\n\nsecond\n"
    assert open_note(f"{text}\n{LOG.sign(text)}", [VERIFIER])[0] == text


def test_cosignature_tells_the_witness_and_its_time() -> None:
    note = NOTE + WITNESS.cosign(CHECKPOINT.text(), seconds=1_772_442_005)
    assert cosignatures(note, [WITNESS_VERIFIER]) == [(WITNESS_VERIFIER, 1_772_442_005)]
    assert open_checkpoint(note, VERIFIER) == CHECKPOINT


def test_note_without_cosignature_has_none() -> None:
    assert cosignatures(NOTE, [WITNESS_VERIFIER]) == []


def test_wrong_cosignature_spoils_the_note() -> None:
    note = NOTE + WITNESS.cosign("other text\n", seconds=1)
    with pytest.raises(ProofInvalid):
        cosignatures(note, [WITNESS_VERIFIER])


def test_log_key_is_no_witness_and_a_witness_key_no_log() -> None:
    assert cosignatures(NOTE, [VERIFIER]) == []
    dated = Verifier(make_vkey(ORIGIN, LOG.public_key, COSIGNATURE))
    note = f"{CHECKPOINT.text()}\n{LOG.cosign(CHECKPOINT.text(), seconds=1)}"
    with pytest.raises(ProofInvalid):
        open_checkpoint(note, dated)


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "name+00000000",
        LOG.vkey.replace(VERIFIER.key_id.hex(), "00000000"),
        LOG.vkey + "A",
        LOG.vkey.replace("ecp.test", "ecp test"),
        make_vkey(ORIGIN, LOG.public_key, 0x02),
        make_vkey(ORIGIN, LOG.public_key[:31]),
        f"{ORIGIN}+00000000+!!!!",
    ],
)
def test_text_that_is_no_verifier_key_is_refused(vkey: str) -> None:
    with pytest.raises(ProofInvalid):
        Verifier(vkey)


def test_verifier_takes_a_key_with_plus_in_its_base64() -> None:
    seed = next(
        bytes([number]) * 32
        for number in range(256)
        if b"+" in base64.b64encode(b"\x01" + signing.public_from_seed(bytes([number]) * 32))
    )
    signer = Signer(ORIGIN, seed)
    assert Verifier(signer.vkey).public_key == signer.public_key
