"""Proofs, tiles and checkpoints from stored rows, never beyond a signed size (LEDGER section 13)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ecp_project.kernel.errors import BadRequest, Conflict, NotFound
from ledger.core.merkle import ProofInvalid, consistency_proof, inclusion_proof, tree_root
from ledger.core.proof import format_proof
from ledger.core.tiles import TILE_HEIGHT, TILE_WIDTH, TileReader, encode_bundle, tiles_on_the_way
from ledger.models import POSITIONS_PER_LOG, Checkpoint, Entry
from ledger.selectors.hot import hot_row, hot_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import LiteralString

    from ledger.models import Log

NEWEST_SQL = "SELECT size, root, note FROM ledger_checkpoint WHERE log_id = $1 ORDER BY size DESC LIMIT 1"
# Full tiles are stored; an open one is the roots of those below it, or leaf hashes. All tiles of a proof come
# at once: a larger log has more of them, and each look-up costs its turn.
TILES_SQL = """
SELECT w.level, w.idx, CASE
    WHEN w.width = 256 THEN (
        SELECT data FROM ledger_tile t WHERE t.log_id = $1 AND t.level = w.level AND t.idx = w.idx
    )
    WHEN w.level = 0 THEN (
        SELECT string_agg(leaf_hash, ''::bytea ORDER BY id) FROM ledger_entry
        WHERE id >= $2 + w.idx * 256 AND id < $2 + w.idx * 256 + w.width
    )
    ELSE (
        SELECT string_agg(t.root, ''::bytea ORDER BY t.idx) FROM ledger_tile t
        WHERE t.log_id = $1 AND t.level = w.level - 1
            AND t.idx >= w.idx * 256 AND t.idx < w.idx * 256 + w.width
    )
END
FROM unnest($3::smallint[], $4::bigint[], $5::smallint[]) AS w (level, idx, width)
"""


@dataclass(frozen=True, slots=True)
class SignedSize:
    """The newest checkpoint, as proofs need it."""

    size: int
    root: bytes
    note: str


def newest_checkpoint(log_id: int) -> SignedSize | None:
    row = hot_row(NEWEST_SQL, (log_id,))
    return SignedSize(*row) if row else None


def tile_source(
    log_id: int, ask: Callable[[LiteralString, Sequence[Any]], tuple[Any, ...] | None] = hot_row
) -> Callable[[int, int, int], bytes]:
    """`read_tile(level, index, width)` over the stored rows: full tiles, else roots below or leaf hashes.

    `ask` gives the first row of a query as `first_row` does; the checkpointer brings its own connection.
    """
    base = log_id * POSITIONS_PER_LOG

    def read_tile(level: int, index: int, width: int) -> bytes:
        row = ask(TILES_SQL, (log_id, base, [level], [index], [width]))
        return bytes(row[2] or b"") if row else b""

    return read_tile


def reader(log_id: int, size: int, *positions: int) -> TileReader:
    """Nodes of the tree of `size`; tiles of proofs about `positions` come at once, others one by one."""
    one_by_one = tile_source(log_id)
    if not positions:
        return TileReader(size, one_by_one)
    levels, places, widths = zip(*tiles_on_the_way(size, positions), strict=True)
    base = log_id * POSITIONS_PER_LOG
    rows = hot_rows(TILES_SQL, (log_id, base, list(levels), list(places), list(widths)))
    known = {(level, index): bytes(data or b"") for level, index, data in rows}

    def read_tile(level: int, index: int, width: int) -> bytes:
        data = known.get((level, index))
        return one_by_one(level, index, width) if data is None else data

    return TileReader(size, read_tile)


def signed_or_404(log_id: int, size: int | None) -> tuple[SignedSize, int]:
    """The newest checkpoint and the size to prove for; a size beyond it is `not_signed_yet`."""
    newest = newest_checkpoint(log_id)
    if newest is None or (size is not None and size > newest.size):
        raise NotFound(
            "not_signed_yet",
            f"the newest checkpoint covers {newest.size if newest else 0} entries",
            retry_after=1,
        )
    return newest, newest.size if size is None else size


def inclusion(*, log: Log, index: int, size: int | None) -> dict[str, Any]:
    """`ecp.proof/1` for the entry at `index` in the tree of `size` (default: the newest signed size)."""
    _, size = signed_or_404(log.id, size)
    if not 0 <= index < size:
        raise BadRequest("bad_value", f"index {index} is not below size {size}", pointer="/index")
    nodes = reader(log.id, size, index)
    return {
        "v": "ecp.proof/1",
        "origin": log.origin,
        "index": index,
        "size": size,
        "leaf_hash": nodes.node(0, index).hex(),
        "root": tree_root(size, nodes).hex(),
        "hashes": [part.hex() for part in inclusion_proof(index, size, nodes)],
    }


def proof_text(*, log: Log, seq: int) -> str:
    """C2SP tlog-proof of the entry at `seq` under the newest checkpoint; 409 while none covers it.

    Made from the stored tree alone, so there is one also for an entry whose bytes were damaged.
    """
    signed = newest_checkpoint(log.id)
    if signed is None or signed.size <= seq:
        raise Conflict("not_signed_yet", "the next checkpoint covers this entry", retry_after=1)
    try:
        hashes = inclusion_proof(seq, signed.size, reader(log.id, signed.size, seq))
    except ProofInvalid as error:
        raise NotFound("not_found", f"the stored tree gives no proof: {error}") from error
    return format_proof(seq, hashes, signed.note)


def consistency(*, log: Log, old: int, new: int | None) -> dict[str, Any]:
    _, new = signed_or_404(log.id, new)
    if not 1 <= old <= new:
        raise BadRequest("bad_value", f"old must be from 1 to {new}", pointer="/old")
    nodes = reader(log.id, new, old - 1, min(old, new - 1))
    return {
        "v": "ecp.proof/1",
        "origin": log.origin,
        "old": old,
        "new": new,
        "old_root": tree_root(old, nodes).hex(),
        "new_root": tree_root(new, nodes).hex(),
        "hashes": [part.hex() for part in consistency_proof(old, new, nodes)],
    }


def tile(*, log: Log, level: int, index: int, width: int | None) -> bytes:
    """Bytes of a static tile; a partial one only where some checkpoint needs it, else 404."""
    wanted = TILE_WIDTH if width is None else width
    _refuse_unless_published(log.id, level, index, width)
    data = tile_source(log.id)(level, index, wanted)
    assert len(data) == wanted * 32, f"tile {level}/{index} of log {log.id} has {len(data)} bytes"
    return data


def bundle(*, log: Log, index: int, width: int | None) -> bytes:
    """An entry bundle: the entries under one tile of level 0."""
    _refuse_unless_published(log.id, 0, index, width)
    base = log.id * POSITIONS_PER_LOG + index * TILE_WIDTH
    rows = Entry.objects.filter(id__gte=base, id__lt=base + (width or TILE_WIDTH)).order_by("id")
    return encode_bundle([bytes(entry) for entry in rows.values_list("entry", flat=True)])


def _refuse_unless_published(log_id: int, level: int, index: int, width: int | None) -> None:
    shift = TILE_HEIGHT * level
    end = (index * TILE_WIDTH + (width or TILE_WIDTH)) << shift
    if end >= POSITIONS_PER_LOG:
        raise NotFound("not_found", "there is no such tile")
    sizes = Checkpoint.objects.filter(log_id=log_id, size__gte=end)
    if width is not None:
        sizes = sizes.filter(size__lt=end + (1 << shift))
    if not sizes.exists():
        raise NotFound("not_found", "no checkpoint needs this tile")
