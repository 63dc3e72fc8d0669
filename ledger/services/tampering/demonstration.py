"""One tampering after the other, each on a fresh clone, judged by the product's own verifiers."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import connection

from ledger.core.export import export_lines
from ledger.core.verify.exported import check_export
from ledger.keys import verifiers
from ledger.models import POSITIONS_PER_LOG, Checkpoint, Entry, Guard, Log
from ledger.services.audit import catalogue_differences
from ledger.services.outside import outside_of
from ledger.services.tampering.kinds import TAMPERINGS, Tampering, Victim
from ledger.services.tampering.scratch import (
    LOG_ID,
    checkpointer,
    clone,
    copied_log,
    lift_guards,
    scratch_copy,
    standing_in,
    superuser_connect,
)
from ledger.services.verification import verify_log

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from ledger.core.verify.report import Report
    from ledger.services.tampering.scratch import Copy

ORIGIN_WITHOUT_LOG = "ecp.scratch/log/sample"


class Verdict(NamedTuple):
    """What one judge said: empty kind for nothing found, with every kind, a position and a range."""

    kind: str = ""
    kinds: tuple[str, ...] = ()
    place: int | None = None
    bad_range: tuple[int, int] | None = None

    def __str__(self) -> str:
        if self.place is not None:
            return f"{self.kind} at {self.place:,}"
        if self.kind and self.bad_range:
            return f"{self.kind} in {self.bad_range[0]:,} to {self.bad_range[1] - 1:,}"
        return self.kind or "-"


@dataclass(frozen=True, slots=True)
class Outcome:
    tampering: Tampering
    inside: Verdict  # the database's verifier, the restore guard or the audit
    offline: Verdict  # the offline verifier over an export of the spoiled database
    is_caught: bool


def demonstrate(
    *, log: Log | None, entries: int, now: datetime, template: str | None = None, only: Sequence[str] = ()
) -> Iterator[Outcome]:
    """Copy the first `entries` entries of `log` (none without a log) and tamper with the copy.

    `only` names kinds such as `M7`; empty means all. BadRequest when the server is not open to it.
    """
    source = list(_stored(log, entries)) if log else []
    origin = log.origin if log else ORIGIN_WITHOUT_LOG
    with scratch_copy(origin=origin, entries=source, now=now, template=template) as copy:
        for tampering in TAMPERINGS:
            if not only or tampering.number in only:
                yield stage(tampering, copy)


def _stored(log: Log, entries: int) -> Iterator[bytes]:
    base = log.id * POSITIONS_PER_LOG
    rows = Entry.objects.filter(id__gte=base, id__lt=base + min(entries, log.head.size)).order_by("id")
    yield from (bytes(raw) for raw in rows.values_list("entry", flat=True))


def stage(tampering: Tampering, copy: Copy) -> Outcome:
    """Tamper with a clone and let the judges look at it; the copy itself stays as it was."""
    anchors = copy.anchors.read_bytes()
    with ExitStack() as stack:
        database = stack.enter_context(clone(copy))
        stack.callback(copy.anchors.write_bytes, anchors)
        with superuser_connect(database) as connection, connection.transaction():
            if tampering.judge == "audit":
                connection.execute("SET LOCAL ecp.migration = 'tampering'")
            else:
                lift_guards(connection)
            tampering.apply(Victim(connection, copy))
        inside, offline = judge(tampering, copy, database)
    return Outcome(tampering, inside, offline, is_caught=is_caught(tampering, copy, inside, offline))


def is_caught(tampering: Tampering, copy: Copy, inside: Verdict, offline: Verdict) -> bool:
    """Kind and place are those that the table of LEDGER section 15 promises."""
    place = tampering.place(copy)
    expected_range = (copy.old_size, copy.size) if tampering.has_range else None
    is_found_inside = (inside.kind, inside.place) == (tampering.kind, place)
    if expected_range:
        is_found_inside &= inside.bad_range == expected_range
    if not tampering.exported:
        return is_found_inside
    exported_place = (tampering.exported_place or tampering.place)(copy)
    return is_found_inside and (offline.kind, offline.place) == (tampering.exported, exported_place)


def judge(tampering: Tampering, copy: Copy, database: str) -> tuple[Verdict, Verdict]:
    """(what the installation finds, what the offline verifier finds in an export of it)."""
    if tampering.judge == "guard":
        with checkpointer(copy, database) as process:
            process.turn()
    with standing_in(database, copy.keys):
        log = copied_log()
        if tampering.judge == "audit":
            objects = [f"{finding.category} {finding.name}" for finding in catalogue_differences()]
            return Verdict(objects[0] if objects else "", tuple(objects)), Verdict()
        offline = _told(_export_report(copy, log))
        if tampering.judge == "guard":
            verdict = Guard.objects.get(log=log).verdict
            return Verdict(verdict, (verdict,)), offline
        outside = outside_of(place=str(copy.anchors), origin=copy.origin)
        return _told(verify_log(log=log, projections=True, outside=outside)), offline


def _told(report: Report) -> Verdict:
    return Verdict(report.kind or "", tuple(report.kinds), report.first_bad_seq, report.bad_range)


def _export_report(copy: Copy, log: Log) -> Report:
    """As a stranger sees it: bytes in stored order, the checkpoints that were published, the public key."""
    target = copy.folder / "export.ndjson"
    newest = Checkpoint.objects.filter(log=log).order_by("size").last()
    assert newest is not None, "the copy was signed"
    with connection.cursor() as cursor:
        cursor.execute("SELECT entry FROM ledger_entry WHERE log_id = %s ORDER BY id", (LOG_ID,))
        entries = [bytes(row[0]) for row in cursor.fetchall()]
    lines: Any = export_lines(origin=copy.origin, first=0, entries=entries, checkpoint=newest.note)
    target.write_bytes(b"".join(lines))
    published = outside_of(place=str(copy.anchors), origin=copy.origin).notes
    return check_export(target, verifiers(copy.keys, copy.origin)[0], published)
