"""A log from its public bytes: entries checked while they are stored, then tiles and checkpoint.

Nothing stays unless every entry verifies and the root is the signed one. Private values are not in an export;
they come from a database backup or not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
from django.conf import settings
from django.db import connection, transaction

from ecp_project.kernel.clock import parse_time
from ecp_project.kernel.errors import BadRequest, Conflict
from ecp_project.kernel.signing import b64url_decode
from ledger.checkpointer import LOCK_CLASS
from ledger.core.columns import columns_of
from ledger.core.entry import EntrySyntax, genesis, parse_entry
from ledger.core.merkle import leaf_hash
from ledger.core.note import Checkpoint, split_note
from ledger.core.tiles import TileBuilder, tile_root
from ledger.core.verify.stream import LogVerifier
from ledger.keys import verifiers
from ledger.models import POSITIONS_PER_LOG, Agent, AgentKey, Log, Organisation
from ledger.rows import ENTRY_COLUMNS
from ledger.sequencer import MOVE_HEAD_SQL, connect
from ledger.services.exports import Export, open_export

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from ledger.core.entry import Entry
    from ledger.core.verify.report import Report

BATCH = 2_000
ENTRY_TYPES = (
    *("int8", "int2", "int8", "uuid", "text", "text", "text", "text", "text", "text"),
    *("bool", "timestamptz", "timestamptz", "bool", "bytea", "bytea"),
)
HEAD_SQL = "SELECT size, tip FROM ledger_head WHERE log_id = %s FOR UPDATE"


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """The outcome: `log` is None when the export did not verify, and then nothing was stored."""

    report: Report
    log: Log | None
    agents: int = 0
    keys: int = 0


class NotSound(Exception):
    """Entries from outside did not verify; carries the report and rolls the transaction back."""

    def __init__(self, report: Report) -> None:
        super().__init__(report.verdict())
        self.report = report


class Registry:
    """Agents and their keys, as far as the entries of a log tell of them.

    Who may do what is not public, so API keys, endpoints and memberships are not among it.
    """

    def __init__(self) -> None:
        self._agents: set[str] = set()
        self._keys: dict[str, dict[str, Any]] = {}

    def read(self, entry: Entry) -> None:
        stmt = entry.stmt
        if stmt["v"] == "ecp.decision/1":
            self._agents.add(stmt["agent"])
        elif stmt["v"] == "ecp.key/1" and stmt["holder"].startswith("agent:"):
            self._read_key(stmt)

    def _read_key(self, stmt: dict[str, Any]) -> None:
        agent = stmt["holder"].removeprefix("agent:")
        self._agents.add(agent)
        if stmt["event"] == "revoked":
            revoked = {"revoked_at": parse_time(stmt["ts"]), "revoked_reason": stmt.get("reason", "")}
            self._keys.get(stmt["kid"], {}).update(revoked)
            return
        until = stmt.get("valid_until")
        self._keys[stmt["kid"]] = {
            "agent": agent,
            "public_key": b64url_decode(stmt["public_key"]),
            "valid_from": parse_time(stmt["valid_from"]),
            "valid_until": parse_time(until) if until else None,
        }

    def store(self, organisation: Organisation) -> tuple[int, int]:
        """Register what is not registered yet; returns how many agents and keys were."""
        agents, made, keys = {}, 0, 0
        for slug in sorted(self._agents):
            agents[slug], is_new = Agent.objects.get_or_create(
                organisation=organisation, slug=slug, defaults={"title": slug}
            )
            made += is_new
        for kid, members in self._keys.items():
            said = members | {"agent": agents[members["agent"]]}
            keys += AgentKey.objects.get_or_create(kid=kid, defaults=said)[1]
        return made, keys


def log_rebuild(
    *, place: str, now: datetime, progress: Callable[[int, int], None] = lambda _done, _all: None
) -> Rebuilt:
    """Make the log that the export at `place` describes; its organisation, agents and keys as far as told.

    Raises Conflict when the log holds entries already, BadRequest when `place` is no readable export.
    """
    export = open_export(place)
    origin = export.checkpoint.origin
    verifier = export.key(verifiers(settings.ECP_LOG_PUBLIC_KEYS, origin))
    registry = Registry()
    try:
        with transaction.atomic():
            log = _empty_log(export, now)
            report = store_entries(
                log=log,
                entries=export.entries(0),
                run=LogVerifier(verifier, [export.note], signatures=True),
                total=export.checkpoint.size,
                watch=registry.read,
                progress=progress,
            )
            agents, keys = registry.store(log.organisation)
    except NotSound as refused:
        return Rebuilt(refused.report, None)
    store_checkpoint(log=log, note=export.note, now=now)
    progress(export.checkpoint.size, export.checkpoint.size)
    return Rebuilt(report, log, agents, keys)


def _empty_log(export: Export, now: datetime) -> Log:
    """The log of that origin, made if there is none, with its head locked."""
    origin = export.checkpoint.origin
    log = Log.objects.select_related("organisation").filter(origin=origin).first()
    if log is None:
        log = _new_log(export, now)
    with connection.cursor() as cursor:
        cursor.execute(HEAD_SQL, (log.id,))
        (size, _) = cursor.fetchone()
    if size:
        raise Conflict(
            "id_reused",
            f"the log {log.slug} holds {size:,} entries; a rebuild needs an empty one. To bring missing "
            "entries back use `manage.py ledger_recover --from`, to compare use `manage.py ledger_verify "
            "--against`",
        )
    return log


def _new_log(export: Export, now: datetime) -> Log:
    origin = export.checkpoint.origin
    slug = origin.rpartition("/")[2]
    first = next(export.entries(0), None)
    if first is None:
        raise BadRequest("bad_value", "the export holds no entry, so there is nothing to rebuild")
    try:
        stmt = parse_entry(first).stmt
    except EntrySyntax as error:
        raise BadRequest("bad_value", f"the first entry of the export is none: {error}") from error
    organisation, _ = Organisation.objects.get_or_create(slug=stmt["org"], defaults={"title": stmt["org"]})
    if (taken := Log.objects.filter(slug=slug).first()) is not None:
        raise Conflict("id_reused", f"the name {slug} belongs to the log {taken.origin} already")
    prior = Log.objects.filter(origin=stmt.get("prior", {}).get("origin", "")).first()
    log = Log.objects.create(
        slug=slug,
        origin=origin,
        organisation=organisation,
        prior_log=prior,
        epoch=prior.epoch + 1 if prior else 0,
    )
    head_create(log=log, now=now)
    return log


def head_create(*, log: Log, now: datetime) -> None:
    """The sequencer's row of a new log."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO ledger_head (log_id, size, tip, last_rcvd) VALUES (%s, 0, %s, %s)",
            (log.id, genesis(log.origin), now),
        )


