"""Create an organisation with its log."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import EcpError
from ledger.services.identities import organisation_create

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    help = "Create an organisation and its log."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("slug", help="2 to 64 of a-z 0-9 . _ -; also the name of the log")
        parser.add_argument("--title", default="", help="name for people; default: the slug")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        del args
        try:
            organisation, log = organisation_create(
                slug=options["slug"], title=options["title"], now=utc_now()
            )
        except EcpError as problem:
            raise CommandError(problem.detail) from problem
        if options["json"]:
            self.stdout.write(
                json.dumps({"organisation": organisation.slug, "log": log.slug, "origin": log.origin})
            )
        else:
            self.stdout.write(f"Organisation {organisation.slug} has the log {log.origin}.")
