"""`ecp verify RECEIPT --entry E --vkey F`: check a receipt offline.

Exit code 0: sound. 1: verification failed. 2: usage, or input that cannot be read. 3: evidence incomplete.
They are those of ECP's own verifier.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ecp_client.errors import InvalidInput
from ecp_client.verify import verify_receipt

if TYPE_CHECKING:
    from collections.abc import Sequence

SOUND, FAILED, USAGE, INCOMPLETE = range(4)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        # Bytes, not text mode: a translated line end would break every signature.
        receipt = options.receipt.read_bytes().decode()
        entry = options.entry.read_bytes().removesuffix(b"\n")
        report = verify_receipt(receipt, entry, options.vkey.read_bytes().decode())
    except (OSError, UnicodeDecodeError, InvalidInput) as error:
        sys.stderr.write(f"cannot read the input: {error}\n")
        return USAGE
    sys.stdout.write((report.to_json() if options.json else report.to_text()) + "\n")
    if not report.ok:
        return FAILED
    return INCOMPLETE if report.incomplete else SOUND


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="ecp", description="Check what an ECP ledger promised.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    verify = commands.add_parser(
        "verify",
        help="check that a receipt puts an entry under a signed checkpoint",
        epilog="Exit codes: 0 sound, 1 verification failed, 2 usage or unreadable, 3 evidence incomplete.",
    )
    verify.add_argument("receipt", type=Path, metavar="RECEIPT", help="ecp.receipt/1 or tlog-proof text")
    verify.add_argument("--entry", type=Path, required=True, help="file with the exact entry bytes")
    verify.add_argument(
        "--vkey", type=Path, required=True, help="file with the log's verifier key, from another channel"
    )
    verify.add_argument("--json", action="store_true", help="print ecp.verify/1 instead of sentences")
    return parser


if __name__ == "__main__":
    sys.exit(main())
