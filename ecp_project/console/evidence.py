"""Evidence packs: records bundled so that a stranger verifies them offline (CONSOLE section 12).

Up to 200 records are packed while the person waits, more by the worker: 200 records in a transaction of their
own, then everything at once. Private values stay sealed; `withheld.json` names what is sealed or left out.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.db import transaction
from django.template.loader import render_to_string
from django.utils import translation

from ecp_project.api.throttling import running
from ecp_project.console.handover import (
    actor_of,
    await_signed,
    complete,
    draft_of,
    fail,
    file_of,
    keys_of,
    oldest_job,
    refuse_unless_taker,
)
from ecp_project.console.models import EvidencePack, State
from ecp_project.kernel.canonical import encode
from ecp_project.kernel.errors import BadRequest, EcpError, Invalid, NotFound, Unavailable
from ledger.core import pack
from ledger.core.merkle import inclusion_proof
from ledger.core.verify.bundle import verifier_file
from ledger.models import POSITIONS_PER_LOG, Entry, Log, Mode
from ledger.recordpage import told as sentences
from ledger.selectors.console import viewer_of, visible
from ledger.selectors.proofs import newest_checkpoint, reader
from ledger.selectors.records import lines_withheld, record_of
from ledger.selectors.selection import selection
from ledger.services.staff import staff_act

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from ledger.selectors.console import Viewer
    from ledger.selectors.proofs import SignedSize
    from ledger.selectors.records import Record

INLINE = 200
MAX_RECORDS = 10_000
PART = 200
PAGES_HERE = "<!-- records -->"  # pages are rendered one by one, long before the report is put together


@dataclass(slots=True)
class Gathered:
    """What a pack holds so far: positions of its entries, what is withheld, the report's pages."""

    found: set[int] = field(default_factory=set)
    withheld: list[dict[str, Any]] = field(default_factory=list)
    pages: list[str] = field(default_factory=list)


# --- what goes in


def gather(viewer: Viewer, log: Log, records: Iterable[int]) -> Gathered:
    """Records with their timelines, as far as the person may see them. 404 for one that is not his."""
    gathered = Gathered()
    for seq in records:
        record = record_of(viewer=viewer, entry_id=log.pk * POSITIONS_PER_LOG + seq, only_decisions=False)
        gathered.found |= {seq, *(line.entry.seq for line in record.timeline.lines)}
        gathered.withheld += _withheld(record, lines_withheld(viewer=viewer, record=record))
        gathered.pages.append(_page(record))
    return gathered


def _withheld(record: Record, hidden: int) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []
    seq = record.entry.seq
    if record.sealed:
        parts = [
            {"ptr": ptr, "state": "erased" if ptr in record.erased else "sealed"} for ptr in record.sealed
        ]
        why = "private values stay sealed; the entry holds a commitment to each"
        told.append({"parts": parts, "seq": seq, "why": why})
    if hidden:
        why = "entries of the timeline that whoever made this pack may not see"
        told.append({"entries": hidden, "seq": seq, "why": why})
    if record.timeline.older is not None:
        why = f"the timeline is longer; its newest {len(record.timeline.lines)} are here"
        told.append({"seq": seq, "why": why})
    return told


def _page(record: Record) -> str:
    leaf = bytes(record.entry.leaf_hash).hex()
    with translation.override("en"):
        return render_to_string(
            "print/evidence_record.html", {"record": record, "lines": sentences(record), "leaf": leaf}
        )


def files_of(log: Log, signed: SignedSize, records: Sequence[int], gathered: Gathered) -> dict[str, bytes]:
    """Every file of the pack. Nothing in it depends on who asks, or when."""
    entries = _entries(log, gathered.found)
    nodes = reader(log.pk, signed.size)
    signers, others = keys_of(log, signed.note)
    with translation.override("en"):
        about = {"log": log, "size": signed.size, "root": signed.root.hex(), "records": len(records),
                 "entries": len(entries)}  # fmt: skip
        readme = render_to_string("print/evidence_readme.txt", about)
        head, _mark, foot = render_to_string("print/evidence_report.html", about).partition(PAGES_HERE)
    files = pack.proven(
        entries=entries,
        proofs={seq: inclusion_proof(seq, signed.size, nodes) for seq in sorted(entries)},
        note=signed.note,
        vkeys=[key.vkey for key in (*signers, *others)],
    ) | {
        "README.txt": readme.encode(),
        "report.html": "".join([head, *gathered.pages, foot]).encode(),
        "withheld.json": encode({"v": "ecp.withheld/1", "withheld": gathered.withheld}) + b"\n",
        "verify.py": verifier_file(),
    }
    return pack.manifested(files, origin=log.origin, size=signed.size, records=records)


def _entries(log: Log, found: Iterable[int]) -> dict[int, bytes]:
    ids = [log.pk * POSITIONS_PER_LOG + seq for seq in sorted(found)]
    rows = Entry.objects.filter(id__in=ids).values_list("seq", "entry")
    return {seq: bytes(entry) for seq, entry in rows}


# --- a request


