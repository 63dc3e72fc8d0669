"""Take a file of decisions into a log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import EcpError
from ledger.management.arguments import log_named, progress_line
from ledger.services.ingest import ingest

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    help = "Record the decisions and annotations of an NDJSON file. Running it again records nothing twice."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "file", type=Path, help="one decision record or annotation a line, each with an id"
        )
        parser.add_argument("--log", help="slug of the log; may be left out when there is one")
        parser.add_argument(
            "--rejects", type=Path, help="where refused lines go; default FILE.rejects.ndjson here"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        del args
        log, file = log_named(options["log"]), options["file"]
        show = progress_line("lines")
        try:
            with file.open("rb") as count:
                total = sum(1 for line in count if line.strip())
            with file.open("rb") as lines:
                tally = ingest(
                    log=log,
                    lines=lines,
                    actor="system:ingest",
                    clock=utc_now,
                    progress=lambda done: show(done, total),
                )
        except OSError as error:
            raise CommandError(f"{file.name} cannot be read: {error.strerror}") from error
        except EcpError as problem:
            raise CommandError(
                f"{problem.detail} Run the command again: what is stored is not stored twice."
            ) from problem
        self.stdout.write(
            f"{tally.accepted:,} accepted, {tally.replayed:,} known already, {len(tally.rejects):,} rejected"
        )
        if tally.rejects:
            target = options["rejects"] or Path(f"{file.name}.rejects.ndjson")
            with target.open("w", encoding="utf-8") as out:
                for number, line, refused in tally.rejects:
                    text = line.decode("utf-8", "replace")
                    out.write(
                        json.dumps({"line": number, "problem": refused.document(), "text": text}) + "\n"
                    )
            raise CommandError(f"the refused lines and the reasons are in {target.name}")
