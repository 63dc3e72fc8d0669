"""Bring the counts behind the console's charts up to date, or take them anew from the entries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand

from ecp_project.console.rollups import keep_up, rollup_rebuild
from ledger.management.arguments import log_named
from ledger.models import Log

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    help = (
        "Bring the hourly counts behind the console's charts up to the search projection; the worker does so "
        "every minute. With --rebuild the counts are forgotten and taken anew, as is right after the search "
        "projection itself was made anew. Counts are no evidence and nothing else depends on them. Exit 0."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--log", help="slug of the log; default: all of them")
        parser.add_argument("--rebuild", action="store_true", help="forget the counts and take them anew")

    def handle(self, *args: Any, **options: Any) -> None:
        del args
        logs = [log_named(options["log"])] if options["log"] else list(Log.objects.order_by("id"))
        work = rollup_rebuild if options["rebuild"] else keep_up
        for log in logs:
            done = work(log_id=log.pk)
            self.stdout.write(f"{log.slug}: {done:,} entries counted")
