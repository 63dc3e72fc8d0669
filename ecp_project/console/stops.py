"""Why a log takes no entries now, since when and by whom: the strip above every page (CONSOLE section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.utils.translation import gettext as _

from ledger import modes
from ledger.models import Entry, Guard, Mode
from ledger.selectors.staffacts import names_of, statement_of
from ledger.sentences import actor_in_words

if TYPE_CHECKING:
    from datetime import datetime

    from ledger.models import Log

MODE = "ecp.mode/1"
NEWEST = 5  # of the entries about modes: the last one to this mode is nearly always the first of them


@dataclass(frozen=True, slots=True)
class Stop:
    """`since`, `who` and `reason` are empty where nothing tells them."""

    word: str
    since: datetime | None
    who: str
    reason: str


def stop_of(log: Log) -> Stop | None:
    """None while the log takes entries. One query more when a person has halted it, none otherwise."""
    if log.mode != Mode.ACTIVE:
        return _switched(log)
    halt = modes.process.halt
    if halt is not None:
        return Stop(_("HALT"), halt.since, _("the system"), halt.reason)
    guard: Guard | None = getattr(log, "guard", None)  # a log that is being set up has none yet
    if guard is None or guard.verdict in {modes.GUARD_OK, modes.GUARD_OK_RESTORED}:
        return None
    return Stop(_("HALT"), guard.at, _("the checkpointer"), guard.verdict)


def _switched(log: Log) -> Stop:
    word = log.get_mode_display() if log.mode != Mode.HALT else _("HALT")
    rows = Entry.objects.filter(log_id=log.pk, kind=MODE).order_by("-seq")[:NEWEST]
    for entry in rows:
        stmt = statement_of(entry)
        if stmt.get("to") == log.mode:
            actor = str(stmt.get("actor", ""))
            named = names_of(organisation_id=log.organisation_id, actors=[actor])
            return Stop(word, entry.rcvd, named.get(actor, actor_in_words(stmt)), str(stmt.get("reason", "")))
    return Stop(word, None, "", "")
