"""Halt or reopen a log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import EcpError
from ledger.management.arguments import log_named
from ledger.models import Mode
from ledger.services.operations import mode_switch

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    help = "Halt a log, or reopen it. Both are recorded in the log with the reason."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("mode", choices=Mode.values)
        parser.add_argument("--reason", required=True, help="at least 10 visible characters")
        parser.add_argument("--log", help="slug of the log; may be left out when there is one")

    def handle(self, *args: Any, **options: Any) -> None:
        del args
        log = log_named(options["log"])
        try:
            receipt = mode_switch(
                log=log, to=options["mode"], reason=options["reason"], actor="system:shell", now=utc_now()
            )
        except EcpError as problem:
            raise CommandError(problem.detail) from problem
        told = "" if receipt else " That cannot be recorded now; the entry that reopens the log will tell."
        self.stdout.write(f"{log.slug} is in mode {options['mode']}.{told}")
