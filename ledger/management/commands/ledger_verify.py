"""Verify a log in the database."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import EcpError
from ledger.management.arguments import log_named, progress_line
from ledger.models import Log
from ledger.services.outside import outside_of
from ledger.services.verification import NoPublicKey, verify_log
from ledger.services.verification_runs import verification_run

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from ledger.core.verify.report import Report


class Command(BaseCommand):
    help = (
        "Read every entry of the database again and check bytes, hashes, chain, tree, tiles, checkpoints, "
        "columns, head and the agents' registered keys. "
        "Exit 0: sound. 1: something is wrong; kind and first position are named, so leave everything as it "
        "is and follow the incident runbook. 2: wrong arguments, or nothing to verify. 3: nothing is wrong, "
        "but evidence is missing, such as a checkpoint."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--log", help="slug of the log; default: all of them")
        parser.add_argument(
            "--full",
            action="store_true",
            help="check the agents' signatures too, and keep the result as the log's last verification",
        )
        parser.add_argument(
            "--projections",
            action="store_true",
            help="compare the search projection with the entries, and look for private values that an "
            "erasure entry says are gone",
        )
        parser.add_argument(
            "--against",
            metavar="PLACE",
            help="checkpoints kept elsewhere: a file of a checkpoint sink, a folder or address written by "
            "ledger_export, an export.ndjson, or a checkpoint",
        )
        parser.add_argument("--json", action="store_true", help="print ecp.verify/1, one line for each log")

    def handle(self, *args: Any, **options: Any) -> None:
        del args
        logs = (
            [log_named(options["log"])]
            if options["log"]
            else list(Log.objects.select_related("organisation").order_by("id"))
        )
        if not logs:
            raise CommandError("there is no log to verify yet", returncode=2)
        worst = 0
        for log in logs:
            try:
                report = self._verify(log, options)
            except NoPublicKey as error:
                raise CommandError(str(error), returncode=2) from error
            except EcpError as problem:
                raise CommandError(problem.detail, returncode=2) from problem
            self.stdout.write(report.to_json() if options["json"] else report.to_text())
            code = (3 if report.incomplete else 0) if report.ok else 1
            worst = max(worst, code, key=(0, 3, 1).index)
        if worst:
            sys.exit(worst)

    def _verify(self, log: Log, options: dict[str, Any]) -> Report:
        place = options["against"]
        outside = outside_of(place=place, origin=log.origin) if place else None
        show = progress_line("entries")
        if options["full"]:
            return verification_run(
                log=log,
                requested_by="system:shell",
                clock=utc_now,
                projections=options["projections"],
                outside=outside,
                progress=show,
            )
        return verify_log(
            log=log, signatures=False, projections=options["projections"], outside=outside, progress=show
        )
