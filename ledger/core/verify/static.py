"""A static log: bundles and tiles against the signed root, all or since a checkpoint (LEDGER section 15)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.core.merkle import (
    EMPTY_ROOT,
    Frontier,
    ProofInvalid,
    inclusion_proof,
    tree_root,
    verify_inclusion,
)
from ledger.core.note import Checkpoint, Verifier
from ledger.core.tiles import TILE_HEIGHT, TILE_WIDTH, TileReader, tile_path, tile_root, tiles_of
from ledger.core.verify.run import Run
from ledger.core.verify.sources import Missing, Source, read_bundle, read_checkpoint, tile_reader
from ledger.core.verify.stream import LogVerifier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ledger.core.verify.report import Report
    from ledger.core.verify.run import Progress


def check_log(
    source: Source,
    verifier: Verifier,
    *,
    since: str | None = None,
    anchors: Mapping[str, bytes] | None = None,
    signatures: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Check every entry since `since` against chain and tiles, and the tiles against the signed root."""
    run = Run(verifier.name, "the log")
    base = run.open(since, verifier) if since is not None else Checkpoint(verifier.name, 0, EMPTY_ROOT)
    note = read_checkpoint(source)
    newest = run.open(note, verifier)
    if base is None or newest is None:
        return run.report()
    if newest.size < base.size:
        found, expected = f"{newest.size} entries", f"{base.size} entries"
        run.findings.add(
            "truncated", seq=newest.size, expected=expected, found=found, detail="the log shrank"
        )
        return run.report()
    if newest.size == base.size and newest.root != base.root:
        run.findings.add("fork", expected=base.root.hex(), found=newest.root.hex())
        return run.report()
    reader = tile_reader(source, newest.size)
    try:
        frontier = Frontier.restore(base.size, reader)
        tip = _tip_below(base, reader) if base.size else None
    except (ProofInvalid, Missing) as error:
        run.findings.add(
            "root_mismatch", detail=f"the log no longer holds the tree of size {base.size:,}: {error}"
        )
        return run.report()
    notes = [note] if since is None else [since, note]
    log = LogVerifier(
        verifier, notes, anchors=anchors, signatures=signatures, first=base.size, tip=tip, frontier=frontier
    )
    _feed_bundles(source, log, base.size, newest.size, progress)
    if not log.findings:
        _check_tiles(source, newest, log)
    return log.finish()


def _tip_below(base: Checkpoint, reader: TileReader) -> bytes:
    """Leaf hash of the last entry under a checkpoint, proven to be under it."""
    tip = reader.node(0, base.size - 1)
    proof = inclusion_proof(base.size - 1, base.size, reader)
    verify_inclusion(index=base.size - 1, size=base.size, leaf=tip, proof=proof, root=base.root)
    return tip


def _feed_bundles(source: Source, log: LogVerifier, start: int, end: int, progress: Progress | None) -> None:
    for index in range(start // TILE_WIDTH, -(-end // TILE_WIDTH)):
        first = index * TILE_WIDTH
        width = min(TILE_WIDTH, end - first)
        skipped = max(0, start - first)
        try:
            leaves = tile_reader(source, first + width).leaf_hashes(index)[skipped:]
            log.checked.tiles += 1
        except (Missing, ProofInvalid) as error:
            log.findings.add(
                "truncated", seq=first + skipped, detail=f"{tile_path(0, index, width)}: {error}"
            )
            return
        try:
            entries = read_bundle(source, index, width)[skipped:]
        except Missing as error:
            log.findings.add("truncated", seq=first + skipped, detail=f"{error} is missing")
            return
        except ProofInvalid as error:
            log.findings.add(
                "entry_syntax", seq=first + skipped, detail=f"{tile_path('entries', index, width)}: {error}"
            )
            log.skip(leaves)
            continue
        for raw, leaf in zip(entries, leaves, strict=True):
            log.feed(raw, leaf)
        if progress:
            progress(first + width, end)


def _check_tiles(source: Source, newest: Checkpoint, log: LogVerifier) -> None:
    """Compare each hash above level 0 with the root of the tile below; level 0 agreed with the entries."""
    reader = tile_reader(source, newest.size)
    for level, index, width in tiles_of(newest.size):
        log.checked.tiles += level > 0
        if width < TILE_WIDTH:
            continue
        try:
            data = b"".join(
                reader.node(level * TILE_HEIGHT, index * TILE_WIDTH + at) for at in range(TILE_WIDTH)
            )
            stored = reader.node((level + 1) * TILE_HEIGHT, index)
        except (Missing, ProofInvalid) as error:
            log.findings.add("root_mismatch", detail=f"{tile_path(level, index)}: {error}")
            return
        if tile_root(data) != stored:
            above, below = tile_path(level + 1, index // TILE_WIDTH), tile_path(level, index)
            detail = f"{above} does not hold the root of {below}"
            log.findings.add(
                "root_mismatch", expected=tile_root(data).hex(), found=stored.hex(), detail=detail
            )
    if not log.findings and tree_root(newest.size, reader) != newest.root:
        log.findings.add(
            "root_mismatch", expected=newest.root.hex(), detail="the tiles do not have the signed root"
        )
