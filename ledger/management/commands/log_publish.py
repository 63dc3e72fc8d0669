"""Make a log public, or private again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import EcpError
from ledger.management.arguments import log_named
from ledger.services.publication import log_publish

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    help = (
        "Let everybody read a log, or only its organisation. Both are recorded in the log with the reason. "
        "What was read while the log was public cannot be taken back."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--private", action="store_true", help="make a public log private again")
        parser.add_argument("--reason", required=True, help="at least 10 visible characters")
        parser.add_argument("--log", help="slug of the log; may be left out when there is one")

    def handle(self, *args: Any, **options: Any) -> None:
        del args
        log = log_named(options["log"])
        try:
            log_publish(
                log=log,
                is_public=not options["private"],
                reason=options["reason"],
                actor="system:shell",
                now=utc_now(),
            )
        except EcpError as problem:
            raise CommandError(problem.detail) from problem
        self.stdout.write(f"{log.slug} is {'private' if options['private'] else 'public'} now.")
