# A copy of ledger/core/verify/sources.py, made by clients/python/copy_core.py; change it there.
"""Where a static log is read from: a directory, or a prefix under http(s) (C2SP tlog-tiles)."""

from __future__ import annotations

import gzip
import io
import urllib.error
import urllib.request
import zlib
from http.client import HTTPException
from pathlib import Path
from typing import Protocol

from ecp_client._core.ledger.merkle import HASH_SIZE, ProofInvalid
from ecp_client._core.ledger.tiles import TILE_BYTES, TILE_WIDTH, Level, TileReader, decode_bundle, tile_path

MAX_FILE_BYTES = TILE_WIDTH * 65_537
TIMEOUT_S = 30


class Missing(Exception):
    """The log does not have this file."""


class Source(Protocol):
    def read(self, path: str) -> bytes:
        """Bytes of a file below the log's prefix; `Missing` when there is none."""
        ...


class DirectorySource:
    def __init__(self, root: Path) -> None:
        self.root = root

    def read(self, path: str) -> bytes:
        try:
            with (self.root / path).open("rb") as file:
                return file.read(MAX_FILE_BYTES)
        except (FileNotFoundError, NotADirectoryError):
            raise Missing(path) from None


class UrlSource:
    def __init__(self, prefix: str) -> None:
        self.prefix = prefix.rstrip("/")

    def read(self, path: str) -> bytes:
        address = f"{self.prefix}/{path}"
        try:
            with urllib.request.urlopen(address, timeout=TIMEOUT_S) as answer:  # noqa: S310 - open_source looks at the scheme
                data: bytes = answer.read(MAX_FILE_BYTES)
                packed = answer.headers.get("Content-Encoding") == "gzip"
        except urllib.error.HTTPError as error:
            if error.code in (404, 410):
                raise Missing(path) from None
            raise
        except (HTTPException, ValueError) as error:
            raise OSError(f"{address}: no address or no answer of HTTP: {error!r}") from None
        return _unpacked(data) if packed else data


def _unpacked(data: bytes) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            return file.read(MAX_FILE_BYTES)
    except (OSError, EOFError, zlib.error):
        raise ProofInvalid("a compressed answer cannot be unpacked") from None


def open_source(place: str) -> Source:
    if place.startswith(("https://", "http://")):
        return UrlSource(place)
    directory = Path(place)
    if not directory.is_dir():
        raise NotADirectoryError(f"{place} is neither a directory nor an http(s) address")
    return DirectorySource(directory)


def _read_either(source: Source, level: Level, index: int, width: int) -> bytes:
    """Read the partial file, or the full one that has replaced it in the meantime."""
    try:
        return source.read(tile_path(level, index, width))
    except Missing:
        if width == TILE_WIDTH:
            raise
        return source.read(tile_path(level, index))


def read_checkpoint(source: Source) -> str:
    """Text of the newest checkpoint; what is no text is no signed note either, and is judged as one."""
    try:
        return source.read("checkpoint").decode("utf-8", "replace")
    except ProofInvalid:
        return ""


def read_tile(source: Source, level: int, index: int, width: int) -> bytes:
    data = _read_either(source, level, index, width)
    return data[: width * HASH_SIZE] if len(data) == TILE_BYTES else data


def read_bundle(source: Source, index: int, width: int) -> list[bytes]:
    entries = decode_bundle(_read_either(source, "entries", index, width))
    if len(entries) not in (width, TILE_WIDTH):
        raise ProofInvalid(f"the bundle holds {len(entries)} entries instead of {width}")
    return entries[:width]


def tile_reader(source: Source, size: int) -> TileReader:
    return TileReader(size, lambda level, index, width: read_tile(source, level, index, width))
