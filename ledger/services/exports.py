"""A log outside the database: a static folder or address, an export file, or a folder of such files.

What is read here is only claimed. Who takes entries from it feeds them to the verifier (LEDGER section 15).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from ecp_project.kernel.errors import BadRequest
from ledger.core.export import ExportFile, Trailer, parse_trailer
from ledger.core.merkle import ProofInvalid
from ledger.core.note import Checkpoint, Verifier, open_checkpoint, split_note
from ledger.core.tiles import TILE_WIDTH
from ledger.core.verify.sources import Missing, Source, open_source, read_bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


@dataclass(frozen=True, slots=True)
class Export:
    """Entries of a log and the newest checkpoint beside them, nothing of it verified yet."""

    note: str
    checkpoint: Checkpoint
    entries: Callable[[int], Iterator[bytes]]  # from a position on, up to the checkpoint's size

    def key(self, keys: Sequence[Verifier]) -> Verifier:
        """The ledger key that signed the checkpoint. BadRequest when none of `keys` did."""
        for verifier in reversed(keys):
            try:
                open_checkpoint(self.note, verifier)
            except ProofInvalid:
                continue
            return verifier
        raise BadRequest(
            "bad_signature",
            f"the checkpoint of the export is signed by none of the {len(keys)} ledger keys in "
            "ECP_LOG_PUBLIC_KEYS; bring the public key file of the installation that wrote it",
        )


def open_export(place: str) -> Export:
    """Find out what lies at `place`. BadRequest says why it is no export."""
    try:
        if Path(place).is_file():
            return _of_files([Path(place)])
        if Path(place).is_dir() and not (Path(place) / "checkpoint").is_file():
            return _of_files(sorted(Path(place).glob("*.ndjson")))
        return _static(open_source(place))
    except Missing as error:
        raise BadRequest("bad_value", f"{place} has no file {error}") from error
    except ProofInvalid as error:
        raise BadRequest("bad_value", f"{place} is no export: {error}") from error
    except OSError as error:
        raise BadRequest("bad_value", f"{place} cannot be read: {error.strerror or error}") from error


def _static(source: Source) -> Export:
    note = source.read("checkpoint").decode("utf-8", "replace")
    checkpoint = Checkpoint.parse(split_note(note)[0])

    def entries(start: int) -> Iterator[bytes]:
        for index in range(start // TILE_WIDTH, -(-checkpoint.size // TILE_WIDTH)):
            first = index * TILE_WIDTH
            try:
                bundle = read_bundle(source, index, min(TILE_WIDTH, checkpoint.size - first))
            except Missing as error:
                raise BadRequest("bad_value", f"the export has no file {error}") from error
            except ProofInvalid as error:
                raise BadRequest("bad_value", f"entry bundle {index} of the export: {error}") from error
            yield from bundle[max(0, start - first) :]

    return Export(note, checkpoint, entries)


@dataclass(frozen=True, slots=True)
class _Segment:
    path: Path
    trailer: Trailer

    @property
    def end(self) -> int:
        return self.trailer.first + self.trailer.count


def _of_files(paths: Sequence[Path]) -> Export:
    if not paths:
        raise ProofInvalid("it holds neither a checkpoint nor an .ndjson file")
    segments = sorted((_segment(path) for path in paths), key=lambda segment: segment.trailer.first)
    for before, after in pairwise(segments):
        if before.trailer.log != after.trailer.log:
            raise ProofInvalid(
                f"{before.path.name} and {after.path.name} are of two logs; give each log its own folder"
            )
        if after.trailer.first > before.end:
            raise ProofInvalid(
                f"positions {before.end:,} to {after.trailer.first - 1:,} are missing between "
                f"{before.path.name} and {after.path.name}"
            )
    notes = {
        Checkpoint.parse(split_note(one.trailer.checkpoint)[0]): one.trailer.checkpoint for one in segments
    }
    newest = max(notes, key=lambda checkpoint: checkpoint.size)

    def entries(start: int) -> Iterator[bytes]:
        if start < segments[0].trailer.first:
            raise BadRequest(
                "bad_value",
                f"the export begins at position {segments[0].trailer.first:,}; the entries from {start:,} on "
                "are needed",
            )
        position = start
        for segment in segments:
            for number, raw in enumerate(_whole(segment), start=segment.trailer.first):
                if position == number < newest.size:
                    yield raw
                    position += 1

    return Export(notes[newest], newest, entries)


def _segment(path: Path) -> _Segment:
    line = ExportFile(path).trailer_line
    if line is None:
        raise ProofInvalid(f"{path.name} has no trailer, so it was not written to its end")
    return _Segment(path, parse_trailer(line))


def _whole(segment: _Segment) -> Iterator[bytes]:
    """Entries of a file. That it is damaged is known at its end, so nothing may be kept before."""
    file = ExportFile(segment.path)
    yield from file.entries()
    if file.count != segment.trailer.count or file.digest != segment.trailer.sha256:
        raise BadRequest(
            "bad_value", f"{segment.path.name} is damaged: its lines are not those that its trailer counts"
        )
