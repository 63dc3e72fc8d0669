"""Load the sample data."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from ecp_project.kernel.clock import utc_now
from ledger.management.arguments import progress_line
from ledger.services import demo

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    help = "Record a few thousand sample decisions of three organisations. Needs a running checkpointer."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--if-empty", action="store_true", help="do nothing when there is a log already")
        parser.add_argument("--json", type=Path, help="write sign-in and API key to this file (mode 0600)")

    def handle(self, *args: Any, **options: Any) -> None:
        del args
        if not demo.is_empty():
            if options["if_empty"]:
                return
            raise CommandError("there is a log already; the sample data goes into an empty installation only")
        loaded = demo.demo_load(now=utc_now(), clock=utc_now, progress=progress_line("decisions"))
        if options["json"]:
            target: Path = options["json"]
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                json.dump(asdict(loaded), stream)
        else:
            self.stdout.write(f"Sign in as {loaded.login} with {loaded.password}")
            self.stdout.write(f"API key of {loaded.agent}: {loaded.api_key}")
        self.stdout.write(f"{loaded.entries:,} entries recorded.")
