"""Mode of the logs: switched by a person, told by the processes; and the static export of a log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db import connection, transaction

from ecp_project.kernel.clock import format_time, parse_time, utc_now
from ecp_project.kernel.errors import Conflict, NotFound, Unavailable
from ecp_project.kernel.ids import derived_uuid7, new_uuid7
from ledger import modes, sequencer
from ledger.core.entry import parse_entry
from ledger.core.export import export_lines, write_log
from ledger.core.statement import build_mode
from ledger.models import POSITIONS_PER_LOG, Entry, Guard, Log, Mode
from ledger.selectors.proofs import newest_checkpoint
from ledger.services.ledger import Receipt, TransparencyLedger, lock_head
from ledger.services.policies import policies

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from django.db.models import QuerySet

ACTOR = "system:ledger"


def start(*, now: datetime) -> None:
    """What every process does once: obey `ECP_LEDGER_MODE`, read the policies, tell what has ended.

    A policy file that breaks a rule stops the start, not an append later on.
    """
    policies()
    forced = modes.Halt("ECP_LEDGER_MODE is HALT", now, is_sticky=True)
    modes.process.force(forced if settings.ECP_LEDGER_MODE == "HALT" else None)
    if tell not in sequencer.on_news:
        sequencer.on_news.append(tell)


def mode_switch(*, log: Log, to: str, reason: str, actor: str, now: datetime) -> Receipt | None:
    """Halt or reopen a log, and say so in it. The head row is locked first.

    Appends lock it before the log's row. A halt works also while nothing can be stored: then the answer is
    None, and the entry that reopens the log tells since when it stood still.
    """
    with transaction.atomic():
        last_rcvd = lock_head(log)
        current = Log.objects.select_for_update().get(pk=log.pk)
        if current.mode == to:
            raise Conflict("id_reused", f"{log.slug} is in mode {to} already")
        stmt = build_mode(
            id_=new_uuid7(now),
            org=log.organisation.slug,
            ts=now,
            actor=actor,
            from_=current.mode,
            to=Mode(to).value,
            since=now if to != Mode.ACTIVE else min(now, _halted_since(log, last_rcvd)),
            reason=reason,
        )
        if to == Mode.ACTIVE:
            Log.objects.filter(pk=log.pk).update(mode=to)
            receipt: Receipt | None = TransparencyLedger(log).append_statement(stmt, now=now)
        else:
            receipt = _told_if_possible(log, stmt, now)
            Log.objects.filter(pk=log.pk).update(mode=to)
        transaction.on_commit(lambda: _keep_state(now))
    return receipt


def _told_if_possible(log: Log, stmt: dict[str, Any], now: datetime) -> Receipt | None:
    try:
        with transaction.atomic():
            return TransparencyLedger(log).append_statement(stmt, now=now)
    except Unavailable:
        return None


def _mode_entries(log: Log) -> QuerySet[Entry]:
    rows: QuerySet[Entry] = Entry.objects.filter(log=log, kind="ecp.mode/1").order_by("-seq")
    return rows


def _halted_since(log: Log, last_rcvd: datetime) -> datetime:
    """When the halt began: as the log tells it, else not before its last entry."""
    told = _mode_entries(log).values_list("entry", flat=True).first()
    stmt = parse_entry(bytes(told)).stmt if told is not None else {}
    return parse_time(stmt["since"]) if stmt.get("to") == Mode.HALT else last_rcvd


def _keep_state(now: datetime) -> None:
    is_halted = Log.objects.exclude(mode=Mode.ACTIVE).exists()
    halt = modes.Halt("log_halted", now, is_sticky=True) if is_halted else None
    modes.write_state_file(Path(settings.ECP_STATE_DIR), halt, now)


# --- what has ended is told in the log, by whichever process comes first
def tell(news: modes.News) -> None:
    """Hook of the batcher's thread: that thread's connection is given back afterwards."""
    try:
        if isinstance(news, modes.Restored):
            restored_tell(log_id=news.log_id, now=utc_now())
        else:
            resumed_tell(halt=news, now=utc_now())
    finally:
        connection.close()


def resumed_tell(*, halt: modes.Halt, now: datetime) -> list[Receipt]:
    """An entry in each open log for a transient HALT that has ended.

    A fault of the database halts every process at about the same time; one entry tells of it.
    """
    receipts = []
    for log in Log.objects.filter(mode=Mode.ACTIVE).select_related("organisation").order_by("id"):
        with transaction.atomic():
            lock_head(log)
            later = _mode_entries(log).filter(rcvd__gte=halt.since).values_list("entry", flat=True)
            if any(parse_entry(bytes(raw)).stmt["actor"] == ACTOR for raw in later):
                continue
            stmt = build_mode(
                id_=new_uuid7(now),
                org=log.organisation.slug,
                ts=now,
                actor=ACTOR,
                from_=Mode.HALT.value,
                to=Mode.ACTIVE.value,
                since=halt.since,
                reason=halt.reason,
            )
            receipts.append(TransparencyLedger(log).append_statement(stmt, now=now))
    return receipts


def restored_tell(*, log_id: int, now: datetime) -> Receipt | None:
    """The entry for a restored database that the checkpointer found consistent (LEDGER section 12).

    Everything in it, its id too, comes from the guard row, so that several processes make one entry.
    """
    guard = Guard.objects.filter(log_id=log_id, verdict=modes.GUARD_OK_RESTORED).first()
    log = Log.objects.filter(pk=log_id, mode=Mode.ACTIVE).select_related("organisation").first()
    if guard is None or log is None:
        return None
    stmt = build_mode(
        id_=derived_uuid7(guard.at, f"{log.origin}\n{format_time(guard.at)}".encode()),
        org=log.organisation.slug,
        ts=guard.at,
        actor=ACTOR,
        from_=Mode.HALT.value,
        to=Mode.ACTIVE.value,
        since=min(guard.postmaster_start, guard.at),
        reason=f"restored_unverified: database cluster {guard.system_identifier}, timeline {guard.timeline}; "
        f"{guard.size} entries agree with the newest checkpoint outside",
    )
    with transaction.atomic():
        return TransparencyLedger(log).append_statement(stmt, now=now)


def export_static(*, log: Log, to: Path) -> int:
    """Write the static log and `export.ndjson` up to the newest checkpoint; returns the size."""
    signed = newest_checkpoint(log.id)
    if signed is None:
        raise NotFound("not_signed_yet", f"{log.slug} has no checkpoint yet; is the checkpointer running?")
    to.mkdir(parents=True, exist_ok=True)
    write_log(to, signed_entries(log, signed.size), signed.note)
    draft = to / ".export.ndjson"
    with draft.open("wb") as stream:
        entries = signed_entries(log, signed.size)
        stream.writelines(export_lines(origin=log.origin, first=0, entries=entries, checkpoint=signed.note))
    draft.replace(to / "export.ndjson")
    return signed.size


def signed_entries(log: Log, size: int) -> Iterator[bytes]:
    base = log.id * POSITIONS_PER_LOG
    rows = (
        Entry.objects.filter(id__gte=base, id__lt=base + size).order_by("id").values_list("entry", flat=True)
    )
    for entry in rows.iterator(chunk_size=2_000):
        yield bytes(entry)
