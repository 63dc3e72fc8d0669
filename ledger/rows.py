"""What is appended, and its rows on their way into PostgreSQL (LEDGER section 9).

One INSERT takes a few entries, COPY many.

psycopg's COPY converts value by value, which costs more than hashing; these rows are packed by hand instead,
in PostgreSQL's binary COPY format (documentation of COPY, "Binary Format").
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import count as count_from
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg

from ledger.models.log import POSITIONS_PER_LOG

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID


@dataclass(frozen=True, slots=True)
class LogRef:
    """What the append path needs to know of a log."""

    id: int
    origin: str


class SealedRow(NamedTuple):
    """Ciphertext of one private value, and how to encrypt it anew when its key is gone at the flush."""

    ptr: str
    subject_key_id: UUID
    nonce: bytes
    ciphertext: bytes
    reseal: Callable[[], tuple[KeyRow, SealedRow]] | None  # None: its key is stored with it


class KeyRow(NamedTuple):
    """A wrapped data encryption key to be stored with the first part that uses it."""

    id: UUID
    kek_id: str
    wrapped_dek: bytes


@dataclass(slots=True)
class Work:
    """One statement, built and ready to be sequenced.

    `request_mac` is None on the signed and system paths. `beside` stores rows of the caller's own in the same
    transaction: it is told a cursor and the position, and runs only if the statement is new.
    """

    uid: UUID
    raw: bytes
    kind: str
    ts: datetime
    sigs: bytes = b"[]"
    agent: str | None = None
    action: str | None = None
    zone: str | None = None
    risk: str | None = None
    level: str | None = None
    bypassed: bool | None = None
    request_mac: bytes | None = None
    parts: Sequence[SealedRow] = ()
    keys: Sequence[KeyRow] = ()
    warnings: tuple[str, ...] = ()  # for the answer alone
    beside: Callable[[psycopg.Cursor[Any], int], object] | None = None


Row = tuple[int, Work, bytes, bytes]  # seq, work, entry, leaf hash

COPY_FROM = 16  # entries; below it an INSERT of several rows is cheaper than starting a COPY

ENTRY_COLUMNS = (
    "id, log_id, seq, uid, kind, agent, action, zone, risk, level, bypassed, ts, rcvd, late, entry, leaf_hash"
)
PART_COLUMNS = "log_id, uid, ptr, subject_key_id, nonce, ciphertext"
KEY_COLUMNS = "id, kek_id, wrapped_dek, created"
SUBMISSION_COLUMNS = "log_id, uid, request_mac"
ENTRY_TYPES = (
    "bigint", "smallint", "bigint", "uuid", "text", "text", "text", "text", "text", "text", "boolean",
    "timestamptz", "timestamptz", "boolean", "bytea", "bytea",
)  # fmt: skip
PART_TYPES = ("smallint", "uuid", "text", "uuid", "bytea", "bytea")
KEY_TYPES = ("uuid", "text", "bytea", "timestamptz")
SUBMISSION_TYPES = ("smallint", "uuid", "bytea")
TABLES = (
    ("ledger_subjectkey", KEY_COLUMNS, KEY_TYPES),
    ("ledger_sealedpart", PART_COLUMNS, PART_TYPES),
    ("ledger_submission", SUBMISSION_COLUMNS, SUBMISSION_TYPES),
    ("ledger_entry", ENTRY_COLUMNS, ENTRY_TYPES),
)

COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_TRAILER = b"\xff\xff"
NULL = b"\xff\xff\xff\xff"
PG_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_length = struct.Struct("!i").pack
_columns = struct.Struct("!h").pack
_entry_head = struct.Struct("!hiqihiqi16s").pack
_instant = struct.Struct("!iq").pack
_uid_head = struct.Struct("!hihi16s").pack
_sealed = struct.Struct("!i16si12si").pack
_FLAGS = {None: NULL, True: b"\0\0\0\1\1", False: b"\0\0\0\1\0"}


def _bytes(value: bytes) -> bytes:
    return _length(len(value)) + value


@lru_cache(maxsize=4096)
def _text(value: str | None) -> bytes:
    return NULL if value is None else _bytes(value.encode())


def _timestamp(value: datetime) -> bytes:
    since: timedelta = value - PG_EPOCH
    return _instant(8, (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds)


def _entry_rows(log: LogRef, rows: Sequence[Row], rcvd: datetime) -> bytes:
    base, received, pieces = log.id * POSITIONS_PER_LOG, _timestamp(rcvd), [COPY_HEADER]
    for seq, work, entry, leaf in rows:
        pieces += (
            _entry_head(16, 8, base + seq, 2, log.id, 8, seq, 16, work.uid.bytes),
            _text(work.kind), _text(work.agent), _text(work.action), _text(work.zone), _text(work.risk),
            _text(work.level), _FLAGS[work.bypassed], _timestamp(work.ts), received, _FLAGS[False],
            _bytes(entry), b"\0\0\0\x20", leaf,
        )  # fmt: skip
    pieces.append(COPY_TRAILER)
    return b"".join(pieces)


def store_rows(cursor: psycopg.Cursor[Any], log: LogRef, rows: Sequence[Row], rcvd: datetime) -> None:
    if len(rows) < COPY_FROM:
        _insert_all(cursor, log, rows, rcvd)
    else:
        _copy_all(cursor, log, rows, rcvd)


def _copy_all(cursor: psycopg.Cursor[Any], log: LogRef, rows: Sequence[Row], rcvd: datetime) -> None:
    keys = [
        _columns(4) + _bytes(key.id.bytes) + _text(key.kek_id) + _bytes(key.wrapped_dek) + _timestamp(rcvd)
        for _, work, _, _ in rows
        for key in work.keys
    ]
    parts: list[bytes] = []
    for _, work, _, _ in rows:
        if work.parts:
            place = _uid_head(6, 2, log.id, 16, work.uid.bytes)
            for part in work.parts:
                ciphertext = part.ciphertext
                sealed = _sealed(16, part.subject_key_id.bytes, 12, part.nonce, len(ciphertext))
                parts += (place, _text(part.ptr), sealed, ciphertext)
    submissions = [
        _uid_head(3, 2, log.id, 16, work.uid.bytes) + _bytes(work.request_mac)
        for _, work, _, _ in rows
        if work.request_mac is not None
    ]
    for table, columns, packed in (
        ("ledger_subjectkey", KEY_COLUMNS, keys),
        ("ledger_sealedpart", PART_COLUMNS, parts),
        ("ledger_submission", SUBMISSION_COLUMNS, submissions),
    ):
        if packed:
            _copy(cursor, table, columns, b"".join((COPY_HEADER, *packed, COPY_TRAILER)))
    _copy(cursor, "ledger_entry", ENTRY_COLUMNS, _entry_rows(log, rows, rcvd))


def _copy(cursor: psycopg.Cursor[Any], table: str, columns: str, data: bytes) -> None:
    with cursor.copy(f"COPY {table} ({columns}) FROM STDIN (FORMAT BINARY)") as copy:
        copy.write(data)


@lru_cache(maxsize=256)
def _insert_sql(counts: tuple[int, ...]) -> str:
    """One statement for all tables; `counts` are the rows of each table of `TABLES`."""
    number = count_from(1)
    inserts = [
        f"INSERT INTO {table} ({columns}) VALUES "  # noqa: S608 - constants
        + ", ".join("(" + ", ".join(f"${next(number)}::{name}" for name in types) + ")" for _ in range(count))
        for (table, columns, types), count in zip(TABLES, counts, strict=True)
        if count
    ]
    *before, entries = inserts
    named = ", ".join(f"t{place} AS ({insert})" for place, insert in enumerate(before))
    return f"WITH {named} {entries}" if named else entries


def _insert_all(cursor: psycopg.Cursor[Any], log: LogRef, rows: Sequence[Row], rcvd: datetime) -> None:
    base = log.id * POSITIONS_PER_LOG
    values: tuple[list[tuple[Any, ...]], ...] = (
        [(key.id, key.kek_id, key.wrapped_dek, rcvd) for _, work, _, _ in rows for key in work.keys],
        [
            (log.id, work.uid, part.ptr, part.subject_key_id, part.nonce, part.ciphertext)
            for _, work, _, _ in rows
            for part in work.parts
        ],
        [(log.id, work.uid, work.request_mac) for _, work, _, _ in rows if work.request_mac is not None],
        [
            (base + seq, log.id, seq, work.uid, work.kind, work.agent, work.action, work.zone, work.risk,
             work.level, work.bypassed, work.ts, rcvd, False, entry, leaf)
            for seq, work, entry, leaf in rows
        ],
    )  # fmt: skip
    flat = [value for table in values for row in table for value in row]
    # psycopg's own placeholders are looked for in the text anew at each call once there are fifty of them.
    raw = psycopg.RawCursor(cursor.connection)
    raw.execute(_insert_sql(tuple(map(len, values))), flat, binary=True)
