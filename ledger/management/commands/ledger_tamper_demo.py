"""Show that tampering is found, on a scratch copy."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import EcpError
from ledger.management.arguments import log_named
from ledger.models import Log
from ledger.services.tampering.demonstration import demonstrate
from ledger.services.tampering.kinds import NUMBERS

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from ledger.services.tampering.demonstration import Outcome

WIDTHS = (4, 40, 42, 28)


class Command(BaseCommand):
    help = (
        "Copy entries of a log into a scratch database, tamper with clones of it as a superuser would, and "
        "show what finds it. The log itself is only read; the copy has a signing key of its own, and both "
        "are removed at the end. Takes a migrate job that is a superuser, such as the embedded server's. "
        "Exit 0: every kind was found, with its place. 1: one was missed. 2: it could not be staged."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--log", help="slug of the log to copy; default: the first one")
        parser.add_argument(
            "--entries", type=int, default=300, help="how many of its entries to copy at most; default 300"
        )
        parser.add_argument(
            "--kind", action="append", choices=NUMBERS, help="this kind only; may be repeated"
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object for each tampering")

    def handle(self, *args: Any, **options: Any) -> None:
        del args
        log = log_named(options["log"]) if options["log"] else Log.objects.select_related("head").first()
        if not options["json"]:
            self._say_what_comes(log)
        missed = shown = 0
        try:
            for outcome in demonstrate(
                log=log, entries=max(0, options["entries"]), now=utc_now(), only=options["kind"] or ()
            ):
                self._show(outcome, as_json=options["json"])
                shown += 1
                missed += not outcome.is_caught
        except EcpError as problem:
            raise CommandError(f"nothing was staged: {problem.detail}", returncode=2) from problem
        if not options["json"]:
            self.stdout.write(
                f"MISSED: {missed} of {shown} tamperings."
                if missed
                else f"All {shown} tamperings were found."
            )
        if missed:
            sys.exit(1)

    def _say_what_comes(self, log: Log | None) -> None:
        what = f"a copy of {log.origin}" if log else "a sample log, as there is no log yet"
        self.stdout.write(
            f"Each line is one tampering with {what}, in a scratch database, by a superuser with triggers "
            "off.\n"
        )
        self._row("kind", "what was changed", "found in the database", "found in an export")

    def _show(self, outcome: Outcome, *, as_json: bool) -> None:
        tampering = outcome.tampering
        if as_json:
            document = {
                "kind": tampering.number,
                "title": tampering.title,
                "is_caught": outcome.is_caught,
                "database": outcome.inside._asdict(),
                "export": outcome.offline._asdict(),
            }
            self.stdout.write(json.dumps(document))
            return
        inside = str(outcome.inside) if outcome.is_caught else f"MISSED ({outcome.inside})"
        self._row(tampering.number, tampering.title, inside, str(outcome.offline))

    def _row(self, *cells: str) -> None:
        self.stdout.write(
            "  ".join(cell.ljust(width) for cell, width in zip(cells, WIDTHS, strict=True)).rstrip()
        )
