"""Replay a rule file against recorded advice."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from advisory.friction.core.rules import LEVELS
from advisory.friction.management.files import USAGE, calculator
from advisory.friction.selectors.recorded import MOST, RecordedFilter
from advisory.friction.services.replaying import replay_run
from ledger.management.arguments import log_named, progress_line

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from advisory.friction.core.replay import Replay

_match_limit = re.compile(r"(high|medium|changed|not_replayable):\+?([0-9]{1,3}(?:\.[0-9]{1,3})?)%").fullmatch


class Command(BaseCommand):
    help = (
        "Evaluate recorded advice anew under another rule file, on the facts of that time. "
        "Exit 0: done. 1: a limit of --fail-if is passed. 2: wrong arguments."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", metavar="FILE", help="rule file (YAML)")
        parser.add_argument("--log", help="slug of the log of the organisation; default: the only one")
        parser.add_argument(
            "--last", type=int, default=10_000, help=f"how many advices, 1 to {MOST:,}; default 10,000"
        )
        parser.add_argument(
            "--fail-if",
            action="append",
            default=[],
            metavar="LIMIT",
            help='may be repeated: "high:+5%%" or "medium:+5%%" (points of its share), "changed:10%%", '
            '"not_replayable:10%%"',
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        del args
        limits = [_limit(text) for text in options["fail_if"]]
        if not 1 <= options["last"] <= MOST:
            raise CommandError(f"--last must be from 1 to {MOST:,}", returncode=USAGE)
        log = log_named(options["log"])
        replay = replay_run(
            log=log, calculator=calculator(options["file"]), wanted=RecordedFilter(last=options["last"]),
            progress=progress_line("advices"),
        )  # fmt: skip
        result = replay.result()
        self.stdout.write(json.dumps(result) if options["json"] else _as_text(result))
        passed = [f"{name}: {_found(replay, name):.1f} %, limit {limit:g} %"
                  for name, limit in limits if _found(replay, name) > limit]  # fmt: skip
        if passed:
            self.stderr.write("\n".join(passed))
            sys.exit(1)


def _limit(text: str) -> tuple[str, float]:
    match = _match_limit(text)
    if match is None:
        raise CommandError(f'{text} is no limit; write "high:+5%" or "changed:10%"', returncode=USAGE)
    return match[1], float(match[2])


def _found(replay: Replay, name: str) -> float:
    return replay.share_moved(name) if name in LEVELS else replay.share_of(name)


def _as_text(result: dict[str, Any]) -> str:
    kept = ", ".join(
        f"{result[name]:,} {name}" for name in ("replayable", "partially_replayable", "not_replayable")
    )
    lines = [
        f"{result['total']:,} advices: {kept}",
        f"{result['changed']:,} with another level; new rules {result['new_hash']}",
        "old level -> new level",
    ]
    for old, row in result["matrix"].items():
        lines.append(f"  {old:6} -> " + ", ".join(f"{count:,} {new}" for new, count in row.items()))
    lines += [
        f"  {rule}: fired {fires['old']:,} -> {fires['new']:,}" for rule, fires in result["rules"].items()
    ]
    delay = result["delay_minutes"]
    lines.append(f"minutes of delay: {delay['old']:,} -> {delay['new']:,}")
    return "\n".join([*lines, result["result_sha256"]])
