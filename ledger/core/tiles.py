"""Static tiles of a log: C2SP tlog-tiles, height 8.

A tile of level L, index N holds up to 256 hashes of the complete subtrees of level 8L, from number 256 N on;
a full one has 8,192 bytes. The first hash of tile (L+1, N') is the root over a full tile of level L, so a
full tile is final. Partial tiles are named by their width. An entry bundle holds the entries under one tile
of level 0.

    tile/<L>/<N>[.p/<W>]     tile/entries/<N>[.p/<W>]

<N> is written in groups of three digits, all but the last with an `x` before: 1234067 is x001/x234/067.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from ledger.core.merkle import HASH_SIZE, ProofInvalid, node_hash, root_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
TILE_BYTES = TILE_WIDTH * HASH_SIZE
MAX_ENTRY_BYTES = 65_535
MAX_LEVEL = 63

Level: TypeAlias = int | Literal["entries"]

_INDEX = re.compile(r"(?:x[0-9]{3}/){0,6}[0-9]{3}")
_PATH = re.compile(r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")


@dataclass(frozen=True, slots=True)
class Tile:
    """Hashes of one tile; `width` is how many, 256 when the tile is final."""

    level: int
    index: int
    data: bytes

    @property
    def width(self) -> int:
        return len(self.data) // HASH_SIZE

    @property
    def path(self) -> str:
        return tile_path(self.level, self.index, self.width)


def encode_index(index: int) -> str:
    groups = [f"{index % 1000:03}"]
    while index := index // 1000:
        groups.append(f"x{index % 1000:03}")
    return "/".join(reversed(groups))


def decode_index(text: str) -> int:
    if not _INDEX.fullmatch(text):
        raise ProofInvalid("not a tile index")
    index = int(text.replace("x", "").replace("/", ""))
    if encode_index(index) != text:
        raise ProofInvalid("a tile index has no needless leading groups")
    return index


def tile_path(level: Level, index: int, width: int | None = None) -> str:
    """Path below the log's prefix; without a width, or with 256, that of the full tile."""
    partial = "" if width in (None, TILE_WIDTH) else f".p/{width}"
    return f"tile/{level}/{encode_index(index)}{partial}"


def parse_tile_path(path: str) -> tuple[Level, int, int | None]:
    """Level or "entries", index, and width (None for a full tile); each tile has exactly one path."""
    match = _PATH.fullmatch(path)
    if match is None:
        raise ProofInvalid("not a tile path")
    level: Level = "entries" if match[1] == "entries" else int(match[1])
    width = int(match[3]) if match[3] else None
    if (width or 0) >= TILE_WIDTH or (level != "entries" and level > MAX_LEVEL):
        raise ProofInvalid("not a tile path")
    return level, decode_index(match[2]), width


