r"""A log outside the database: `export.ndjson` with its trailer, and the static directory of tlog-tiles.

    <entry>\n ...                                         exact entry bytes, one per line
    {"checkpoint":..,"count":..,"first":..,"log":..,"sha256":<hex of all bytes above>,"v":"ecp.export/1"}\n

The trailer proves nothing by itself, it only tells a whole stream from a torn one; what proves is the
checkpoint.
"""

from __future__ import annotations

import os
import re
from dataclasses import asdict, dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from ecp_project.kernel.canonical import encode, parse_statement
from ecp_project.kernel.errors import EcpError
from ledger.core.entry import MAX_ENTRY_BYTES
from ledger.core.merkle import ProofInvalid, leaf_hash
from ledger.core.note import Checkpoint, split_note
from ledger.core.tiles import TILE_WIDTH, Tile, TileBuilder, encode_bundle, tile_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from io import BufferedReader
    from pathlib import Path

TRAILER_START = b'{"checkpoint":'
MAX_TRAILER_BYTES = 131_072
_MEMBERS = {"checkpoint": str, "count": int, "first": int, "log": str, "sha256": str, "v": str}
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Trailer:
    """Last line of an export: what was written above it, and the checkpoint in force."""

    checkpoint: str
    count: int
    first: int
    log: str
    sha256: str

    def line(self) -> bytes:
        return encode({**asdict(self), "v": "ecp.export/1"}) + b"\n"


def parse_trailer(line: bytes) -> Trailer:
    try:
        document = parse_statement(line.removesuffix(b"\n"), max_bytes=MAX_TRAILER_BYTES)
    except EcpError as error:
        raise ProofInvalid("the trailer is not canonical JSON") from error
    if document.keys() != _MEMBERS.keys() or document.pop("v") != "ecp.export/1":
        raise ProofInvalid("the trailer is not ecp.export/1")
    if any(type(value) is not _MEMBERS[name] for name, value in document.items()):
        raise ProofInvalid("a member of the trailer has the wrong type")
    trailer = Trailer(**document)
    if min(trailer.count, trailer.first) < 0 or not _SHA256.fullmatch(trailer.sha256):
        raise ProofInvalid("a member of the trailer has an impossible value")
    return trailer


def export_lines(*, origin: str, first: int, entries: Iterable[bytes], checkpoint: str) -> Iterator[bytes]:
    """Give the lines of an export, trailer last; nothing is held but the running digest."""
    digest, count = sha256(), 0
    for entry in entries:
        line = entry + b"\n"
        digest.update(line)
        count += 1
        yield line
    yield Trailer(checkpoint, count, first, origin, digest.hexdigest()).line()


class ExportFile:
    """An export on disk: its trailer is known before the entries are read, its digest after."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.trailer_line = self._read_trailer_line()
        self.digest = ""
        self.count = 0
        # True when the last line does not end with a newline: the stream was cut.
        self.torn_line = False

    def _read_trailer_line(self) -> bytes | None:
        with self.path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(0, end - MAX_TRAILER_BYTES))
            last = file.read().removesuffix(b"\n").rpartition(b"\n")[2] + b"\n"
        return last if last.startswith(TRAILER_START) else None

    def entries(self) -> Iterator[bytes]:
        """Entry bytes in file order; `count`, `digest` and `torn_line` are final once it is exhausted."""
        digest = sha256()
        with self.path.open("rb") as file:
            for line in _lines(file):
                if line == self.trailer_line and not file.peek(1):
                    break
                digest.update(line)
                self.count += 1
                self.torn_line = not line.endswith(b"\n")
                yield line.removesuffix(b"\n")
        self.digest = digest.hexdigest()


def _lines(file: BufferedReader) -> Iterator[bytes]:
    # No line may be longer than this, so a file without newlines cannot fill the memory.
    limit = max(MAX_ENTRY_BYTES, MAX_TRAILER_BYTES) + 2
    while line := file.readline(limit):
        yield line


def write_log(directory: Path, entries: Iterable[bytes], note: str) -> Checkpoint:
    """Write the static log of exactly the entries a checkpoint covers: bundles, tiles, the checkpoint last.

    A file that exists is never changed: with the same bytes it stays, with others the export is refused. Only
    the checkpoint moves on.
    """
    checkpoint = Checkpoint.parse(split_note(note)[0])
    builder, bundle = TileBuilder(), []
    for entry in entries:
        bundle.append(entry)
        if len(bundle) == TILE_WIDTH:
            _add(directory, tile_path("entries", builder.size // TILE_WIDTH), encode_bundle(bundle))
            bundle = []
        _add_tiles(directory, builder.append(leaf_hash(entry)))
    if bundle:
        path = tile_path("entries", builder.size // TILE_WIDTH, len(bundle))
        _add(directory, path, encode_bundle(bundle))
    _add_tiles(directory, builder.partial_tiles())
    if (builder.size, builder.root()) != (checkpoint.size, checkpoint.root):
        raise ProofInvalid(f"the {builder.size} entries do not have the root of the checkpoint")
    _replace(directory / "checkpoint", note.encode())
    return checkpoint


def _add_tiles(directory: Path, tiles: Iterable[Tile]) -> None:
    for tile in tiles:
        _add(directory, tile.path, tile.data)


def _add(directory: Path, path: str, data: bytes) -> None:
    file = directory / path
    if not file.exists():
        _replace(file, data)
    elif file.read_bytes() != data:
        raise FileExistsError(f"{file} exists with other bytes")


def _replace(file: Path, data: bytes) -> None:
    """Write through a temporary file, so that a reader sees all of it or nothing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.name}.{os.getpid()}.part")
    with temporary.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(file)
