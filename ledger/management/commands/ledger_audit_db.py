"""Compare the database's catalogue with the expected one."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand

from ledger.services.audit import EXPECTATION, database_audit, expectation_write

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    help = (
        "Compare triggers, functions, event triggers, rules, policies, constraints, columns, rights, owners "
        "and roles with what the migrations and roles.sql leave behind. Each difference is one line that "
        "names the object. Exit 0: no difference. 1: differences; find out who made them before you repair "
        "anything."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print one JSON object")
        parser.add_argument(
            "--write",
            action="store_true",
            help="for developers: take this freshly migrated database as the expectation",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        del args
        if options["write"]:
            self.stdout.write(f"{expectation_write():,} objects written to {EXPECTATION.name}")
            return
        findings = database_audit()
        if options["json"]:
            document = {
                "v": "ecp.db-audit/1",
                "ok": not findings,
                "findings": [f._asdict() for f in findings],
            }
            self.stdout.write(json.dumps(document))
        else:
            for finding in findings:
                self.stdout.write(str(finding))
            number = f"{len(findings):,} difference{'s' if len(findings) > 1 else ''}"
            told = f"FAILED: {number}" if findings else "SOUND: no difference"
            self.stdout.write(f"{told} from the expected catalogue.")
        if findings:
            sys.exit(1)
