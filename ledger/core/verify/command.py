"""`python -m ledger.core.verify COMMAND`: the command line of the offline verifier (LEDGER section 15).

Exit code 0: sound. 1: verification failed. 2: usage, or input that cannot be read. 3: evidence incomplete.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ecp_project.kernel.signing import b64url_decode, kid_of
from ledger.core.entry import EntrySyntax
from ledger.core.merkle import ProofInvalid
from ledger.core.note import Verifier
from ledger.core.verify.evidence import check_checkpoint, check_consistency, check_opening, check_receipt
from ledger.core.verify.exported import check_export, rebuild
from ledger.core.verify.listed import check_list
from ledger.core.verify.packed import check_pack, read_pack
from ledger.core.verify.sources import Missing, open_source
from ledger.core.verify.static import check_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ledger.core.verify.report import Report

SOUND, FAILED, USAGE, INCOMPLETE = range(4)


class UnreadableError(Exception):
    """An input that is not what the command line says it is."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        report: Report = options.run(options)
    except (OSError, UnicodeDecodeError, UnreadableError, EntrySyntax) as error:
        sys.stderr.write(f"cannot read the input: {error}\n")
        return USAGE
    except Missing as error:
        sys.stderr.write(f"the log has no file {error}\n")
        return USAGE
    sys.stdout.write((report.to_json() if options.json else report.to_text()) + "\n")
    if not report.ok:
        return FAILED
    return INCOMPLETE if report.incomplete else SOUND


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ledger.core.verify",
        description="Check a transparency log, or a part of it, without trusting whoever serves it.",
        epilog="Exit codes: 0 sound, 1 verification failed, 2 usage or unreadable, 3 evidence incomplete.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str, run: Callable[[argparse.Namespace], Report], summary: str
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=summary, description=summary)
        added.add_argument("--json", action="store_true", help="print ecp.verify/1 instead of sentences")
        added.set_defaults(run=run)
        return added

    def key(added: argparse.ArgumentParser, *, required: bool = True) -> None:
        added.add_argument("--vkey", type=Path, required=required, help="file with the log's verifier key")

    def anchors(added: argparse.ArgumentParser) -> None:
        added.add_argument(
            "--keys", type=Path, help="JSON file {kid: public key} of the agent keys you trust"
        )

    one = command("checkpoint", _checkpoint, "Check the note and signature of a checkpoint.")
    one.add_argument("file", type=Path)
    key(one)

    one = command("receipt", _receipt, "Check that a receipt puts an entry under a signed checkpoint.")
    one.add_argument("proof", type=Path, help="tlog-proof text or ecp.receipt/1")
    one.add_argument("--entry", type=Path, required=True, help="file with the exact entry bytes")
    key(one)
    one.add_argument(
        "--witness", type=Path, action="append", default=[], help="file with a witness's verifier key"
    )
    one.add_argument("--quorum", type=int, default=0, help="how many witnesses must have cosigned")

    one = command("consistency", _consistency, "Check that a log grew from one checkpoint to another.")
    one.add_argument("old", type=Path)
    one.add_argument("new", type=Path)
    one.add_argument("--log", required=True, help="directory or address of the static log")
    key(one, required=False)

    one = command(
        "export", _export, "Check every entry of an export: chain, ids, signatures, roots, trailer."
    )
    one.add_argument("file", type=Path)
    key(one)
    one.add_argument(
        "--checkpoint", type=Path, action="append", default=[], help="a checkpoint kept elsewhere"
    )
    anchors(one)

    one = command("log", _log, "Check a static log: tiles, bundles, chain, root.")
    one.add_argument("place", help="directory or address of the static log")
    key(one)
    one.add_argument(
        "--since", type=Path, help="a checkpoint already verified: entries below it are not read"
    )
    one.add_argument("--signatures", action="store_true", help="verify the agents' signatures too")
    anchors(one)

    one = command("list", _list, "Check a filtered list against the log it was taken from.")
    one.add_argument("file", type=Path)
    one.add_argument("--log", required=True, help="directory or address of the static log")
    key(one)

    one = command("pack", _pack, "Check an evidence pack: manifest, receipts, checkpoint.")
    one.add_argument("place", type=Path, help="folder of the unpacked pack, or the ZIP")
    one.add_argument(
        "--vkey", type=Path, help="file with the log's verifier key, got elsewhere than the pack"
    )
    one.add_argument("--manifest", default="", help="SHA-256 of MANIFEST.json, as the log records it")

    one = command("opening", _opening, "Check a disclosed private value against the commitment in its entry.")
    one.add_argument("--entry", type=Path, required=True, help="file with the exact entry bytes")
    one.add_argument("--part", type=Path, required=True, help="JSON file {ptr, r, value}")

    one = command("rebuild", _rebuild, "Write the static log that an export describes.")
    one.add_argument("file", type=Path)
    one.add_argument(
        "--to", type=Path, required=True, help="directory to write; existing files are never changed"
    )
    one.add_argument("--diff", type=Path, help="directory that must hold the same bytes")
    return parser


