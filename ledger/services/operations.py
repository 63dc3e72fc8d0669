"""Mode switches by a person, and the static export of a log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import connection, transaction

from ecp_project.kernel.errors import Conflict, NotFound
from ecp_project.kernel.ids import new_uuid7
from ledger.core.export import export_lines, write_log
from ledger.core.statement import build_mode
from ledger.models import POSITIONS_PER_LOG, Entry, Log, Mode
from ledger.selectors.proofs import newest_checkpoint
from ledger.services.ledger import TransparencyLedger

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path


def mode_switch(*, log: Log, to: str, reason: str, actor: str, now: datetime) -> None:
    """Halt or reopen a log, and say so in it. The head row is locked first.

    Appends lock it before the log's row.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT size FROM ledger_head WHERE log_id = %s FOR UPDATE", (log.id,))
            cursor.fetchone()
        current = Log.objects.select_for_update().get(pk=log.pk)
        if current.mode == to:
            raise Conflict("id_reused", f"{log.slug} is in mode {to} already")
        stmt = build_mode(
            id_=new_uuid7(now),
            org=log.organisation.slug,
            ts=now,
            actor=actor,
            from_=current.mode,
            to=to,
            since=now,
            reason=reason,
        )
        if to == Mode.ACTIVE:
            Log.objects.filter(pk=log.pk).update(mode=to)
        TransparencyLedger(log).append_statement(stmt, now=now)
        if to != Mode.ACTIVE:
            Log.objects.filter(pk=log.pk).update(mode=to)


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
