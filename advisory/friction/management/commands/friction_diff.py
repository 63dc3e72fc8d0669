"""Compare two rule files; no database is needed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand

from advisory.friction.core.difference import difference
from advisory.friction.management.files import calculator

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    help = (
        "Say which rules were added, removed and changed between two rule files. "
        "Exit 0: compared. 2: a file cannot be read or does not load."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("old", metavar="OLD", help="the older rule file")
        parser.add_argument("new", metavar="NEW", help="the newer rule file")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        del args
        found = difference(calculator(options["old"]).ruleset, calculator(options["new"]).ruleset)
        if options["json"]:
            self.stdout.write(json.dumps(found.document()))
            return
        self.stdout.write(f"old {found.old_hash}\nnew {found.new_hash}")
        for sign, rules in (("+", found.added), ("-", found.removed)):
            for rule in rules:
                self.stdout.write(f"{sign} {rule}")
        for rule, changes in found.changed.items():
            for change in changes:
                self.stdout.write(
                    f"~ {rule} {change.path}: {json.dumps(change.old)} -> {json.dumps(change.new)}"
                )
        for change in found.outside:
            self.stdout.write(f"~ {change.path}: {json.dumps(change.old)} -> {json.dumps(change.new)}")
        if found.reordered:
            self.stdout.write("~ the order of the rules")
