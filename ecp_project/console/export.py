"""Exports: exactly what a list shows, as CSV, JSON or NDJSON, with the manifest `ecp.list/1`.

Up to 100,000 rows go out while they are read, a thousand at a time, so memory does not grow with the list.
More rows are a job: the worker writes a file, ten thousand rows in a transaction of their own, and saves how
far it has come. The manifest is the last thing written; a file without one is torn (CONSOLE section 12).
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import structlog
from django.contrib.auth import get_user_model
from django.db import transaction
from django.utils.translation import gettext_lazy as _

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
from ecp_project.console.models import Export, Format, State
from ecp_project.kernel.clock import format_time, utc_now
from ecp_project.kernel.csvtext import csv_row
from ecp_project.kernel.errors import BadRequest, EcpError, Invalid
from ledger.core.entry import EntrySyntax, parse_entry
from ledger.core.listing import ListManifest
from ledger.core.merkle import tree_root
from ledger.selectors.console import headline, viewer_of
from ledger.selectors.proofs import newest_checkpoint, reader
from ledger.selectors.selection import selection
from ledger.services.staff import staff_act

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
    from datetime import datetime

    from ecp_project.kernel.csvtext import Value
    from ledger.models import Entry, Log
    from ledger.selectors.console import Viewer
    from ledger.selectors.proofs import SignedSize
    from ledger.selectors.selection import Selection

PART = 1_000
STREAM_ROWS = 100_000
MAX_ROWS = 5_000_000
PARTS_PER_STEP = 10
DETAIL_CHARACTERS = 1_000  # of one member of a staff entry
BROKEN = "interrupted"
EXPORT_BROKE = "export_broke"
_log = structlog.get_logger("ecp.console")


# --- what a row looks like


COLUMNS: dict[str, tuple[Any, Callable[[Entry, Mapping[str, Any]], Value]]] = {
    "seq": (_("Position"), lambda row, _stmt: row.seq),
    "id": (_("Record id"), lambda row, _stmt: str(row.uid)),
    "ts": (_("Decided or said"), lambda row, _stmt: row.ts),
    "rcvd": (_("Received"), lambda row, _stmt: row.rcvd),
    "kind": (_("Kind"), lambda row, _stmt: row.kind),
    "agent": (_("Agent"), lambda row, _stmt: row.agent),
    "action": (_("Action"), lambda row, _stmt: row.action),
    "explanation": (_("Explanation"), lambda _row, stmt: headline(stmt)),
    "friction": (_("Advice level"), lambda row, _stmt: row.level),
    "zone": (_("Zone"), lambda row, _stmt: row.zone),
    "bypassed": (_("Bypassed"), lambda row, _stmt: row.bypassed),
    "late": (_("Recorded late"), lambda row, _stmt: row.late),
    "leaf_hash": (_("Leaf hash"), lambda row, _stmt: bytes(row.leaf_hash).hex()),
}


def columns_of(text: str) -> tuple[str, ...]:
    """Chosen columns, joined by commas; all when none is chosen."""
    chosen = tuple(text.split(",")) if text else tuple(COLUMNS)
    if set(chosen) - set(COLUMNS) or len(set(chosen)) != len(chosen):
        raise BadRequest("bad_value", f"cols names columns of {', '.join(COLUMNS)}, each once")
    return chosen


def _said(row: Entry) -> Mapping[str, Any]:
    """The statement; nothing when the stored bytes are no entry any more."""
    try:
        return parse_entry(bytes(row.entry)).stmt
    except EntrySyntax:
        return {}


def _csv_rows(rows: Sequence[Entry], columns: Sequence[str], *, is_first: bool) -> bytes:
    del is_first
    picked = [COLUMNS[name][1] for name in columns]
    return b"".join(csv_row([value(row, stmt) for value in picked]) for row in rows for stmt in (_said(row),))


def _ndjson_rows(rows: Sequence[Entry], columns: Sequence[str], *, is_first: bool) -> bytes:
    del columns, is_first
    return b"".join(bytes(row.entry) + b"\n" for row in rows)


def _json_rows(rows: Sequence[Entry], columns: Sequence[str], *, is_first: bool) -> bytes:
    del columns
    joined = b",\n".join(bytes(row.entry) for row in rows)
    return joined if is_first or not rows else b",\n" + joined


@dataclass(frozen=True, slots=True)
class Shape:
    """One format: `before` and the manifest stand outside the digest, all else under it."""

    media_type: str
    before: bytes
    head: Callable[[Sequence[str]], bytes]
    rows: Callable[..., bytes]
    tail: bytes
    after: Callable[[bytes], bytes]


SHAPES: dict[str, Shape] = {
    Format.CSV: Shape("text/csv; charset=utf-8", b"", csv_row, _csv_rows, b"", lambda _manifest: b""),
    Format.JSON: Shape(
        "application/json", b'{"entries":', lambda _names: b"[", _json_rows, b"]",
        lambda manifest: b',"manifest":' + manifest + b"}\n",
    ),
    Format.NDJSON: Shape(
        "application/x-ndjson", b"", lambda _names: b"", _ndjson_rows, b"",
        lambda manifest: manifest + b"\n",
    ),
}  # fmt: skip


# --- a request


def export_request(
    *,
    viewer: Viewer,
    user: Any,
    parameters: Mapping[str, str],
    only_decisions: bool,
    format_: str,
    columns: str,
    now: datetime,
    entry_ids: Sequence[int] = (),
) -> tuple[Export, ExportStream | None]:
    """Record who takes what; give the stream, or None when the worker writes a file.

    With `entry_ids` of the list these rows alone; they are few enough to go out at once.
    """
    if format_ not in SHAPES:
        raise BadRequest("bad_value", f"format is one of: {', '.join(SHAPES)}")
    names = columns_of(columns) if format_ == Format.CSV else ()
    chosen = selection(viewer=viewer, parameters=parameters, only_decisions=only_decisions, now=now)
    refuse_unless_taker(viewer, chosen.log.organisation_id)
    if entry_ids:
        chosen = chosen.only(entry_ids)
    if chosen.exceeds(MAX_ROWS):
        raise too_large(chosen.log)
    is_job = chosen.exceeds(STREAM_ROWS) is not False
    organisation = chosen.log.organisation
    row = Export(
        organisation=organisation,
        log=chosen.log,
        owner=user,
        actor=actor_of(viewer, organisation.pk),
        state=State.QUEUED if is_job else State.RUNNING,
        has_file=is_job,
        format=format_,
        only_decisions=only_decisions,
        query=chosen.query,
        columns=list(names),
        as_of=chosen.as_of,
        first_seq=chosen.first,
        next_seq=chosen.first,
        end_seq=chosen.end,
        created_at=now,
        moved_at=now,
    )
    if is_job:
        _begin(row, now)
        return row, None
    with ExitStack() as lease:
        lease.enter_context(running("export", organisation.pk))
        signed = await_signed(chosen.log.pk, chosen.as_of)
        _begin(row, now)
        return row, ExportStream(row, chosen, signed, lease.pop_all())


def _begin(row: Export, now: datetime) -> None:
    """Keep the row and tell the log in one transaction: in HALT there is neither."""
    with transaction.atomic():
        row.save(force_insert=True)
        _record(row, now)


def too_large(log: Log) -> Invalid:
    return Invalid(
        "export_too_large",
        f"More than {MAX_ROWS:,} rows. The whole log is at /api/v1/logs/{log.slug}/export.ndjson.",
    )


def _record(row: Export, now: datetime) -> None:
    texts = [
        row.query[start : start + DETAIL_CHARACTERS] for start in range(0, len(row.query), DETAIL_CHARACTERS)
    ]
    queries = {f"query_{number}" if number else "query": text for number, text in enumerate(texts)}
    staff_act(
        organisation=row.organisation,
        actor=row.actor,
        action="export.create",
        object_=f"export:{row.id}",
        now=now,
        detail={
            "as_of": row.as_of,
            "format": row.format,
            "list": "decisions" if row.only_decisions else "entries",
            **queries,
        },
    )


def manifest_of(row: Export, signed: SignedSize, digest: str, length: int) -> ListManifest:
    keys, _others = keys_of(row.log, signed.note)
    return ListManifest(
        log=row.log.origin,
        vkey=keys[-1].vkey if keys else "",
        checkpoint=signed.note,
        query=row.query,
        columns=tuple(row.columns),
        size=row.as_of,
        root=tree_root(row.as_of, reader(row.log.pk, signed.size)),
        count=row.rows,
        length=length,
        sha256=digest,
        created=format_time(row.created_at),
        by=row.actor,
    )


# --- up to 100,000 rows


class ExportStream:
    """Chunks of a file while its rows are read. Whoever stops reading before the end leaves `failed`.

    `lease` is given back when the answer is over.
    """

    def __init__(self, row: Export, chosen: Selection, signed: SignedSize, lease: ExitStack) -> None:
        self.row, self.chosen, self.signed, self._lease = row, chosen, signed, lease
        self._is_whole = False
        self._chunks = self._written()

    def __iter__(self) -> Iterator[bytes]:
        return self._chunks

    def close(self) -> None:
        """The server calls this when the answer is over, for whatever reason."""
        self._chunks.close()
        self._lease.close()
        if not self._is_whole and self.row.state == State.RUNNING:
            _log.warning(EXPORT_BROKE, export=str(self.row.id), rows=self.row.rows)
            fail(self.row, BROKEN, utc_now())

    def _written(self) -> Generator[bytes]:
        row, shape, digest, length = self.row, SHAPES[self.row.format], sha256(), 0
        yield shape.before
        chunk = shape.head(row.columns)
        start, is_more = self.chosen.first, True
        while is_more:
            rows = self.chosen.part(start, PART)
            chunk += shape.rows(rows, row.columns, is_first=row.rows == 0)
            row.rows += len(rows)
            is_more = len(rows) == PART
            if is_more:
                start = rows[-1].seq + 1
            else:
                chunk += shape.tail
            digest.update(chunk)
            length += len(chunk)
            yield chunk
            chunk = b""
        manifest = manifest_of(row, self.signed, digest.hexdigest(), length).encoded()
        yield shape.after(manifest)
        # Only now the last byte has left: a client that went away before has no whole file.
        row.manifest, row.bytes = manifest.decode(), length
        complete(row, utc_now())
        self._is_whole = True


# --- more rows: the worker


def export_step(*, now: datetime) -> bool:
    """Write the next rows of the oldest job; False when there is nothing to do.

    Safe to run twice, or at once: a job is locked while a step of it is worked on, and what a killed worker
    wrote beyond the saved length is cut off.
    """
    with oldest_job(Export) as row:
        if row is None:
            return False
        try:
            chosen = _again(row)
        except EcpError as problem:
            fail(row, problem.code, now)
            return True
        return _step(row, chosen, now)


def _again(row: Export) -> Selection:
    """The selection of the request, with the rights that its owner has now."""
    viewer = viewer_of(get_user_model().objects.get(pk=row.owner_id))
    refuse_unless_taker(viewer, row.organisation_id)
    parameters = dict(parse_qsl(row.query)) | {"as_of": str(row.as_of)}
    chosen = selection(
        viewer=viewer, parameters=parameters, only_decisions=row.only_decisions, now=row.created_at
    )
    return replace(chosen, first=row.first_seq, end=row.end_seq)


def _step(row: Export, chosen: Selection, now: datetime) -> bool:
    shape, draft = SHAPES[row.format], draft_of(row)
    is_more = True
    if not draft.exists():  # nothing was written yet, or the file is gone: from the start
        row.rows, row.bytes, row.next_seq = 0, 0, row.first_seq
    with draft.open("r+b" if row.bytes else "wb") as file:
        file.truncate(row.bytes)
        file.seek(row.bytes)
        if not row.bytes:
            file.write(shape.before + shape.head(row.columns))
        for _number in range(PARTS_PER_STEP):
            rows = chosen.part(row.next_seq, PART)
            file.write(shape.rows(rows, row.columns, is_first=row.rows == 0))
            row.rows += len(rows)
            is_more = len(rows) == PART
            row.next_seq = rows[-1].seq + 1 if is_more else row.end_seq
            if not is_more:
                break
        file.flush()
        os.fsync(file.fileno())
        row.bytes = file.tell()
    row.state, row.moved_at = State.RUNNING, now
    if row.rows > MAX_ROWS:
        fail(row, "export_too_large", now)
        return True
    row.save()
    return is_more or _finish(row, now)


def _finish(row: Export, now: datetime) -> bool:
    """Close the file with its manifest; False while no checkpoint covers the list."""
    signed = newest_checkpoint(row.log_id)
    if signed is None or signed.size < row.as_of:
        return False
    shape, draft = SHAPES[row.format], draft_of(row)
    digest = sha256()
    with draft.open("r+b") as file:
        file.seek(len(shape.before))
        while data := file.read(1 << 20):
            digest.update(data)
        digest.update(shape.tail)
        length = file.tell() - len(shape.before) + len(shape.tail)
        manifest = manifest_of(row, signed, digest.hexdigest(), length).encoded()
        file.write(shape.tail + shape.after(manifest))
        file.flush()
        os.fsync(file.fileno())
    draft.replace(file_of(row))
    row.manifest, row.bytes = manifest.decode(), length
    complete(row, now)
    return True
