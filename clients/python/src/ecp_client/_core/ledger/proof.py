# A copy of ledger/core/proof.py, made by clients/python/copy_core.py; change it there.
"""Proof texts and receipts: C2SP tlog-proof, `ecp.receipt/1` (LEDGER section 13).

    c2sp.org/tlog-proof@v1
    index <n>
    <base64 hash>            the audit path of RFC 6962 section 2.1.1, the leaf's sibling first
    <blank line>
    <checkpoint note>        verbatim, cosignatures included

An `extra` line of other writers is read over: it is not authenticated and means nothing here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ecp_client._core.ledger.merkle import ProofInvalid, leaf_hash, verify_inclusion
from ecp_client._core.ledger.note import (
    Checkpoint,
    Verifier,
    b64,
    b64_decode,
    cosignatures,
    decode_hash,
    decode_size,
    open_checkpoint,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADER = "c2sp.org/tlog-proof@v1"
MAX_PATH = 63
MAX_PROOF_CHARACTERS = 131_072


class QuorumMissing(Exception):
    """The proof is good, but fewer witnesses than demanded cosigned its checkpoint."""

    def __init__(self, found: int, quorum: int) -> None:
        super().__init__(f"{found} of the {quorum} demanded witnesses cosigned the checkpoint")
        self.found = found
        self.quorum = quorum


@dataclass(frozen=True, slots=True)
class Proof:
    """The three things in a proof text; nothing in it is verified."""

    index: int
    hashes: tuple[bytes, ...]
    note: str


def format_proof(index: int, hashes: Sequence[bytes], note: str) -> str:
    lines = [HEADER, f"index {index}", *map(b64, hashes)]
    return "\n".join(lines) + "\n\n" + note


def parse_proof(text: str) -> Proof:
    if len(text) > MAX_PROOF_CHARACTERS:
        raise ProofInvalid("the proof is too long")
    head, blank, note = text.partition("\n\n")
    header, *lines = head.split("\n")
    if header != HEADER or not blank:
        raise ProofInvalid("not a tlog-proof")
    if lines and lines[0].startswith("extra "):
        b64_decode(lines.pop(0).removeprefix("extra "))
    if not lines or not lines[0].startswith("index ") or len(lines) - 1 > MAX_PATH:
        raise ProofInvalid("not a tlog-proof")
    index = decode_size(lines[0].removeprefix("index "))
    return Proof(index, tuple(decode_hash(line) for line in lines[1:]), note)


def verify_proof(
    text: str, entry: bytes, verifier: Verifier, witnesses: Sequence[Verifier] = (), quorum: int = 0
) -> Checkpoint:
    """Give the signed checkpoint that holds these entry bytes; origin and keys come from the caller."""
    proof = parse_proof(text)
    checkpoint = open_checkpoint(proof.note, verifier)
    verify_inclusion(
        index=proof.index,
        size=checkpoint.size,
        leaf=leaf_hash(entry),
        proof=proof.hashes,
        root=checkpoint.root,
    )
    found = len(cosignatures(proof.note, witnesses))
    if found < quorum:
        raise QuorumMissing(found, quorum)
    return checkpoint


def receipt(
    *,
    status: str,
    log: str,
    id: str,  # noqa: A002 - the member's name in ecp.receipt/1
    seq: int,
    rcvd: str,
    leaf_hash: bytes,
    stmt_digest: str,
    entry_url: str,
    checkpoint_size: int | None = None,
    tlog_proof: str | None = None,
) -> dict[str, Any]:
    """`ecp.receipt/1`; before signing there is no proof and the two proof members are absent."""
    proven = {} if tlog_proof is None else {"checkpoint_size": checkpoint_size, "tlog_proof": tlog_proof}
    return {
        "v": "ecp.receipt/1",
        "status": status,
        "log": log,
        "id": id,
        "seq": seq,
        "rcvd": rcvd,
        "leaf_hash": leaf_hash.hex(),
        "stmt_digest": stmt_digest,
        **proven,
        "entry_url": entry_url,
    }
