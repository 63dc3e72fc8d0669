"""Wrap all keys of private values under the current key encryption key."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand

from ledger.management.arguments import progress_line
from ledger.services.rewrap import BATCH, Rewrapped, keys_rewrap

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    help = (
        "Rotate the key encryption key. Put the new key into ECP_KEK and the old one into "
        "ECP_KEK_FALLBACKS, restart all processes, then run this: it wraps the MAC root and every subject "
        "key under the new key. Private values, handles and receipts stay as they are. It may be stopped "
        "and started again. Exit 0: nothing lies under an old key any more, so the fallbacks can go. "
        "Exit 1: something does; the output says what."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--batch", type=int, default=BATCH, help="rows in one transaction (default 500)")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        del args
        done = keys_rewrap(batch=max(1, options["batch"]), progress=progress_line("keys"))
        if options["json"]:
            self.stdout.write(
                json.dumps({
                    "kek_id": done.kek_id,
                    "rewrapped": done.rewrapped,
                    "left": done.left,
                    "missing_keks": dict(done.missing),
                    "damaged": done.damaged,
                })
            )  # fmt: skip
        else:
            self._tell(done)
        if not done.is_done:
            sys.exit(1)

    def _tell(self, done: Rewrapped) -> None:
        self.stdout.write(f"{done.rewrapped:,} keys are now under {done.kek_id}.")
        for name, count in sorted(done.missing.items()):
            self.stdout.write(f"{count:,} lie under {name}: add that key to ECP_KEK_FALLBACKS and run again.")
        for what in done.damaged:
            self.stdout.write(f"{what} does not open under its own key: restore that row from a backup.")
        if done.is_done:
            self.stdout.write("Nothing lies under an older key: ECP_KEK_FALLBACKS can be emptied.")
        elif not done.missing and not done.damaged:
            self.stdout.write(
                f"{done.left:,} were stored meanwhile under an older key: restart the processes that still "
                "use it, then run again."
            )
