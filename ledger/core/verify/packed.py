"""An evidence pack against its own manifest, receipts and checkpoint (CONSOLE section 12)."""

from __future__ import annotations

import io
import zipfile
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from ecp_project.kernel.canonical import encode
from ledger.core.merkle import ProofInvalid
from ledger.core.note import Verifier
from ledger.core.pack import (
    CHECKPOINT,
    ENTRIES,
    KEYS,
    MANIFEST,
    MANIFEST_DIGEST,
    VERSION,
    digest_line,
    receipt_path,
    zipped,
)
from ledger.core.proof import parse_proof, verify_proof
from ledger.core.verify.run import Run, json_object, parse_for

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ledger.core.verify.report import Report


class NoPack(OSError):
    """What was given is no evidence pack at all."""


def read_pack(place: Path) -> tuple[dict[str, bytes], str]:
    """Path -> bytes of a pack, as a folder or as the ZIP, and what is wrong with the ZIP around them."""
    if place.is_dir():
        files = {
            path.relative_to(place).as_posix(): path.read_bytes()
            for path in sorted(place.rglob("*"))
            # what systems and editors leave behind when they show a folder
            if path.is_file() and not path.name.startswith(".")
        }
        fault = ""
    else:
        raw = place.read_bytes()
        try:
            with zipfile.ZipFile(io.BytesIO(raw)) as archive:
                files = {member.filename: _stored(archive, member) for member in archive.infolist()}
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
            return {}, f"the ZIP is damaged: {error}"
        fault = "" if zipped(files) == raw else "the ZIP has other bytes than its files give"
    if MANIFEST not in files:
        raise NoPack(f"{place} has no {MANIFEST}")
    return files, fault


def _stored(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    if member.compress_type != zipfile.ZIP_STORED:
        raise zipfile.BadZipFile(f"{member.filename} is compressed")
    return archive.read(member)


def check_pack(
    files: Mapping[str, bytes], verifier: Verifier | None = None, *, fault: str = "", digest: str = ""
) -> Report:
    """Check every file against the manifest, and every entry against its receipt.

    Without `verifier` the first key of the pack counts: it then holds together, by the key that it brings
    itself. `digest` is the manifest's SHA-256 as the log records it.
    """
    subject = "the evidence pack" if verifier else "the evidence pack, by the key that it brings itself,"
    key = verifier or _own_key(files)
    run = Run(key.name if key else "", subject)
    if fault:
        run.findings.add("entry_syntax", detail=fault)
    manifest = files.get(MANIFEST, b"")
    document = _check_manifest(files, manifest, digest, run)
    if key is None:
        run.findings.add("checkpoint_signature", detail=f"{KEYS} holds no key of a log")
    elif MANIFEST in files:
        _check_proofs(files, document, key, run)
    return run.report()


def _own_key(files: Mapping[str, bytes]) -> Verifier | None:
    try:
        return Verifier(files.get(KEYS, b"").decode("utf-8", "replace").partition("\n")[0])
    except ProofInvalid:
        return None


def _check_manifest(files: Mapping[str, bytes], manifest: bytes, digest: str, run: Run) -> dict[str, Any]:
    document = json_object(manifest.decode("utf-8", "replace"))
    found = sha256(manifest).hexdigest()
    if digest and digest != found:
        detail = f"{MANIFEST} is not the one that is recorded"
        run.findings.add("entry_syntax", expected=digest, found=found, detail=detail)
    if MANIFEST_DIGEST not in files:
        run.incomplete = f"{MANIFEST_DIGEST} is missing"
    elif files[MANIFEST_DIGEST] != digest_line(manifest):
        run.findings.add("entry_syntax", detail=f"{MANIFEST_DIGEST} is not the digest of {MANIFEST}")
    listed = document.get("files")
    if document.get("v") != VERSION or not isinstance(listed, list) or not _is_canonical(document, manifest):
        run.findings.add("entry_syntax", detail=f"{MANIFEST} is not {VERSION}")
        return {}
    named = {str(item.get("path")): item for item in listed if isinstance(item, dict)}
    for path, item in named.items():
        if path not in files:
            run.incomplete = f"{path} is missing"
        elif (len(files[path]), sha256(files[path]).hexdigest()) != (item.get("bytes"), item.get("sha256")):
            run.findings.add("entry_syntax", detail=f"{path} has other bytes than the manifest says")
    for path in files.keys() - named.keys() - {MANIFEST, MANIFEST_DIGEST}:
        run.findings.add("entry_syntax", detail=f"{path} is not named by the manifest")
    return document


def _is_canonical(document: dict[str, Any], manifest: bytes) -> bool:
    try:
        return encode(document) + b"\n" == manifest
    except (TypeError, ValueError):
        return False


def _check_proofs(files: Mapping[str, bytes], document: Mapping[str, Any], key: Verifier, run: Run) -> None:
    if CHECKPOINT not in files or ENTRIES not in files:
        return  # the manifest named them, so the pack is incomplete
    note = files[CHECKPOINT].decode("utf-8", "replace")
    checkpoint = run.open(note, key)
    if checkpoint is None:
        return
    if (document.get("log"), document.get("size")) != (checkpoint.origin, checkpoint.size):
        run.findings.add("root_mismatch", detail=f"{MANIFEST} speaks of another checkpoint")
    last = -1
    for line in files[ENTRIES].splitlines(keepends=True):
        run.checked.entries += 1
        raw = line.removesuffix(b"\n")
        entry = parse_for(raw, run)
        if entry is None:
            continue
        if entry.seq <= last:
            run.findings.add("seq_duplicate", seq=entry.seq, expected=f"above {last}", found=str(entry.seq))
        last = entry.seq
        receipt = files.get(receipt_path(last))
        if receipt is None:
            run.incomplete = f"{receipt_path(last)} is missing"
        elif fault := _receipt_fault(receipt.decode("utf-8", "replace"), raw, last, note, key):
            run.findings.add("leaf_mismatch", seq=last, detail=f"{receipt_path(last)}: {fault}")
    _check_records(files, document, run)


def _receipt_fault(text: str, raw: bytes, seq: int, note: str, key: Verifier) -> str:
    """Why this receipt does not put the entry there under the pack's checkpoint; empty if it does."""
    try:
        proof = parse_proof(text)
        verify_proof(text, raw, key)
    except ProofInvalid as error:
        return str(error)
    return "" if (proof.index, proof.note) == (seq, note) else "it is of another entry or checkpoint"


def _check_records(files: Mapping[str, bytes], document: Mapping[str, Any], run: Run) -> None:
    """Each record that was asked for must be here, and no receipt without its entry."""
    proven = {path for path in files if path.startswith("receipts/")}
    records = document.get("records", [])
    for seq in records if isinstance(records, list) else []:
        if type(seq) is not int or receipt_path(seq) not in proven:
            run.incomplete = f"record {seq} is missing"
    if len(proven) > run.checked.entries:
        run.findings.add("truncated", detail=f"{ENTRIES} holds fewer entries than there are receipts")
