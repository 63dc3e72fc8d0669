"""Verify a log in the database."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from ledger.management.arguments import log_named, progress_line
from ledger.models import Log
from ledger.services.verification import NoPublicKey, verify_log

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    help = "Read every entry again and check everything. Exit 0 sound, 1 failed, 3 incomplete."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--log", help="slug of the log; default: all of them")
        parser.add_argument("--full", action="store_true", help="check the agents' signatures too")
        parser.add_argument("--json", action="store_true", help="print ecp.verify/1, one line for each log")

    def handle(self, *args: Any, **options: Any) -> None:
        del args
        logs = (
            [log_named(options["log"])]
            if options["log"]
            else list(Log.objects.select_related("organisation"))
        )
        if not logs:
            raise CommandError("there is no log to verify yet", returncode=2)
        worst = 0
        for log in logs:
            try:
                report = verify_log(log=log, signatures=options["full"], progress=progress_line("entries"))
            except NoPublicKey as error:
                raise CommandError(str(error), returncode=2) from error
            self.stdout.write(report.to_json() if options["json"] else report.to_text())
            code = (3 if report.incomplete else 0) if report.ok else 1
            worst = max(worst, code, key=(0, 3, 1).index)
        if worst:
            sys.exit(worst)
