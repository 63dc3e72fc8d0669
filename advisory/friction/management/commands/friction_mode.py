"""Show or switch what an organisation does with its rules: advise, or only observe."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from advisory.friction.models import AdvisoryMode
from advisory.friction.selectors.rulesets import mode_document
from advisory.friction.services.rulesets import advisory_mode_switch
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import EcpError
from ledger.management.arguments import log_named

if TYPE_CHECKING:
    from argparse import ArgumentParser

SHELL = "system:shell"


class Command(BaseCommand):
    help = "Say whether an organisation advises or only observes, or switch it. The log tells of a switch."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("to", nargs="?", choices=AdvisoryMode.values, help="mode to switch to")
        parser.add_argument("--log", help="slug of the log of the organisation; default: the only one")
        parser.add_argument("--reason", default="", help="why; at least 10 visible characters")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        del args
        log = log_named(options["log"])
        if options["to"] is not None:
            try:
                advisory_mode_switch(
                    log=log, to=AdvisoryMode(options["to"]), reason=options["reason"], actor=SHELL,
                    now=utc_now(),
                )  # fmt: skip
            except EcpError as problem:
                raise CommandError(problem.detail) from problem
        told = mode_document(log.organisation_id)
        if options["json"]:
            self.stdout.write(json.dumps(told))
        else:
            since = f" since {told['since']} by {told['actor']}" if told["since"] else ""
            self.stdout.write(f"{log.slug}: {told['mode']}{since}")
