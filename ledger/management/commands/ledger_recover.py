"""Bring a log back after a restore."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import EcpError
from ledger.management.arguments import log_named, progress_line
from ledger.services.rebuild import NotSound
from ledger.services.recovery import GUARD_WAIT_S, Plan, Recovery, log_recover

if TYPE_CHECKING:
    from argparse import ArgumentParser

RECOVERED, STAYS_HALTED, USAGE, FORK = range(4)
ADVICE = {
    "consistent": "It agrees with every checkpoint outside.",
    "behind": (
        "Find an export or shipped segments that hold the rest and run again with --from. If they are gone "
        "for good, two admins accept that with --accept-loss --reason TEXT --by NAME --approved-by NAME."
    ),
    "no_anchor": (
        "No sink of ECP_CHECKPOINT_SINKS holds a checkpoint of this log, or none can be read. Make one "
        "readable; or, if you vouch for this database, run again with --accept-db --reason TEXT."
    ),
    "unsound": (
        "The database does not verify, so it stays halted. Restore another backup, or follow the runbook of "
        "a broken chain."
    ),
    "fork": (
        "The database and a checkpoint outside disagree about the same entries: a fork. It stays halted. "
        "Keep everything as it is and follow the runbook; the evidence file says what was compared."
    ),
}


class Command(BaseCommand):
    help = (
        "Compare a log with the checkpoints kept outside the database and reopen it if they agree; bring "
        "back entries that a restored backup lacks; or put on record that they are lost. Run it on the host "
        "of the checkpointer, while that is running: it has to find the log consistent too. What is done is "
        "recorded in the log. Exit 0: the log takes entries (with --check: it agrees). 1: it stays halted; "
        "the output says what to do. 2: wrong arguments, or an export that does not help. 3: a fork."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--log", help="slug of the log; may be left out when there is one")
        act = parser.add_mutually_exclusive_group()
        act.add_argument("--check", action="store_true", help="only compare, change nothing")
        act.add_argument(
            "--from",
            dest="place",
            metavar="EXPORT",
            help="take the missing entries from here: folder or address written by ledger_export, an "
            "export.ndjson, or a folder of such files",
        )
        act.add_argument(
            "--accept-db",
            action="store_true",
            help="no checkpoint outside is left: take the newest stored one for it (needs --reason)",
        )
        act.add_argument(
            "--accept-loss",
            action="store_true",
            help="close the log for good and open a successor that names what is lost (needs --reason, --by "
            "and --approved-by)",
        )
        parser.add_argument("--reason", default="", help="at least 10 visible characters, for the record")
        parser.add_argument("--by", default="", help="user name of the admin who decides")
        parser.add_argument("--approved-by", default="", help="user name of another admin who agrees")
        parser.add_argument(
            "--wait",
            type=float,
            default=GUARD_WAIT_S,
            metavar="SECONDS",
            help="how long to wait for the checkpointer (default 45)",
        )
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        del args
        if (options["accept_db"] or options["accept_loss"]) and not options["reason"]:
            raise CommandError("say why with --reason TEXT; it is recorded in the log", returncode=USAGE)
        if options["accept_loss"] and not (options["by"] and options["approved_by"]):
            raise CommandError(
                "a loss is accepted by two admins: --by NAME --approved-by NAME", returncode=USAGE
            )
        plan = Plan(
            reason=options["reason"],
            place=options["place"],
            accept_db=options["accept_db"],
            accept_loss=options["accept_loss"],
            by=options["by"],
            approved_by=options["approved_by"],
            only_compare=options["check"],
        )
        try:
            done = log_recover(
                log=log_named(options["log"]),
                plan=plan,
                clock=utc_now,
                wait_s=options["wait"],
                progress=progress_line("entries"),
            )
        except NotSound as refused:
            raise CommandError(
                f"nothing was stored, the export does not continue this log:\n{refused.report.to_text()}",
                returncode=USAGE,
            ) from refused
        except (EcpError, LookupError) as problem:
            raise CommandError(getattr(problem, "detail", str(problem)), returncode=USAGE) from problem
        if options["json"]:
            self.stdout.write(json.dumps(done.to_document()))
        else:
            self._tell(done)
        code = _exit_code(done, only_compare=plan.only_compare)
        if code:
            sys.exit(code)

    def _tell(self, done: Recovery) -> None:
        standing = done.standing
        self.stdout.write(f"The database holds {standing.size:,} entries, root {standing.root.hex()}.")
        for anchor in standing.anchors:
            self.stdout.write(f"{anchor.place} holds size {anchor.size:,}, root {anchor.root.hex()}.")
        for name in standing.unreadable:
            self.stdout.write(f"{name} cannot be read.")
        if standing.lost:
            first, end = standing.lost
            self.stdout.write(f"Missing: positions {first:,} to {end - 1:,}, {end - first:,} entries.")
        if standing.verdict == "unsound":
            self.stdout.write(standing.report.to_text())
        if done.resumed is None:
            self.stdout.write(ADVICE[standing.verdict])
        if done.evidence is not None:
            self.stdout.write(f"Evidence: {done.evidence}")
        self._tell_acts(done)

    def _tell_acts(self, done: Recovery) -> None:
        if (imported := done.imported) is not None:
            self.stdout.write(
                f"Positions {imported.first:,} to {imported.end - 1:,} are back. {imported.sealed_gone:,} "
                "private values of theirs are not, as no export holds them. "
                f"{imported.erased_again:,} erased values that the backup had brought back are erased again."
            )
        if done.accepted_size is not None:
            self.stdout.write(f"The stored checkpoint of size {done.accepted_size:,} is the anchor now.")
        if (succession := done.succession) is not None:
            self.stdout.write(
                f"The log is closed. {succession.log.slug} takes its place; its first entry names the "
                f"{succession.lost:,} lost entries. {succession.keys:,} agent keys are carried over."
            )
        if (resumed := done.resumed) is None:
            return
        if not resumed.is_open:
            self.stdout.write(
                f"Still halted: {resumed.waits_for}. Is the checkpointer running? When it has looked at the "
                "log, run `manage.py ledger_recover` again."
            )
        else:
            told = "" if resumed.seq is None else f"; recorded at position {resumed.seq:,}"
            self.stdout.write(f"The log takes entries{told}.")


def _exit_code(done: Recovery, *, only_compare: bool) -> int:
    if done.standing.verdict == "fork":
        return FORK
    agrees = done.standing.verdict == "consistent"
    return RECOVERED if done.is_open or (only_compare and agrees) else STAYS_HALTED
