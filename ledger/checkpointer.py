"""Signs what is stored, after reading it back twice (LEDGER sections 10 and 12).

A process of its own with a direct connection; the only one that holds the signing key. A certificate log
was lost when one bit flipped between hashing and storing and the wrong hash was signed: so no stored byte
is signed unread. It also compares the database with the checkpoints kept outside it and writes the guard
row that appends wait for.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
import structlog

from ecp_project.kernel.clock import format_time
from ledger import metrics, modes
from ledger.announcements import CHANNEL, Announced, announcement
from ledger.core.columns import Columns, columns_of
from ledger.core.entry import EntrySyntax, genesis, leaf_hash, parse_entry
from ledger.core.note import Checkpoint, Signer, sign_checkpoint
from ledger.core.tiles import TILE_WIDTH, Tile, TileBuilder, tile_root
from ledger.models.log import POSITIONS_PER_LOG
from ledger.selectors.hot import first_row
from ledger.selectors.proofs import tile_source
from ledger.sinks import Courier, wait_for_one

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from ledger.sinks import Anchor, Sink

LOCK_CLASS = (
    0x4543504C  # "ECPL"; with the log's id the advisory lock that keeps a second checkpointer waiting
)
SLICE = 50_000
FETCH = 2_000
FAR_REST_S = 30.0
FAR_WAIT_S = 10.0  # below the time after which the database cuts an idle transaction off
SINK_UNREADABLE = "checkpoint_sink_unreadable"
STUCK_AFTER_S = 60.0  # far longer than a slice takes

_log = structlog.get_logger("ecp.checkpointer")


class ReadbackMismatch(Exception):
    """Stored bytes differ from what they must be. Nothing was signed.

    The log halts until a person has looked.
    """

    def __init__(self, log: str, seq: int, what: str) -> None:
        super().__init__(f"log {log}: {what} at position {seq}")
        self.seq = seq
        self.what = what


class HighWaterMark:
    """Beside the key: the largest size ever signed and its root, so that the key never signs a fork."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def check(self, origin: str, checkpoint: Checkpoint) -> None:
        marks = self._read()
        mark = marks.get(origin)
        if mark is None:
            return
        if checkpoint.size < mark["size"] or (
            checkpoint.size == mark["size"] and checkpoint.root.hex() != mark["root"]
        ):
            raise ReadbackMismatch(origin, checkpoint.size, f"the key has signed size {mark['size']} before")

    def raise_to(self, origin: str, checkpoint: Checkpoint) -> None:
        marks = self._read() | {origin: {"size": checkpoint.size, "root": checkpoint.root.hex()}}
        draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        with draft.open("w", encoding="utf-8") as stream:
            json.dump(marks, stream)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(self._path)

    def newest(self, origin: str) -> Checkpoint | None:
        """The largest tree of that log that the key has signed."""
        mark = self._read().get(origin)
        return Checkpoint(origin, int(mark["size"]), bytes.fromhex(mark["root"])) if mark else None

    def _read(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self._path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return {}


def anchor_line(checkpoint: Checkpoint, note: str, now: datetime, identity: modes.Identity) -> dict[str, Any]:
    """What a sink keeps of a checkpoint: the note, and which database cluster it was signed over."""
    return {
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
        "note": note,
        "at": format_time(now),
        "system_identifier": identity.system_identifier,
        "timeline": identity.timeline,
    }


@dataclass(slots=True)
class _Signed:
    """State after the newest checkpoint of one log."""

    builder: TileBuilder
    tip: bytes
    rcvd: str
    postmaster_start: datetime


ROWS_SQL = """
SELECT seq, uid, kind, agent, action, zone, risk, level, bypassed, rcvd, late, entry, leaf_hash
FROM ledger_entry WHERE id >= %s AND id < %s ORDER BY id
"""
BYTES_SQL = "SELECT entry, leaf_hash FROM ledger_entry WHERE id >= %s AND id < %s ORDER BY id"


class Checkpointer:
    """Checkpoints of all logs over one connection. `turn` does one round.

    The command calls it every second.
    """

    def __init__(
        self,
        *,
        connect: Callable[[], psycopg.Connection[Any]],
        signer: Callable[[str], Signer],
        sinks: Sequence[Sink],
        high_water: HighWaterMark,
        clock: Callable[[], datetime],
    ) -> None:
        assert sinks, "a checkpointer without a sink publishes nothing"
        self._connect = connect
        self._signer = signer
        self._sinks = sinks
        self._near = [sink for sink in sinks if not sink.is_far]
        self._couriers = [Courier(sink) for sink in sinks if sink.is_far]
        self._high_water = high_water
        self._clock = clock
        self._connection: psycopg.Connection[Any] | None = None
        self._states: dict[int, _Signed] = {}
        self._locked: set[int] = set()
        self._announced: dict[int, Announced] = {}
        self._away_until: dict[int, float] = {}  # place of a sink -> when it is asked again
        self._moved = time.monotonic()

    def turn(self) -> int:
        """Sign every log that has grown; returns how many checkpoints were signed.

        Raises `ReadbackMismatch`.
        """
        self._moved = time.monotonic()
        connection = self._live_connection()
        with connection.cursor(binary=True) as cursor:
            cursor.execute(
                "SELECT l.id, l.slug, l.origin, l.mode, h.size FROM ledger_log l "
                "JOIN ledger_head h ON h.log_id = l.id"
            )
            logs = cursor.fetchall()
        signed = 0
        metrics.show_mode(is_halted=any(mode != "active" for _, _, _, mode, _ in logs))
        for log_id, slug, origin, _mode, size in logs:
            if not self._holds_lock(connection, log_id):
                continue
            try:
                signed += self._log_turn(connection, log_id, slug, origin, size)
            except ReadbackMismatch:
                connection.rollback()
                metrics.READBACK_MISMATCH.inc()
                self._halt(connection, log_id, "readback_mismatch")
                self._states.pop(log_id, None)
                raise
        return signed

    def is_moving(self) -> bool:
        """Whether a round or slice began lately; that the database is away is no reason to die."""
        return time.monotonic() - self._moved < STUCK_AFTER_S

    def close(self) -> None:
        if self._connection is None:
            return
        # The server ends a session some time after its client has left; who waits for the lock should not.
        with contextlib.suppress(psycopg.Error):
            self._connection.execute("SELECT pg_advisory_unlock_all()")
        self._connection.close()
        self._connection = None

    def stop(self) -> None:
        """The end of the process: what far sinks have yet to get is tried once more."""
        self.close()
        for courier in self._couriers:
            courier.stop()

    def _live_connection(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed or self._connection.broken:
            self._connection = self._connect()
            self._connection.autocommit = True
            self._states.clear()
            self._locked.clear()
        return self._connection

    def _holds_lock(self, connection: psycopg.Connection[Any], log_id: int) -> bool:
        """One checkpointer at a time.

        Liveness only, the high-water mark and primary keys give correctness.
        """
        if log_id not in self._locked:
            row = connection.execute("SELECT pg_try_advisory_lock(%s, %s)", (LOCK_CLASS, log_id)).fetchone()
            if row is None or not row[0]:
                return False
            self._locked.add(log_id)
        return True

    def _log_turn(
        self, connection: psycopg.Connection[Any], log_id: int, slug: str, origin: str, size: int
    ) -> int:
        state = self._states.get(log_id)
        if state is None:
            state = self._open(connection, log_id, origin)
            if state is None:
                return 0
            self._states[log_id] = state
        metrics.SIZE.labels(log=slug).set(size)
        announced = self._announced.setdefault(log_id, Announced(state.builder.size))
        signed = 0
        # Entries that came back after a restore were signed before: below the mark the key signs nothing.
        mark = self._high_water.newest(origin)
        floor = mark.size if mark is not None else 0
        while state.builder.size < size:
            end = min(size, max(state.builder.size + SLICE, floor))
            self._sign_slice(connection, log_id, slug, origin, state, end)
            signed += 1
        if announced.is_due(state.builder.size, self._clock()):
            connection.execute(
                "SELECT pg_notify(%s, %s)", (CHANNEL, announcement(log_id, state.builder.size))
            )
        return signed

    # --- restore guard (section 12)
    def _open(self, connection: psycopg.Connection[Any], log_id: int, origin: str) -> _Signed | None:
        """Compare with the anchors, write the guard row, rebuild the frontier. None: the log stays halted."""
        # Before the transaction: a far sink may take its time, and an idle transaction is cut off.
        anchors, unreadable = self._anchors(origin)
        with connection.transaction(), connection.cursor(binary=True) as cursor:
            identity = modes.read_identity(cursor)
            cursor.execute(
                "SELECT size, root, note FROM ledger_checkpoint WHERE log_id = %s ORDER BY size DESC LIMIT 1",
                (log_id,),
            )
            size, root, note = cursor.fetchone() or (0, b"", "")
            cursor.execute("SELECT size FROM ledger_head WHERE log_id = %s", (log_id,))
            (head_size,) = cursor.fetchone() or (0,)
            verdict = self._verdict(
                cursor, log_id, head_size, identity, list(filter(None, anchors)), unreadable=unreadable
            )
            cursor.execute(
                """
                INSERT INTO ledger_guard
                    (log_id, system_identifier, timeline, postmaster_start, size, root, verdict, at)
                VALUES (%s, %s, %s, %s, %s, %s, %s, clock_timestamp())
                ON CONFLICT (log_id) DO UPDATE SET system_identifier = excluded.system_identifier,
                    timeline = excluded.timeline, postmaster_start = excluded.postmaster_start,
                    size = excluded.size, root = excluded.root, verdict = excluded.verdict, at = excluded.at
                """,
                (
                    log_id, identity.system_identifier, identity.timeline, identity.postmaster_start,
                    head_size,
                    bytes(root) or genesis(origin), verdict,
                ),
            )  # fmt: skip
            if verdict not in {modes.GUARD_OK, modes.GUARD_OK_RESTORED}:
                cursor.execute(
                    "UPDATE ledger_log SET mode = 'halt' WHERE id = %s AND mode <> 'halt'", (log_id,)
                )
                return None

            ask = partial(first_row, cursor.connection)
            builder = TileBuilder.restore(size, tile_source(log_id, ask))
            if size and builder.root() != bytes(root):
                raise ReadbackMismatch(origin, size, "the tiles do not give the root of the last checkpoint")
            tip, rcvd = genesis(origin), ""
            if size:
                base = log_id * POSITIONS_PER_LOG
                cursor.execute("SELECT entry FROM ledger_entry WHERE id = %s", (base + size - 1,))
                (last,) = cursor.fetchone() or (b"",)
                raw = bytes(last)
                tip, rcvd = leaf_hash(raw), parse_entry(raw).rcvd
        if size:
            line = anchor_line(Checkpoint(origin, size, bytes(root)), note, self._clock(), identity)
            held = [anchor for sink, anchor in zip(self._sinks, anchors, strict=True) if sink.is_far]
            for courier, anchor in zip(self._couriers, held, strict=True):
                if anchor is None or anchor.size < size:  # it missed what was signed while it was away
                    courier.send(line)
        return _Signed(builder, tip, rcvd, identity.postmaster_start)

    def _anchors(self, origin: str) -> tuple[list[Anchor | None], bool]:
        """What each sink holds, and whether none could be read."""
        anchors: list[Anchor | None] = []
        failed = 0
        for place, sink in enumerate(self._sinks):
            anchor = None
            try:
                # One log after another asks: an address that is away is not waited for each time.
                if time.monotonic() < self._away_until.get(place, 0.0):
                    raise OSError("it could not be read a moment ago")  # noqa: TRY301 - as if asked again
                anchor = sink.newest(origin)
            except OSError as error:
                _log.warning(SINK_UNREADABLE, sink=sink.name, exc_info=error)
                failed += 1
                if sink.is_far:
                    self._away_until[place] = time.monotonic() + FAR_REST_S
            anchors.append(anchor)
        return anchors, failed == len(self._sinks)

    def _verdict(
        self,
        cursor: psycopg.Cursor[Any],
        log_id: int,
        size: int,
        identity: modes.Identity,
        anchors: list[Anchor],
        *,
        unreadable: bool,
    ) -> str:
        """The table of section 12, worst finding first."""
        if not anchors:
            cursor.execute("SELECT EXISTS (SELECT FROM ledger_checkpoint WHERE log_id = %s)", (log_id,))
            (was_signed,) = cursor.fetchone() or (False,)
            # Entries that wait for their very first checkpoint have no anchor yet, and need none.
            return "no_anchor" if was_signed or unreadable else modes.GUARD_OK
        newest = max(anchors, key=lambda anchor: anchor.size)
        if size < newest.size:
            return "restored_behind_checkpoint"
        for anchor in anchors:
            if anchor.size and self._root_at(cursor, log_id, anchor.size) != anchor.root:
                return "anchor_root_mismatch"
        is_same = (newest.system_identifier, newest.timeline) == (
            identity.system_identifier,
            identity.timeline,
        )
        return modes.GUARD_OK if is_same else modes.GUARD_OK_RESTORED

    @staticmethod
    def _root_at(cursor: psycopg.Cursor[Any], log_id: int, size: int) -> bytes:
        """Root recomputed from the stored leaf hashes, not from a stored checkpoint."""
        builder = TileBuilder()
        base = log_id * POSITIONS_PER_LOG
        cursor.execute(
            "SELECT leaf_hash FROM ledger_entry WHERE id >= %s AND id < %s ORDER BY id", (base, base + size)
        )
        while rows := cursor.fetchmany(FETCH):
            for (leaf,) in rows:
                builder.append(bytes(leaf))
        return builder.root()

    # --- signing (section 10)
    def _sign_slice(  # noqa: PLR0917 - private step of one turn
        self,
        connection: psycopg.Connection[Any],
        log_id: int,
        slug: str,
        origin: str,
        state: _Signed,
        size: int,
    ) -> None:
        start, base = state.builder.size, log_id * POSITIONS_PER_LOG
        leaves, tip, rcvd = self._read_checked(connection, log_id, origin, state, size)
        builder = TileBuilder.restore(start, _memory_source(state.builder)) if start else TileBuilder()
        tiles = list(builder.extend(leaves))
        with connection.transaction(), connection.cursor(binary=True) as cursor:
            self._store_tiles(cursor, log_id, tiles)
            # The second reading: other buffers, other hashes, and the tiles as they are stored now.
            again = TileBuilder.restore(start, _memory_source(state.builder)) if start else TileBuilder()
            cursor.execute(BYTES_SQL, (base + start, base + size))
            while rows := cursor.fetchmany(FETCH):
                for entry, leaf in rows:
                    computed = leaf_hash(bytes(entry))
                    if computed != bytes(leaf):
                        raise ReadbackMismatch(origin, again.size, "leaf hash differs on the second reading")
                    again.append(computed)
            root = builder.root()
            if again.size != size or again.root() != root:
                raise ReadbackMismatch(origin, size, "the root differs on the second reading")
            self._compare_tiles(cursor, log_id, origin, tiles)
            checkpoint = Checkpoint(origin, size, root)
            self._high_water.check(origin, checkpoint)
            note = sign_checkpoint(checkpoint, self._signer(origin))
            self._high_water.raise_to(origin, checkpoint)
            now = self._clock()
            self._publish(cursor, checkpoint, note, now)
            cursor.execute(
                "INSERT INTO ledger_checkpoint (log_id, size, root, note, created) "
                "VALUES (%s, %s, %s, %s, %s)",
                (log_id, size, root, note, now),
            )
        state.builder, state.tip, state.rcvd = builder, tip, rcvd
        self._moved = time.monotonic()
        metrics.CHECKPOINT_SIZE.labels(log=slug).set(size)
        metrics.CHECKPOINT_SUCCESS.labels(log=slug).set(now.timestamp())

    def _read_checked(
        self, connection: psycopg.Connection[Any], log_id: int, origin: str, state: _Signed, size: int
    ) -> tuple[list[bytes], bytes, str]:
        """First reading: every rule that binds an entry to its place, and its columns to its bytes."""
        base, seq, tip, rcvd = log_id * POSITIONS_PER_LOG, state.builder.size, state.tip, state.rcvd
        leaves: list[bytes] = []
        with connection.cursor(binary=True) as cursor:
            cursor.execute(ROWS_SQL, (base + seq, base + size))
            while rows := cursor.fetchmany(FETCH):
                for row in rows:
                    tip, rcvd = _check_row(row, origin, seq, tip, rcvd)
                    leaves.append(tip)
                    seq += 1
        if seq != size:
            raise ReadbackMismatch(origin, seq, "an entry below the head is missing")
        return leaves, tip, rcvd

    @staticmethod
    def _store_tiles(cursor: psycopg.Cursor[Any], log_id: int, tiles: list[Tile]) -> None:
        for tile in tiles:
            cursor.execute(
                "INSERT INTO ledger_tile (log_id, level, idx, data, root) VALUES (%s, %s, %s, %s, %s) "
                "ON CONFLICT DO NOTHING",
                (log_id, tile.level, tile.index, tile.data, tile_root(tile.data)),
            )

    @staticmethod
    def _compare_tiles(cursor: psycopg.Cursor[Any], log_id: int, origin: str, tiles: list[Tile]) -> None:
        for tile in tiles:
            cursor.execute(
                "SELECT data, root FROM ledger_tile WHERE log_id = %s AND level = %s AND idx = %s",
                (log_id, tile.level, tile.index),
            )
            row = cursor.fetchone()
            if row is None or bytes(row[0]) != tile.data or bytes(row[1]) != tile_root(bytes(row[0])):
                raise ReadbackMismatch(
                    origin, tile.index * TILE_WIDTH, f"tile {tile.level}/{tile.index} differs"
                )

    def _publish(self, cursor: psycopg.Cursor[Any], checkpoint: Checkpoint, note: str, now: datetime) -> None:
        """Nobody sees a checkpoint before an anchor holds it.

        Without any anchor it is not published at all.
        """
        line = anchor_line(checkpoint, note, now, modes.read_identity(cursor))
        written = 0
        for sink in self._near:
            try:
                sink.publish(line)
                written += 1
            except OSError:
                metrics.PUBLISH_FAILURES.labels(sink=sink.name).inc()
        for courier in self._couriers:
            courier.send(line, is_urgent=not written)
        if not written and not wait_for_one(self._couriers, checkpoint.origin, checkpoint.size, FAR_WAIT_S):
            raise OSError("no checkpoint sink could be written; the checkpoint is not published")

    def _halt(self, connection: psycopg.Connection[Any], log_id: int, reason: str) -> None:
        with connection.transaction():
            connection.execute("UPDATE ledger_log SET mode = 'halt' WHERE id = %s", (log_id,))
            connection.execute(
                "UPDATE ledger_guard SET verdict = %s, at = clock_timestamp() WHERE log_id = %s",
                (reason, log_id),
            )


def _check_row(row: tuple[Any, ...], origin: str, seq: int, tip: bytes, rcvd: str) -> tuple[bytes, str]:
    """(leaf hash, rcvd) of a row that is sound at `seq` behind `tip`."""
    raw = bytes(row[11])
    leaf = leaf_hash(raw)
    if leaf != bytes(row[12]):
        raise ReadbackMismatch(origin, seq, "leaf hash and bytes differ")
    try:
        entry = parse_entry(raw)
    except EntrySyntax as error:
        raise ReadbackMismatch(origin, seq, str(error)) from error
    if entry.log != origin or entry.seq != seq or row[0] != seq:
        raise ReadbackMismatch(origin, seq, "another log or position stands in the bytes")
    if entry.prev != tip:
        raise ReadbackMismatch(origin, seq, "prev is not the leaf hash before it")
    if entry.rcvd < rcvd:
        raise ReadbackMismatch(origin, seq, "rcvd runs backwards")
    try:
        columns = columns_of(entry.stmt)
    except (KeyError, AttributeError) as error:
        raise ReadbackMismatch(origin, seq, "the statement lacks a member of its kind") from error
    if (
        UUID(entry.stmt["id"]) != row[1]
        or columns != Columns(*row[2:9])
        or format_time(row[9].astimezone(UTC)) != entry.rcvd
        or entry.late != row[10]
    ):
        raise ReadbackMismatch(origin, seq, "a column differs from the bytes")
    return leaf, entry.rcvd


def _memory_source(builder: TileBuilder) -> Callable[[int, int, int], bytes]:
    """`read_tile` of another builder's open tiles: a copy that the failed slice cannot spoil."""
    tiles = {(tile.level, tile.index): tile.data for tile in builder.partial_tiles()}
    return lambda level, index, _width: tiles[level, index]
