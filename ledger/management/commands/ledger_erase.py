"""Erase private values; for whoever holds the shell, request and approval in one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import EcpError
from ledger.management.arguments import log_named
from ledger.models import ErasureBasis
from ledger.services.erasure import erase_decision, erase_subject

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    help = "Delete the private values of a data subject or a decision, and record that in the log."

    def add_arguments(self, parser: ArgumentParser) -> None:
        target = parser.add_mutually_exclusive_group(required=True)
        target.add_argument("--subject", help="handle of the data subject, as the decisions named it")
        target.add_argument("--decision", type=UUID, help="id of one decision")
        parser.add_argument("--basis", required=True, choices=ErasureBasis.values)
        parser.add_argument("--log", help="slug of the log; may be left out when there is one")
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, *args: Any, **options: Any) -> None:
        del args
        log = log_named(options["log"])
        if options["subject"] and not options["yes"]:
            self.stdout.write(
                "The public erasure entry lists the erased parts. With one data subject in it, "
                "readers can see which\n"
                "decisions belong together. This cannot be undone."
            )
            if input("Erase now? [y/N] ").strip().lower() != "y":
                raise CommandError("nothing was erased")
        common = {"log": log, "basis": options["basis"], "actor": "system:shell", "now": utc_now()}
        try:
            if options["subject"]:
                receipts = erase_subject(handle=options["subject"], **common)
            else:
                receipts = erase_decision(uid=options["decision"], **common)
        except EcpError as problem:
            raise CommandError(f"nothing was erased: {problem.detail}") from problem
        if not receipts:
            self.stdout.write("Nothing private is held there; nothing was recorded.")
        for receipt in receipts:
            self.stdout.write(f"Erased; recorded at position {receipt.stored.seq:,}.")
