"""Make a log again from its export."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import EcpError
from ledger.management.arguments import progress_line
from ledger.services.rebuild import log_rebuild

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    help = (
        "Store the log that an export describes, byte for byte, in a database that does not have it yet. "
        "Every entry is verified while it is read, against the signed checkpoint of the export and the "
        "ledger keys in ECP_LOG_PUBLIC_KEYS; if anything is wrong nothing is stored. The organisation, the "
        "agents and their announced keys come back too. Private values, API keys and staff do not, as no "
        "export holds them. Needs the database roles of web and checkpointer. "
        "Exit 0: rebuilt. 1: the export does not verify. 2: it cannot be read, or the log is not empty."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--from",
            dest="place",
            required=True,
            metavar="EXPORT",
            help="folder or address written by ledger_export, an export.ndjson, or a folder of such files",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        del args
        try:
            rebuilt = log_rebuild(
                place=options["place"], now=utc_now(), progress=progress_line("entries stored")
            )
        except EcpError as problem:
            raise CommandError(f"nothing was stored: {problem.detail}", returncode=2) from problem
        log, report = rebuilt.log, rebuilt.report
        if options["json"]:
            members = {"log": log and log.slug, "agents": rebuilt.agents, "keys": rebuilt.keys}
            self.stdout.write(json.dumps(members | {"report": report.to_document()}))
        elif log is None:
            self.stdout.write(report.to_text())
        else:
            self.stdout.write(
                f"{report.size:,} entries of {log.origin} stored, with {rebuilt.agents:,} agents and "
                f"{rebuilt.keys:,} agent keys. Appends wait until the checkpointer has compared the log "
                "with the checkpoints kept outside; `manage.py ledger_recover` tells how that stands."
            )
        if log is None:
            sys.stderr.write("nothing was stored: the export does not verify\n")
            sys.exit(1)