def _checkpoint(options: argparse.Namespace) -> Report:
    return check_checkpoint(_text(options.file), _verifier(options.vkey))


def _receipt(options: argparse.Namespace) -> Report:
    witnesses = [_verifier(path) for path in options.witness]
    return check_receipt(
        _text(options.proof), _entry(options.entry), _verifier(options.vkey), witnesses, options.quorum
    )


def _consistency(options: argparse.Namespace) -> Report:
    verifier = _verifier(options.vkey) if options.vkey else None
    return check_consistency(_text(options.old), _text(options.new), open_source(options.log), verifier)


def _export(options: argparse.Namespace) -> Report:
    notes = [_text(path) for path in options.checkpoint]
    with _progress() as progress:
        return check_export(
            options.file, _verifier(options.vkey), notes, anchors=_anchors(options.keys), progress=progress
        )


def _log(options: argparse.Namespace) -> Report:
    with _progress() as progress:
        return check_log(
            open_source(options.place),
            _verifier(options.vkey),
            since=_text(options.since) if options.since else None,
            anchors=_anchors(options.keys),
            signatures=options.signatures,
            progress=progress,
        )


def _list(options: argparse.Namespace) -> Report:
    return check_list(options.file, open_source(options.log), _verifier(options.vkey))


def _pack(options: argparse.Namespace) -> Report:
    files, fault = read_pack(options.place)
    verifier = _verifier(options.vkey) if options.vkey else None
    return check_pack(files, verifier, fault=fault, digest=options.manifest)


def _opening(options: argparse.Namespace) -> Report:
    return check_opening(_entry(options.entry), _text(options.part))


def _rebuild(options: argparse.Namespace) -> Report:
    return rebuild(options.file, options.to, compare_with=options.diff)


def _text(path: Path) -> str:
    # Bytes, not text mode: a translated line end would break every signature.
    return path.read_bytes().decode()


def _entry(path: Path) -> bytes:
    """Read exact entry bytes; a newline that an editor put behind them is not part of the entry."""
    return path.read_bytes().removesuffix(b"\n")


def _verifier(path: Path) -> Verifier:
    try:
        return Verifier(_text(path).strip())
    except ProofInvalid as error:
        raise UnreadableError(f"{path}: {error}") from None


def _anchors(path: Path | None) -> dict[str, bytes] | None:
    if path is None:
        return None
    try:
        anchors = {kid: b64url_decode(key) for kid, key in json.loads(_text(path)).items()}
    except (ValueError, AttributeError) as error:
        raise UnreadableError(f"{path} is not a JSON object of agent keys: {error}") from None
    if wrong := [kid for kid, key in anchors.items() if kid_of(key) != kid]:
        raise UnreadableError(f"{path}: {', '.join(wrong)} is not the key id of its key")
    return anchors


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None] | None]:
    """Show a line on the terminal for long work; nothing where nobody watches."""
    if not sys.stderr.isatty():
        yield None
        return

    def show(done: int, total: int) -> None:
        of = f" of {total:,}" if total else ""
        sys.stderr.write(f"\r{done:,}{of} entries")
        sys.stderr.flush()

    yield show
    sys.stderr.write("\r\033[K")
