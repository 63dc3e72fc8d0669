# A copy of ledger/core/verify/evidence.py, made by clients/python/copy_core.py; change it there.
"""Single pieces of evidence: checkpoint, receipt, two checkpoints, disclosed part (LEDGER section 15)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ecp_client._core.kernel.canonical import encode_any
from ecp_client._core.kernel.signing import b64url_decode
from ecp_client._core.ledger.entry import Entry, parse_entry, stmt_digest
from ecp_client._core.ledger.merkle import EMPTY_ROOT, ProofInvalid, consistency_proof, leaf_hash, verify_consistency
from ecp_client._core.ledger.note import Checkpoint, Verifier, split_note
from ecp_client._core.ledger.proof import HEADER, QuorumMissing, parse_proof, verify_proof
from ecp_client._core.ledger.sealing import OPENING_BYTES, commitment
from ecp_client._core.ledger.verify.run import Run, json_object, parse_for
from ecp_client._core.ledger.verify.sources import Missing, Source, tile_reader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ecp_client._core.ledger.verify.report import Report


def check_checkpoint(note: str, verifier: Verifier) -> Report:
    run = Run(verifier.name, "the checkpoint")
    run.open(note, verifier)
    return run.report()


def check_receipt(
    text: str, raw: bytes, verifier: Verifier, witnesses: Sequence[Verifier] = (), quorum: int = 0
) -> Report:
    """Check a tlog-proof text or an `ecp.receipt/1` document against exactly these entry bytes."""
    run = Run(verifier.name, "the receipt")
    run.checked.entries = 1
    entry = parse_for(raw, run)
    document: dict[str, Any] = {}
    if not text.startswith(HEADER):
        document = json_object(text)
        text = str(document.get("tlog_proof", ""))
        if document.get("v") == "ecp.receipt/1" and "tlog_proof" not in document:
            run.incomplete = "the receipt holds no proof, as its entry was not under a checkpoint yet"
            if entry is not None:
                _compare_with_receipt(entry, entry.seq, document, run)
            return run.report()
    try:
        proof = parse_proof(text)
    except ProofInvalid as error:
        run.findings.add("root_mismatch", detail=str(error))
        return run.report()
    checkpoint = run.open(proof.note, verifier)
    if checkpoint is None:
        return run.report()
    if document.get("checkpoint_size", checkpoint.size) != checkpoint.size:
        expected, found = str(checkpoint.size), str(document["checkpoint_size"])
        detail = "checkpoint_size of the receipt is not that of its proof"
        run.findings.add("root_mismatch", seq=proof.index, expected=expected, found=found, detail=detail)
    try:
        verify_proof(text, raw, verifier, witnesses, quorum)
    except QuorumMissing as error:
        run.incomplete = str(error)
    except ProofInvalid as error:
        run.findings.add("root_mismatch", seq=proof.index, detail=str(error))
    if entry is not None:
        _compare_with_receipt(entry, proof.index, document, run)
    return run.report()


def _compare_with_receipt(entry: Entry, index: int, document: dict[str, Any], run: Run) -> None:
    if entry.seq != index:
        kind = "seq_gap" if entry.seq > index else "seq_duplicate"
        run.findings.add(kind, seq=index, expected=str(index), found=str(entry.seq))
    said = {
        "log": entry.log,
        "id": entry.stmt["id"],
        "seq": entry.seq,
        "rcvd": entry.rcvd,
        "leaf_hash": leaf_hash(entry.raw).hex(),
        "stmt_digest": stmt_digest(entry.stmt_raw),
    }
    for name, value in said.items():
        if name in document and document[name] != value:
            detail = f"{name} of the receipt is not that of the entry"
            run.findings.add(
                "leaf_mismatch", seq=entry.seq, expected=str(value), found=str(document[name]), detail=detail
            )


def check_consistency(old_note: str, new_note: str, source: Source, verifier: Verifier | None) -> Report:
    """Whether the log grew from one checkpoint to the other, by its own tiles."""
    run = Run(verifier.name if verifier else "", "the growth between the two checkpoints")
    old, new = (_checkpoint(note, verifier, run) for note in (old_note, new_note))
    if old is None or new is None:
        return run.report()
    run.origin, run.checkpoint = new.origin, new
    if verifier is None:
        run.incomplete = "the checkpoints fit, but their signatures were not checked for want of a key"
    if old.origin != new.origin:
        run.findings.add("origin_mismatch", expected=new.origin, found=old.origin)
    elif old.size == new.size and old.root != new.root:
        run.findings.add("fork", expected=old.root.hex(), found=new.root.hex())
    elif old.size > new.size:
        run.findings.add(
            "truncated", seq=new.size, expected=f"{old.size} entries", found=f"{new.size} entries"
        )
    else:
        _check_growth(old, new, source, run)
    return run.report()


def _checkpoint(note: str, verifier: Verifier | None, run: Run) -> Checkpoint | None:
    if verifier is not None:
        return run.open(note, verifier)
    try:
        return Checkpoint.parse(split_note(note)[0])
    except ProofInvalid as error:
        run.findings.add("checkpoint_signature", detail=str(error))
        return None


def _check_growth(old: Checkpoint, new: Checkpoint, source: Source, run: Run) -> None:
    if old.size == 0:
        # Nothing is provable from the empty tree, and nothing need be: it grows into any other.
        if old.root != EMPTY_ROOT:
            run.findings.add("root_mismatch", expected=EMPTY_ROOT.hex(), found=old.root.hex())
        return
    try:
        proof = consistency_proof(old.size, new.size, tile_reader(source, new.size))
        verify_consistency(old=old.size, new=new.size, old_root=old.root, new_root=new.root, proof=proof)
    except (ProofInvalid, Missing) as error:
        run.findings.add("root_mismatch", detail=f"no proof from {old.size:,} to {new.size:,}: {error}")


def check_opening(raw: bytes, part_text: str) -> Report:
    """Check a disclosed value `{ptr, r, value}` against the statement's commitment; r as base64url or hex."""
    entry = parse_entry(raw)
    run = Run(entry.log, "the disclosed part")
    run.checked.entries = 1
    part = json_object(part_text)
    try:
        ptr = part["ptr"]
        value = part["value_jcs"].encode() if "value_jcs" in part else encode_any(part["value"])
        computed = commitment(_opening(part["r"]), entry.stmt["id"], ptr, value)
        committed = next((item["c"] for item in entry.stmt.get("sealed", []) if item["ptr"] == ptr), None)
    except (KeyError, ValueError, TypeError, AttributeError):
        run.findings.add("entry_syntax", seq=entry.seq, detail="the part is not {ptr, r, value}")
        return run.report()
    if committed != computed:
        detail = f"the value does not open the commitment at {ptr}"
        run.findings.add("leaf_mismatch", seq=entry.seq, expected=committed, found=computed, detail=detail)
    return run.report()


def _opening(text: str) -> bytes:
    r = bytes.fromhex(text) if len(text) == 2 * OPENING_BYTES else b64url_decode(text)
    if len(r) != OPENING_BYTES:
        raise ValueError("r has 32 bytes")
    return r
