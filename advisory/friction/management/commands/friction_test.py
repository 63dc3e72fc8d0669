"""Run cases against a rule file; no database is needed."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from advisory.friction.core.cases import BadCases, checked
from advisory.friction.management.files import USAGE, calculator, read

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    help = (
        "Evaluate each case and compare what it expects. "
        "Exit 0: all as expected. 1: some case differs. 2: a file cannot be read or is of another form."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE", help="rule file (YAML)")
        parser.add_argument("cases", metavar="CASES", help="cases (JSON)")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        del args
        rules = calculator(options["file"])
        try:
            results = list(checked(rules, json.loads(read(options["cases"]))))
        except (BadCases, ValueError) as error:
            raise CommandError(f"{options['cases']}: {error}", returncode=USAGE) from error
        failed = [result for result in results if result.differences]
        if options["json"]:
            told = [{"id": result.id, "differences": result.differences} for result in results]
            self.stdout.write(json.dumps({"cases": len(results), "failed": len(failed), "results": told}))
        else:
            for result in failed:
                for name, pair in result.differences.items():
                    expected, found = (json.dumps(pair[side]) for side in ("expected", "found"))
                    self.stdout.write(f"{result.id}: {name} is {found}, expected {expected}")
            self.stdout.write(f"{len(results)} cases, {len(failed)} not as expected")
        if failed:
            sys.exit(1)
