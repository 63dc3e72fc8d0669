"""Check a rule file; no database is needed."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand

from advisory.friction.core.calculator import FrictionCalculator
from advisory.friction.core.lint import warnings
from advisory.friction.core.rules import RuleSetInvalid
from advisory.friction.management.files import line_of, read
from ecp_project.kernel.clock import utc_now

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    help = (
        "Check a rule file and name each problem with its line. "
        "Exit 0: it loads, perhaps with warnings. 1: problems. 2: the file cannot be read."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE", help="rule file (YAML)")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        del args
        path = options["file"]
        try:
            ruleset = FrictionCalculator.load(read(path)).ruleset
        except RuleSetInvalid as invalid:
            if options["json"]:
                errors = [problem.document() for problem in invalid.problems]
                self.stdout.write(json.dumps({"valid": False, "errors": errors}))
            else:
                for problem in invalid.problems:
                    self.stdout.write(line_of(path, problem))
            sys.exit(1)
        found = warnings(ruleset, utc_now())
        if options["json"]:
            told = [warning.document() for warning in found]
            self.stdout.write(json.dumps({"valid": True, "hash": ruleset.hash, "warnings": told}))
            return
        for warning in found:
            self.stdout.write(f"{path}:{warning.line}: warning {warning.code} {warning.message}")
        self.stdout.write(f"{ruleset.id} v{ruleset.version}, {len(ruleset.rules)} rules, {ruleset.hash}")
