"""A whole export: every entry checked in order, or the static log written from it (LEDGER section 15)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.core.export import ExportFile, Trailer, parse_trailer, write_log
from ledger.core.merkle import ProofInvalid
from ledger.core.verify.run import Run
from ledger.core.verify.stream import LogVerifier

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from ledger.core.note import Verifier
    from ledger.core.verify.report import Report
    from ledger.core.verify.run import Progress


def check_export(
    path: Path,
    verifier: Verifier,
    notes: Sequence[str] = (),
    *,
    anchors: Mapping[str, bytes] | None = None,
    signatures: bool = True,
    progress: Progress | None = None,
) -> Report:
    export = ExportFile(path)
    trailer, fault = _trailer(export)
    all_notes = [*notes, *([trailer.checkpoint] if trailer else [])]
    first = trailer.first if trailer else 0
    log = LogVerifier(verifier, all_notes, anchors=anchors, signatures=signatures, first=first)
    feed, total = log.feed, trailer.count if trailer else 0
    for number, raw in enumerate(export.entries()):
        feed(raw)
        if progress and number % 1_000 == 0:
            progress(number, total)
    report = log.finish()
    if not log.findings:
        _judge_trailer(export, trailer, fault, log)
    return report


def _judge_trailer(export: ExportFile, trailer: Trailer | None, fault: str, log: LogVerifier) -> None:
    """Told only when nothing better placed was found: the digest says that something changed, not what."""
    if export.trailer_line is None or export.torn_line:
        log.findings.add("truncated", seq=export.count, detail=fault or "the last line is cut")
    elif trailer is None:
        log.findings.add("entry_syntax", detail=f"trailer: {fault}")
    elif trailer.log != log.origin:
        log.findings.add("origin_mismatch", expected=log.origin, found=trailer.log, detail="trailer")
    elif trailer.count != export.count:
        found, expected = str(export.count), str(trailer.count)
        log.findings.add(
            "truncated", seq=trailer.first + export.count, expected=expected, found=found, detail="trailer"
        )
    elif trailer.sha256 != export.digest:
        detail = "trailer: the digest is not that of the lines above"
        log.findings.add("entry_syntax", expected=trailer.sha256, found=export.digest, detail=detail)


def _trailer(export: ExportFile) -> tuple[Trailer | None, str]:
    if export.trailer_line is None:
        return None, "the export has no trailer: it is torn"
    try:
        return parse_trailer(export.trailer_line), ""
    except ProofInvalid as error:
        return None, str(error)


def rebuild(path: Path, target: Path, *, compare_with: Path | None = None) -> Report:
    """Write the static log of an export; with `compare_with`, its files must have the same bytes there."""
    export = ExportFile(path)
    trailer, fault = _trailer(export)
    run = Run(trailer.log if trailer else "", "the rebuilt log")
    if trailer is None:
        run.findings.add("truncated", detail=fault)
        return run.report()
    try:
        run.checkpoint = write_log(target, _counted(export.entries(), run), trailer.checkpoint)
    except ProofInvalid as error:
        run.findings.add("root_mismatch", detail=str(error))
        return run.report()
    if compare_with is not None:
        _compare_files(target, compare_with, run)
    return run.report()


def _counted(entries: Iterator[bytes], run: Run) -> Iterator[bytes]:
    for entry in entries:
        run.checked.entries += 1
        yield entry


def _compare_files(rebuilt: Path, other: Path, run: Run) -> None:
    for file in sorted(path for path in rebuilt.rglob("*") if path.is_file()):
        name = file.relative_to(rebuilt).as_posix()
        twin = other / name
        run.checked.tiles += name.startswith("tile/")
        if not twin.is_file():
            run.findings.add("truncated", detail=f"{name} is missing in {other}")
        elif twin.read_bytes() != file.read_bytes():
            kind = "checkpoint_signature" if name == "checkpoint" else "root_mismatch"
            run.findings.add(kind, detail=f"{name} differs from the one in {other}")
