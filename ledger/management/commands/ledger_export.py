"""Write a log as static files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from ecp_project.kernel.errors import EcpError
from ledger.management.arguments import log_named
from ledger.services.operations import export_static

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    help = "Write checkpoint, tiles, bundles and export.ndjson of a log: all that a stranger needs."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--to", type=Path, required=True, help="folder to write")
        parser.add_argument("--log", help="slug of the log; may be left out when there is one")

    def handle(self, *args: Any, **options: Any) -> None:
        del args
        try:
            size = export_static(log=log_named(options["log"]), to=options["to"])
        except EcpError as problem:
            raise CommandError(problem.detail) from problem
        self.stdout.write(f"{size:,} entries written.")
