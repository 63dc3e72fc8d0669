"""Proofs, tiles and checkpoints from stored rows, never beyond a signed size (LEDGER section 13)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ecp_project.kernel.errors import BadRequest, NotFound
from ledger.core.merkle import consistency_proof, inclusion_proof, tree_root
from ledger.core.tiles import TILE_HEIGHT, TILE_WIDTH, TileReader, encode_bundle
from ledger.models import POSITIONS_PER_LOG, Checkpoint, Entry, Log, Tile

if TYPE_CHECKING:
    from collections.abc import Callable


class Cursor(Protocol):
    """What a DB-API cursor offers to the tile reader."""

    def execute(self, sql: str, params: Any = None) -> Any: ...
    def fetchone(self) -> Any: ...
    def fetchall(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class SignedSize:
    """The newest checkpoint, as proofs need it."""

    size: int
    root: bytes
    note: str


def newest_checkpoint(log_id: int) -> SignedSize | None:
    row = (
        Checkpoint.objects.filter(log_id=log_id).order_by("-size").values_list("size", "root", "note").first()
    )
    return SignedSize(row[0], bytes(row[1]), row[2]) if row else None


def tile_source(log_id: int) -> Callable[[int, int, int], bytes]:
    """`read_tile(level, index, width)` over the stored rows: full tiles, else roots below or leaf hashes."""

    def read_tile(level: int, index: int, width: int) -> bytes:
        if width == TILE_WIDTH:
            data = (
                Tile.objects.filter(log_id=log_id, level=level, idx=index)
                .values_list("data", flat=True)
                .first()
            )
            return bytes(data or b"")
        start = index * TILE_WIDTH
        if level == 0:
            base = log_id * POSITIONS_PER_LOG + start
            rows = Entry.objects.filter(id__gte=base, id__lt=base + width).order_by("id")
            return b"".join(bytes(leaf) for leaf in rows.values_list("leaf_hash", flat=True))
        roots = Tile.objects.filter(log_id=log_id, level=level - 1, idx__gte=start, idx__lt=start + width)
        return b"".join(bytes(root) for root in roots.order_by("idx").values_list("root", flat=True))

    return read_tile


def reader(log_id: int, size: int) -> TileReader:
    return TileReader(size, tile_source(log_id))


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
    nodes = reader(log.id, size)
    return {
        "v": "ecp.proof/1",
        "origin": log.origin,
        "index": index,
        "size": size,
        "leaf_hash": nodes.node(0, index).hex(),
        "root": tree_root(size, nodes).hex(),
        "hashes": [part.hex() for part in inclusion_proof(index, size, nodes)],
    }


def consistency(*, log: Log, old: int, new: int | None) -> dict[str, Any]:
    _, new = signed_or_404(log.id, new)
    if not 1 <= old <= new:
        raise BadRequest("bad_value", f"old must be from 1 to {new}", pointer="/old")
    nodes = reader(log.id, new)
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
