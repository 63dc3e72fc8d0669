"""The newest of a log in a few lines: last decisions, what staff did last, how fast it grows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from ecp_project.console.rollups import positions_at
from ledger.core.columns import DECISION
from ledger.core.entry import EntrySyntax, parse_entry
from ledger.models import Checkpoint, Entry, Verification
from ledger.recordpage import record_url
from ledger.selectors.console import headline, kind_in_words
from ledger.selectors.staffacts import STAFF, StaffAct, staff_acts

if TYPE_CHECKING:
    from datetime import datetime

    from ledger.models import Log
    from ledger.selectors.entries import OrgScope

PACE = timedelta(minutes=5)
MAX_PACE = 20_000


@dataclass(frozen=True, slots=True)
class Said:
    """An entry in one line; `text` is None when its stored bytes are no entry any more."""

    entry: Entry
    url: str
    what: str
    text: str | None


@dataclass(frozen=True, slots=True)
class Proof:
    """The newest checkpoint and the newest finished verification of a log, if there are any."""

    signed_size: int | None
    signed_at: datetime | None
    verification: Verification | None


def last_decisions(*, scope: OrgScope, log: Log, number: int, agent: str | None = None) -> list[Said]:
    rows = Entry.objects.filter(log_id=log.pk, kind=DECISION)
    if scope.agents is not None:
        rows = rows.filter(agent__in=scope.agents)
    if agent is not None:
        rows = rows.filter(agent=agent)
    return [_said(entry) for entry in rows.order_by("-seq")[:number]]


def last_staff_acts(*, scope: OrgScope, log: Log, number: int) -> list[StaffAct]:
    """Who sees assigned agents alone sees no acts of staff."""
    if scope.agents is not None:
        return []
    rows = list(Entry.objects.filter(log_id=log.pk, kind=STAFF).order_by("-seq")[:number])
    return staff_acts(organisation_id=scope.organisation_id, entries=rows)


def pace(*, scope: OrgScope, log: Log, now: datetime) -> int:
    """Decisions in the last five minutes; where far too many were received, the number of entries."""
    first = positions_at(log_id=log.pk, size=log.head.size, instants=[now - PACE])[now - PACE]
    if log.head.size - first > MAX_PACE:
        return int(log.head.size - first)
    rows = Entry.objects.filter(log_id=log.pk, kind=DECISION, seq__gte=first, seq__lt=log.head.size)
    return (rows if scope.agents is None else rows.filter(agent__in=scope.agents)).count()


def proof_of(*, log: Log) -> Proof:
    signed = Checkpoint.objects.filter(log_id=log.pk).order_by("-size").values_list("size", "created").first()
    ended = Verification.objects.filter(log_id=log.pk, ok__isnull=False).order_by("-started_at").first()
    size, at = signed or (None, None)
    return Proof(size, at, ended)


def _said(entry: Entry) -> Said:
    try:
        stmt = parse_entry(bytes(entry.entry)).stmt
    except EntrySyntax:
        return Said(entry, record_url(entry), entry.action or entry.kind, None)
    return Said(entry, record_url(entry), kind_in_words(entry.kind, stmt), headline(stmt))
