"""Verification runs that are kept: for the console, the metrics and the nightly check (LEDGER section 8).

A command reads a log in one go. The worker reads it in slices, each with a snapshot of its own and shorter
than a broker's patience: entries only ever join at the end, so the slices add up to the same judgement, and a
message that is delivered twice costs a slice at most.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import structlog
from django.db import DatabaseError, connection, transaction
from django.db.models import Q

from ledger import metrics
from ledger.core.merkle import Frontier, ProofInvalid
from ledger.core.tiles import TILE_WIDTH
from ledger.core.verify.report import Checked, Findings, Report
from ledger.models import POSITIONS_PER_LOG, Log, Verification
from ledger.selectors.proofs import newest_checkpoint, reader
from ledger.services.verification import (
    NoPublicKey,
    Pass,
    head_of,
    notes_of,
    snapshot,
    verifier_at,
    verify_log,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from ledger.services.outside import Outside

NOT_KEPT = "verification_not_kept"
_log = structlog.get_logger("ecp.verification")
# Whole tiles, so that the next slice finds the tree so far; even with a signature on each entry the last one,
# which may be twice as long, stays within the 60 s that a task may take.
SLICE = 256 * TILE_WIDTH
REPEATED_SQL = """
SELECT b.seq, b.uid FROM ledger_entry b JOIN ledger_entry a
    ON a.log_id = b.log_id AND a.uid = b.uid AND a.id < b.id
WHERE b.id >= %s AND b.id < %s ORDER BY b.seq
"""


def verification_run(
    *,
    log: Log,
    requested_by: str,
    clock: Callable[[], datetime],
    projections: bool = False,
    outside: Outside | None = None,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Report:
    """A full verification in one go, kept as a row where the database can be written."""
    started = clock()
    report = verify_log(log=log, projections=projections, outside=outside, progress=progress)
    row = Verification(log=log, requested_by=requested_by, started_at=started, next_seq=report.size)
    try:
        with transaction.atomic():
            _conclude(row, report, clock())
    except DatabaseError as error:  # an auditor's role and a standby only read
        _log.warning(NOT_KEPT, exc_info=error)
    return report


def verification_request(*, log: Log, requested_by: str, now: datetime) -> Verification:
    """Ask the worker for a full verification; while one is under way it is that one."""
    found = Verification.objects.filter(log=log, ended_at__isnull=True).first()
    return found or Verification.objects.create(log=log, requested_by=requested_by, started_at=now)


def verification_step(*, now: datetime) -> Verification | None:
    """Work off one slice of the oldest run that is not ended; None when there is nothing to do.

    Safe to run twice, or at once: a run is locked while a slice of it is worked on.
    """
    with snapshot("READ WRITE"):
        row = (
            Verification.objects.select_for_update(skip_locked=True, of=("self",))
            .filter(ended_at__isnull=True)
            .select_related("log__organisation")
            .order_by("started_at", "id")
            .first()
        )
        if row is not None:
            _slice(row, now)
    return row


def _slice(row: Verification, now: datetime) -> None:
    log, first = row.log, row.next_seq
    size, tip = head_of(log)
    end = _slice_end(log, first, size)
    sizes = Q(size__gte=first) if end is None else Q(size__gte=first, size__lte=end)
    try:
        # Tiles below this slice need not be trusted: the roots of later checkpoints follow from them.
        before = Frontier.restore(first, reader(log.id, first))
        verifier = verifier_at(log, before, list(notes_of(log, sizes)))
    except (NoPublicKey, ProofInvalid) as error:
        _give_up(row, str(error), now)
        return
    run = Pass(log, verifier, first)
    run.feed(end, size, lambda _done, _all: None)
    run.check_tiles()
    _check_reached(run, first, end)
    _check_repeated(run, first, end)
    if end is None:
        run.check_registry()
    report = _added(row, verifier.finish(head=(size, tip) if end is None else None))
    if end is None:
        row.next_seq = size
        _conclude(row, report, now)
    else:
        row.next_seq = end
        row.report = _document(report)
        row.save()


def _slice_end(log: Log, first: int, size: int) -> int | None:
    """Where this slice ends; None for the last one.

    The next one begins under a checkpoint, where tiles hold the tree so far.
    """
    signed = newest_checkpoint(log.id)
    end = first + SLICE
    is_last = size <= end + SLICE or signed is None or signed.size < end
    return None if is_last else end


def _check_reached(run: Pass, first: int, end: int | None) -> None:
    """An entry that is missing where two slices meet leaves no gap in either."""
    reached = first + run.verifier.checked.entries
    if end is not None and reached < end and not run.verifier.findings:
        run.verifier.findings.add("seq_gap", seq=reached, expected=str(reached), found=str(end))


def _check_repeated(run: Pass, first: int, end: int | None) -> None:
    """An id that an earlier slice has seen already."""
    if not first:
        return
    base = run.log.id * POSITIONS_PER_LOG
    with connection.cursor() as cursor:
        cursor.execute(REPEATED_SQL, (base + first, base + (POSITIONS_PER_LOG if end is None else end)))
        for seq, uid in cursor.fetchall():
            run.verifier.findings.add("duplicate_id", seq=seq, found=str(uid))


def _added(row: Verification, report: Report) -> Report:
    """The report of a slice with the findings and counts of the earlier ones."""
    before = row.report
    if not before:
        return report
    findings = Findings()
    for document in before["findings"]:
        findings.add(**document)
    for finding in report.findings.listed():
        findings.add(
            finding.kind,
            seq=finding.seq,
            expected=finding.expected,
            found=finding.found,
            detail=finding.detail,
        )
    counts = {name: count + before["checked"][name] for name, count in asdict(report.checked).items()}
    return replace(
        report,
        checked=Checked(**counts),
        findings=findings,
        seconds=report.seconds + before["seconds"],
        bad_range=tuple(before["bad_range"]) if before["bad_range"] else report.bad_range,
    )


def _document(report: Report) -> dict[str, Any]:
    """`ecp.verify/1`, with what is missing where the evidence is incomplete."""
    return report.to_document() | ({"incomplete": report.incomplete} if report.incomplete else {})


def _conclude(row: Verification, report: Report, now: datetime) -> None:
    row.ended_at, row.report = now, _document(report)
    row.ok = None if report.ok and report.incomplete else report.ok
    row.kind, row.first_bad_seq = report.kind or "", report.first_bad_seq
    row.save()
    transaction.on_commit(verification_metrics)


def _give_up(row: Verification, reason: str, now: datetime) -> None:
    """The run cannot go on; that is no finding, and no proof either."""
    row.ended_at, row.report = now, row.report | {"incomplete": reason}
    row.save()


def verification_metrics() -> None:
    """Set the gauges from the newest ended run of each log."""
    newest = [
        run
        for log_id in Log.objects.values_list("id", flat=True)
        if (
            run := Verification.objects.filter(log_id=log_id, ended_at__isnull=False)
            .order_by("-started_at")
            .first()
        )
    ]
    broken = [run for run in newest if run.ok is False]
    metrics.VERIFY_BROKEN.set(sum(len(run.report["findings"]) for run in broken))
    places = [run.first_bad_seq for run in broken if run.first_bad_seq is not None]
    metrics.VERIFY_FIRST_BAD.set(min(places, default=-1))
    metrics.VERIFIED_SIZE.set(sum(run.next_seq for run in newest if run.ok))
    if newest and all(run.ok for run in newest):
        oldest = min(run.ended_at for run in newest if run.ended_at is not None)
        metrics.VERIFY_SUCCESS.set(oldest.timestamp())
