"""A filtered list of the console against the log it was taken from (LEDGER section 15)."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from ledger.core.listing import VERSION
from ledger.core.merkle import (
    EMPTY_ROOT,
    ProofInvalid,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    tree_root,
    verify_consistency,
    verify_inclusion,
)
from ledger.core.note import Checkpoint, Verifier, open_checkpoint
from ledger.core.verify.run import Run, json_object, parse_for
from ledger.core.verify.sources import Missing, Source, read_checkpoint, tile_reader

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ledger.core.tiles import TileReader
    from ledger.core.verify.report import Report


def check_list(path: Path, source: Source, verifier: Verifier) -> Report:
    """Check a filtered NDJSON list: each line the log's own entry, in order, and a manifest that fits.

    What a filter left out cannot be seen from the list; only a full export or the log shows that.
    """
    run = Run(verifier.name, "the list")
    newest = run.open(read_checkpoint(source), verifier)
    if newest is None:
        return run.report()
    reader = tile_reader(source, newest.size)
    digest, length, last, manifest = sha256(), 0, -1, b""
    for line in _list_lines(path):
        if line.startswith((b'{"log":', b'{"late":')):
            digest.update(line)
            length += len(line)
            run.checked.entries += 1
            last = max(last, _check_listed(line.removesuffix(b"\n"), last, newest, reader, run))
        else:
            manifest += line
    _check_manifest(manifest, length, digest.hexdigest(), run)
    if not run.findings:
        _check_as_of(json_object(manifest.decode()), last, reader, verifier, run)
    return run.report()


def _list_lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while line := file.readline(1 << 20):
            yield line


def _check_listed(raw: bytes, last: int, newest: Checkpoint, reader: TileReader, run: Run) -> int:
    entry = parse_for(raw, run)
    if entry is None:
        return last
    if entry.seq <= last:
        run.findings.add("seq_duplicate", seq=entry.seq, expected=f"above {last}", found=str(entry.seq))
    if entry.seq >= newest.size:
        run.findings.add("truncated", seq=entry.seq, detail="the log's checkpoint does not reach this far")
        return entry.seq
    leaf = leaf_hash(raw)
    try:
        proof = inclusion_proof(entry.seq, newest.size, reader)
        verify_inclusion(index=entry.seq, size=newest.size, leaf=leaf, proof=proof, root=newest.root)
    except (ProofInvalid, Missing) as error:
        run.findings.add("leaf_mismatch", seq=entry.seq, found=leaf.hex(), detail=str(error))
    return entry.seq


def _check_manifest(line: bytes, length: int, digest: str, run: Run) -> None:
    manifest = json_object(line.decode("utf-8", "replace"))
    if not line.endswith(b"\n") or line.count(b"\n") != 1 or manifest.get("v") != VERSION:
        run.findings.add("truncated", seq=None, detail="the last line is no manifest: the list is incomplete")
        return
    if manifest.get("log") != run.origin:
        run.findings.add(
            "origin_mismatch", expected=run.origin, found=str(manifest.get("log")), detail="manifest"
        )
    if manifest.get("count") != run.checked.entries:
        expected, found = str(manifest.get("count")), str(run.checked.entries)
        run.findings.add("truncated", expected=expected, found=found, detail="manifest: number of lines")
    if manifest.get("bytes") != length:
        expected, found = str(manifest.get("bytes")), str(length)
        run.findings.add("truncated", expected=expected, found=found, detail="manifest: bytes of the lines")
    if manifest.get("sha256") != digest:
        expected = str(manifest.get("sha256"))
        run.findings.add(
            "entry_syntax", expected=expected, found=digest, detail="manifest: digest of the lines"
        )


def _check_as_of(
    manifest: dict[str, Any], last: int, reader: TileReader, verifier: Verifier, run: Run
) -> None:
    """Check the manifest's checkpoint, and under it the tree that it calls `as_of`.

    A list is put to the tree of the moment, which rarely is that of a checkpoint.
    """
    newest = run.checkpoint
    assert newest is not None, "the log's own checkpoint was opened before"
    try:
        then = open_checkpoint(str(manifest.get("checkpoint")), verifier)
    except ProofInvalid as error:
        run.findings.add("checkpoint_signature", detail=f"manifest: {error}")
        return
    run.checked.checkpoints += 1
    if then.size > newest.size:
        run.findings.add("truncated", seq=newest.size, detail="the log is behind the list's checkpoint")
        return
    as_of = manifest.get("as_of")
    claimed: dict[str, Any] = as_of if isinstance(as_of, dict) else {}
    size = claimed.get("size")
    if type(size) is not int or not 0 <= size <= then.size:
        run.findings.add("root_mismatch", detail="manifest: as_of is no tree under its checkpoint")
        return
    if last >= size:
        detail = "the list holds an entry beyond its as_of"
        run.findings.add("truncated", seq=last, expected=f"below {size}", detail=detail)
    try:
        if claimed.get("root") != tree_root(size, reader).hex():
            run.findings.add("root_mismatch", detail="manifest: as_of has another root than the log")
        _check_continued(then, newest, reader)
    except (ProofInvalid, Missing) as error:
        run.findings.add("root_mismatch", detail=f"the log does not continue the list's checkpoint: {error}")


def _check_continued(then: Checkpoint, newest: Checkpoint, reader: TileReader) -> None:
    if then.size:
        proof = consistency_proof(then.size, newest.size, reader)
        verify_consistency(
            old=then.size, new=newest.size, old_root=then.root, new_root=newest.root, proof=proof
        )
    elif then.root != EMPTY_ROOT:
        raise ProofInvalid("the empty tree has another root")