def store_entries(
    *,
    log: Log,
    entries: Iterable[bytes],
    run: LogVerifier,
    total: int,
    watch: Callable[[Entry], None],
    progress: Callable[[int, int], None],
) -> Report:
    """Check and store exact entry bytes behind those the log holds, inside the caller's transaction.

    `run` stands at the log's size. Raises NotSound unless all is well and a signed checkpoint covers the last
    entry; the caller's transaction must not survive that.
    """
    assert connection.in_atomic_block, "entries and head change together; open a transaction first"
    with psycopg.Cursor(connection.connection) as cursor:
        # Long statements are expected here: the deferred triggers of all rows run at COMMIT.
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        cursor.execute(HEAD_SQL, (log.id,), binary=True)
        size, _ = cursor.fetchone() or (0, b"")
        rows: list[tuple[Any, ...]] = []
        end, tip, rcvd = size, b"", None
        for raw in entries:
            entry = run.feed(raw)
            if entry is None or run.findings:
                continue  # the rest is still read, so that the report names every finding
            tip, rcvd = leaf_hash(raw), parse_time(entry.rcvd)
            try:
                rows.append(_row(log.id, entry, tip, rcvd))
                watch(entry)
            except (KeyError, TypeError, ValueError) as error:
                raise BadRequest(
                    "bad_value",
                    f"the statement at position {entry.seq:,} lacks a member of its kind: {error}",
                ) from error
            end += 1
            if len(rows) == BATCH:
                _copy(cursor, rows)
                rows = []
                progress(end, total)
        report = run.finish()
        if not report.ok or report.incomplete:
            raise NotSound(report)
        if end > size:
            _copy(cursor, rows)
            cursor.execute(MOVE_HEAD_SQL, (end, tip, rcvd, log.id, size), binary=True)
            assert cursor.rowcount == 1, f"head of log {log.id} moved under its own lock"
    return report


def _row(log_id: int, entry: Entry, leaf: bytes, rcvd: datetime) -> tuple[Any, ...]:
    stmt = entry.stmt
    identity = (log_id * POSITIONS_PER_LOG + entry.seq, log_id, entry.seq, UUID(stmt["id"]))
    return (*identity, *columns_of(stmt), parse_time(stmt["ts"]), rcvd, entry.late, entry.raw, leaf)


def _copy(cursor: psycopg.Cursor[Any], rows: list[tuple[Any, ...]]) -> None:
    with cursor.copy(f"COPY ledger_entry ({ENTRY_COLUMNS}) FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(ENTRY_TYPES)
        for row in rows:
            copy.write_row(row)


def store_checkpoint(*, log: Log, note: str, now: datetime) -> None:
    """Tiles up to a verified checkpoint from the stored leaf hashes, and its row, in the checkpointer's role.

    A checkpointer that runs is left to sign the same entries itself: two writers would get into each other's
    way.
    """
    checkpoint = Checkpoint.parse(split_note(note)[0])
    base, builder = log.id * POSITIONS_PER_LOG, TileBuilder()
    with connect("checkpointer") as own, own.transaction(), own.cursor(binary=True) as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", (LOCK_CLASS, log.id))
        if cursor.fetchone() == (False,):
            return
        cursor.execute("SET LOCAL statement_timeout = 0")
        with own.cursor("leaves", binary=True) as leaves:
            leaves.execute(
                "SELECT leaf_hash FROM ledger_entry WHERE id >= %s AND id < %s ORDER BY id",
                (base, base + checkpoint.size),
            )
            for (leaf,) in leaves:
                for tile in builder.append(bytes(leaf)):
                    cursor.execute(
                        "INSERT INTO ledger_tile (log_id, level, idx, data, root) "
                        "VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
                        (log.id, tile.level, tile.index, tile.data, tile_root(tile.data)),
                    )
        if (builder.size, builder.root()) != (checkpoint.size, checkpoint.root):
            raise AssertionError(f"log {log.id} does not hold what was verified a moment ago")
        cursor.execute(
            "INSERT INTO ledger_checkpoint (log_id, size, root, note, created) "
            "VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            (log.id, checkpoint.size, checkpoint.root, note, now),
        )