def pack_request(*, viewer: Viewer, user: Any, entry_ids: Sequence[int], now: datetime) -> EvidencePack:
    """Make a pack of these records of one log, or leave it to the worker when they are many."""
    if not entry_ids:
        raise BadRequest("bad_value", "Choose at least one record.")
    if len(entry_ids) > MAX_RECORDS:
        raise Invalid("range_too_large", f"An evidence pack holds at most {MAX_RECORDS:,} records.")
    log = _log_of(viewer, entry_ids)
    refuse_unless_taker(viewer, log.organisation_id)
    if log.mode != Mode.ACTIVE:
        raise Unavailable("ledger_halted", "the ledger takes no entries, so that nothing can be handed over")
    records = sorted({id_ % POSITIONS_PER_LOG for id_ in entry_ids})
    row = EvidencePack(
        organisation=log.organisation,
        log=log,
        owner=user,
        actor=actor_of(viewer, log.organisation_id),
        records=records,
        has_file=True,
        created_at=now,
        moved_at=now,
    )
    if len(records) > INLINE:
        row.save(force_insert=True)
        return row
    with running("export", log.organisation_id):
        gathered = gather(viewer, log, records)
        signed = await_signed(log.pk, max(gathered.found) + 1)
        files = files_of(log, signed, records, gathered)
        _put(row, files)
        row.found, row.withheld, row.size = sorted(gathered.found), gathered.withheld, signed.size
        try:
            with transaction.atomic():
                _hand_over(row, files, now)
        except EcpError:
            file_of(row).unlink(missing_ok=True)
            raise
    return row


def ids_of_list(
    *, viewer: Viewer, parameters: Mapping[str, str], only_decisions: bool, now: datetime
) -> list[int]:
    """Ids of all that a list shows, for a pack of it. 422 beyond what a pack holds."""
    chosen = selection(viewer=viewer, parameters=parameters, only_decisions=only_decisions, now=now)
    rows = chosen.part(chosen.first, MAX_RECORDS + 1)
    return [row.pk for row in rows]


def _log_of(viewer: Viewer, entry_ids: Sequence[int]) -> Log:
    log_ids = {id_ // POSITIONS_PER_LOG for id_ in entry_ids}
    if len(log_ids) > 1:
        raise BadRequest("bad_value", "The records of a pack are of one log.")
    rows = visible(viewer, Entry.objects.filter(id__in=entry_ids))
    seen = set(rows.values_list("id", flat=True))
    if seen != set(entry_ids):
        raise NotFound("not_found", "there is no such record")
    return Log.objects.select_related("organisation").get(pk=log_ids.pop())


def _put(row: EvidencePack, files: dict[str, bytes]) -> None:
    draft = draft_of(row)
    data = pack.zipped(files)
    with draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(file_of(row))
    row.bytes = len(data)


def _hand_over(row: EvidencePack, files: dict[str, bytes], now: datetime) -> None:
    row.digest = files[pack.MANIFEST_DIGEST].decode().partition(" ")[0]
    row.rows = len(row.records)
    complete(row, now)
    staff_act(
        organisation=row.organisation,
        actor=row.actor,
        action="evidence.create",
        object_=f"evidence:{row.id}",
        now=now,
        detail={
            "log": row.log.slug,
            "manifest_sha256": row.digest,
            "records": len(row.records),
            "size": row.size,
        },
    )


# --- more than 200 records: the worker


def evidence_step(*, now: datetime) -> bool:
    """Work off a part of the oldest pack; False when there is nothing to do, or nothing can be done now."""
    with oldest_job(EvidencePack) as row:
        if row is None:
            return False
        try:
            with transaction.atomic():
                return _step(row, now)
        except Unavailable:
            return False  # the ledger takes nothing now; a later step hands the pack over
        except EcpError as problem:
            _spool(row).unlink(missing_ok=True)
            fail(row, problem.code, now)
            return True


def _step(row: EvidencePack, now: datetime) -> bool:
    viewer = viewer_of(get_user_model().objects.get(pk=row.owner_id))
    refuse_unless_taker(viewer, row.organisation_id)
    part = row.records[row.rows : row.rows + PART]
    if part:
        gathered = gather(viewer, row.log, part)
        _spool_pages(row, gathered.pages)
        row.found = sorted({*row.found, *gathered.found})
        row.withheld += gathered.withheld
        row.rows += len(part)
        row.state, row.moved_at = State.RUNNING, now
        row.save()
        return True
    signed = newest_checkpoint(row.log_id)
    if signed is None or signed.size <= row.found[-1]:
        return False
    pages = [_spool(row).read_text(encoding="utf-8")]
    files = files_of(row.log, signed, row.records, Gathered(set(row.found), row.withheld, pages))
    row.size = signed.size
    _put(row, files)
    _hand_over(row, files, now)
    _spool(row).unlink()
    return True


def _spool(row: EvidencePack) -> Any:
    return draft_of(row).with_suffix(".pages")


def _spool_pages(row: EvidencePack, pages: Sequence[str]) -> None:
    """Append the pages; what a killed worker wrote beyond the saved length is cut off."""
    with _spool(row).open("r+b" if row.bytes else "wb") as file:
        file.truncate(row.bytes)
        file.seek(row.bytes)
        file.write("".join(pages).encode())
        file.flush()
        os.fsync(file.fileno())
        row.bytes = file.tell()
