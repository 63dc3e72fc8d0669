"""Checkpoints kept outside the database, to compare it with (LEDGER sections 12 and 15)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ecp_project.kernel.errors import BadRequest
from ledger.core.export import TRAILER_START, ExportFile, parse_trailer
from ledger.core.merkle import ProofInvalid
from ledger.core.note import Checkpoint, split_note
from ledger.core.verify.sources import Missing, open_source

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Outside:
    """Checkpoint notes of one log from `place`. Signatures are checked by whoever compares with them."""

    place: str
    notes: tuple[str, ...]
    newest_size: int  # 0 when `place` holds nothing about this log


def outside_of(*, place: str, origin: str) -> Outside:
    """Read `place`: an exported folder or its address, a file of a checkpoint sink, a checkpoint, an export.

    BadRequest says why it is none of these, or that it is about another log.
    """
    try:
        notes = list(_notes(place))
    except (Missing, ProofInvalid) as error:
        raise BadRequest("bad_value", f"{place} holds no checkpoint: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadRequest("bad_value", f"{place} cannot be read: {reason}") from error
    found: dict[str, int] = {}
    for note, is_of_many in notes:
        try:
            checkpoint = Checkpoint.parse(split_note(note)[0])
        except ProofInvalid as error:
            raise BadRequest("bad_value", f"{place} holds a checkpoint that is none: {error}") from error
        if checkpoint.origin == origin:
            found[note] = checkpoint.size
        elif not is_of_many:
            raise BadRequest(
                "bad_value",
                f"{place} is about the log {checkpoint.origin}, not {origin}; name the log with --log",
            )
    return Outside(place, tuple(found), max(found.values(), default=0))


def _notes(place: str) -> Iterator[tuple[str, bool]]:
    """(note, whether the file may speak of several logs)."""
    path = Path(place)
    if not path.is_file():
        yield open_source(place).read("checkpoint").decode(), False
        return
    trailer = ExportFile(path).trailer_line
    if trailer is not None and trailer.startswith(TRAILER_START):
        yield parse_trailer(trailer).checkpoint, False
        return
    text = path.read_bytes().decode()
    if not text.startswith("{"):
        yield text, False
        return
    for line in text.splitlines():
        try:
            document = json.loads(line)
        except ValueError:
            continue  # the torn last line of a crash proves nothing
        if isinstance(document, dict) and isinstance(document.get("note"), str):
            yield document["note"], True