def tiles_of(size: int) -> Iterator[tuple[int, int, int]]:
    """(level, index, width) of every tile that a tree of this size needs, lowest level first."""
    level = 0
    while count := size >> (TILE_HEIGHT * level):
        yield from ((level, index, TILE_WIDTH) for index in range(count // TILE_WIDTH))
        if width := count % TILE_WIDTH:
            yield level, count // TILE_WIDTH, width
        level += 1


def split_hashes(data: bytes) -> list[bytes]:
    if len(data) % HASH_SIZE or not data:
        raise ProofInvalid("a tile is a whole number of 32-byte hashes")
    return [data[at : at + HASH_SIZE] for at in range(0, len(data), HASH_SIZE)]


def tile_root(data: bytes) -> bytes:
    """Root over a full tile: the hash that stands for it one level up."""
    if len(data) != TILE_BYTES:
        msg = f"only a full tile has a final root; this one has {len(data)} bytes"
        raise AssertionError(msg)
    return root_of(split_hashes(data))


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Entry bundle: each entry behind its length as uint16, big-endian."""
    if any(len(entry) > MAX_ENTRY_BYTES for entry in entries):
        msg = "an entry has more than 65,535 bytes"
        raise AssertionError(msg)
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


def decode_bundle(data: bytes) -> list[bytes]:
    entries, at, end = [], 0, len(data)
    while at < end:
        start = at + 2
        at = start + int.from_bytes(data[at:start], "big")
        if start > end or at > end:
            raise ProofInvalid("an entry bundle ends within an entry")
        entries.append(data[start:at])
    return entries


class TileBuilder:
    """Takes leaf hashes in order, hands out each tile once it is full, and knows the root at any moment.

    Between tiles it holds fewer than 256 hashes per level, so it restarts from stored full tiles (their
    roots) and the leaf hashes after the last one: `TileBuilder.restore`.
    """

    __slots__ = ("_levels", "size")

    def __init__(self) -> None:
        self.size = 0
        self._levels: list[list[bytes]] = [[]]

    @classmethod
    def restore(cls, size: int, read_tile: Callable[[int, int, int], bytes]) -> TileBuilder:
        """Builder for a tree of `size` leaves; the open tile of each level is read, partial width and all."""
        builder = cls()
        builder.size = size
        level = 0
        while count := size >> (TILE_HEIGHT * level):
            width = count % TILE_WIDTH
            builder._put(level, read_exact(read_tile, level, count // TILE_WIDTH, width) if width else [])
            level += 1
        return builder

    def _put(self, level: int, hashes: list[bytes]) -> None:
        while len(self._levels) <= level:
            self._levels.append([])
        self._levels[level] = hashes

    def append(self, leaf: bytes) -> list[Tile]:
        """Tiles this leaf completes, lowest level first; mostly none."""
        self.size += 1
        open_tile = self._levels[0]
        open_tile.append(leaf)
        return self._close() if len(open_tile) == TILE_WIDTH else []

    def extend(self, leaves: Iterable[bytes]) -> Iterator[Tile]:
        """Like `append` for many; the caller must exhaust the iterator."""
        for leaf in leaves:
            yield from self.append(leaf)

    def _close(self) -> list[Tile]:
        finished, level = [], 0
        while len(self._levels[level]) == TILE_WIDTH:
            data = b"".join(self._levels[level])
            index = (self.size >> (TILE_HEIGHT * (level + 1))) - 1
            finished.append(Tile(level, index, data))
            above = self._levels[level + 1] if level + 1 < len(self._levels) else []
            self._put(level + 1, [*above, tile_root(data)])
            self._levels[level] = []
            level += 1
        return finished

    def partial_tiles(self) -> list[Tile]:
        """Give the open tile of each level, as this size would publish them."""
        return [
            Tile(level, self.size >> (TILE_HEIGHT * (level + 1)), b"".join(hashes))
            for level, hashes in enumerate(self._levels)
            if hashes
        ]

    def root(self) -> bytes:
        """Root at this size: per level the open tile, with what is still open below as its last element."""
        below: list[bytes] = []
        for hashes in self._levels:
            if hashes or below:
                below = [root_of([*hashes, *below])]
        return root_of(below)


def read_exact(
    read_tile: Callable[[int, int, int], bytes], level: int, index: int, width: int
) -> list[bytes]:
    data = read_tile(level, index, width)
    if len(data) != width * HASH_SIZE:
        raise ProofInvalid("a tile does not have the width of its path")
    return split_hashes(data)


def tiles_on_the_way(size: int, positions: Iterable[int]) -> set[tuple[int, int, int]]:
    """(level, index, width) of the tiles above leaves of a tree of `size` and of those at its right edge.

    A proof about these leaves reads no others: its hashes are siblings of what lies above them.
    """
    found, level = set(), 0
    while nodes := size >> (TILE_HEIGHT * level):
        places = {position >> (TILE_HEIGHT * (level + 1)) for position in positions} | {nodes // TILE_WIDTH}
        for index in places:
            if (width := min(TILE_WIDTH, nodes - index * TILE_WIDTH)) > 0:
                found.add((level, index, width))
        level += 1
    return found


class TileReader:
    """`NodeReader` over the tiles of a tree of `size`, fetched by `read_tile(level, index, width)`.

    Each tile is widened once into the nodes between its hashes and its root; the newest `cache` tiles are
    kept.
    """

    def __init__(self, size: int, read_tile: Callable[[int, int, int], bytes], *, cache: int = 64) -> None:
        self.size = size
        self._read_tile = read_tile
        self._cache = cache
        self._rows: OrderedDict[tuple[int, int], list[list[bytes]]] = OrderedDict()

    def node(self, level: int, index: int) -> bytes:
        if (index + 1) << level > self.size:
            msg = f"node ({level}, {index}) is not complete in a tree of {self.size}"
            raise AssertionError(msg)
        tile_level, height = divmod(level, TILE_HEIGHT)
        tile_index, offset = divmod(index << height, TILE_WIDTH)
        return self._tile(tile_level, tile_index)[height][offset >> height]

    def leaf_hashes(self, index: int) -> list[bytes]:
        """All hashes of the level-0 tile that starts at leaf 256 * index."""
        return self._tile(0, index)[0]

    def _tile(self, level: int, index: int) -> list[list[bytes]]:
        rows = self._rows.get((level, index))
        if rows is None:
            width = min(TILE_WIDTH, (self.size >> (TILE_HEIGHT * level)) - index * TILE_WIDTH)
            rows = _rows(read_exact(self._read_tile, level, index, width))
            self._rows[level, index] = rows
            if len(self._rows) > self._cache:
                self._rows.popitem(last=False)
        else:
            self._rows.move_to_end((level, index))
        return rows


def _rows(hashes: list[bytes]) -> list[list[bytes]]:
    """Widen a tile into its hashes and the complete subtrees above them, one list per height."""
    rows = [hashes]
    while len(rows) < TILE_HEIGHT:
        pairs = iter(rows[-1])
        rows.append([node_hash(left, right) for left, right in zip(pairs, pairs, strict=False)])
    return rows
