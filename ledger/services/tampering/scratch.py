"""The scratch database: a migrated database of its own, a copy of a log in it, clones that may be spoiled."""

from __future__ import annotations

import secrets
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
from django.conf import settings
from django.core.management import call_command
from django.db import connections
from psycopg import sql

from ecp_project.kernel import signing
from ecp_project.kernel.canonical import encode
from ecp_project.kernel.clock import format_time, parse_time, utc_now
from ecp_project.kernel.errors import BadRequest
from ecp_project.kernel.ids import new_uuid7
from ledger.checkpointer import Checkpointer, HighWaterMark
from ledger.core.columns import columns_of
from ledger.core.entry import genesis, parse_entry, signed_message, splice
from ledger.core.merkle import leaf_hash
from ledger.keys import add_public_key, signer
from ledger.models import POSITIONS_PER_LOG, Log
from ledger.rows import ENTRY_COLUMNS
from ledger.services import projections
from ledger.sinks import FileSink

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

PREFIX = "ecp_scratch_"
LOG_ID = 1
SLUG = "scratch"  # the real slug would stand for two logs in the metrics of the process
AGENT = "scratch-bot"
OWN_DECISIONS = 15
TARGET = 9  # after the entries that are copied: a signed decision under the newest checkpoint alone
BYPASS = 6
SIGNED_FIRST = 4
INSERT_SQL = (
    f"INSERT INTO ledger_entry ({ENTRY_COLUMNS}) "  # noqa: S608 - constants
    f"VALUES ({', '.join(['%s'] * 16)})"
)
TABLES = ("entry", "tile", "checkpoint", "cosignature", "log", "head")
# Constraints refuse what a careless forger writes; a careful one takes them away first.
CONSTRAINTS = ("entry_leaf_hash", "entry_position", "entry_uid_once")


@dataclass(frozen=True, slots=True)
class Copy:
    """A log as it was copied: first the entries of the real one, then some made for the demonstration."""

    database: str
    folder: Path
    origin: str
    seed: bytes
    size: int
    own_first: int  # position of the first entry that was made for it, an `ecp.key/1`
    old_size: int  # the older one of its two checkpoints

    @property
    def target(self) -> int:
        return self.own_first + TARGET

    @property
    def bypass(self) -> int:
        return self.own_first + BYPASS

    @property
    def anchors(self) -> Path:
        """The sink's file: checkpoints kept outside the database."""
        return self.folder / "checkpoints.ndjson"

    @property
    def keys(self) -> Path:
        return self.folder / "log-keys.json"


def superuser_connect(database: str) -> psycopg.Connection[Any]:
    """As the migrate job logs in. BadRequest when that is no superuser."""
    parameters = connections["migrator"].get_connection_params()
    for name in ("cursor_factory", "context"):
        parameters.pop(name, None)
    connection = psycopg.connect(**parameters | {"dbname": database}, autocommit=True)
    row = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = session_user").fetchone()
    if row is None or not row[0]:
        connection.close()
        raise BadRequest(
            "bad_value",
            "tampering takes a superuser: point DATABASE_URL_MIGRATOR at one of a database server that may "
            "hold a scratch database, such as the embedded one",
        )
    return connection


@contextmanager
def standing_in(database: str, keys: Path) -> Iterator[None]:
    """Let this process work in `database` with the public keys in `keys`, as it does in its own otherwise.

    For a process with one thread: connections and settings are the process's.
    """
    wrapper: Any = connections["default"]
    assert not wrapper.in_atomic_block, "the database cannot change within a transaction"
    own = {name: wrapper.settings_dict[name] for name in ("NAME", "OPTIONS")}
    own_keys = settings.ECP_LOG_PUBLIC_KEYS
    wrapper.close()
    wrapper.close_pool()
    options = {name: value for name, value in own["OPTIONS"].items() if name != "pool"}
    wrapper.settings_dict.update(NAME=database, OPTIONS=options)
    settings.ECP_LOG_PUBLIC_KEYS = keys
    try:
        yield
    finally:
        wrapper.close()
        wrapper.settings_dict.update(own)
        settings.ECP_LOG_PUBLIC_KEYS = own_keys


@contextmanager
def scratch_copy(
    *, origin: str, entries: Sequence[bytes], now: datetime, template: str | None = None
) -> Iterator[Copy]:
    """A database that holds `entries` and some of its own behind them, signed twice; gone at the end.

    `template` names a migrated database without rows; without one the migrations run.
    """
    database, seed = PREFIX + secrets.token_hex(4), secrets.token_bytes(32)
    with TemporaryDirectory(prefix=PREFIX) as name, superuser_connect("postgres") as admin:
        _create(admin, database, template)
        try:
            if template is None:
                _migrate(database)
            own = list(_own_entries(origin, entries, now))
            copy = Copy(
                database=database,
                folder=Path(name),
                origin=origin,
                seed=seed,
                size=len(entries) + len(own),
                own_first=len(entries),
                old_size=len(entries) + SIGNED_FIRST,
            )
            _fill(copy, [*entries, *own], now)
            yield copy
        finally:
            _drop(admin, database)


@contextmanager
def clone(copy: Copy) -> Iterator[str]:
    """Another database with the same rows, to be spoiled."""
    name = f"{copy.database}_{secrets.token_hex(2)}"
    with superuser_connect("postgres") as admin:
        _create(admin, name, copy.database)
        try:
            yield name
        finally:
            _drop(admin, name)


@contextmanager
def checkpointer(copy: Copy, database: str) -> Iterator[Checkpointer]:
    """The product's own, with the copy's key and sink."""
    parameters = connections["checkpointer"].get_connection_params()
    for name in ("cursor_factory", "context"):
        parameters.pop(name, None)
    found = Checkpointer(
        connect=lambda: psycopg.connect(**parameters | {"dbname": database}, autocommit=True),
        signer=lambda origin: signer(copy.seed, origin),
        sinks=[FileSink(copy.anchors)],
        high_water=HighWaterMark(copy.folder / "high-water.json"),
        clock=utc_now,
    )
    try:
        yield found
    finally:
        found.close()


def lift_guards(connection: psycopg.Connection[Any]) -> None:
    """What a superuser does first: pass the event triggers, switch off triggers, drop constraints."""
    connection.execute("SET LOCAL ecp.migration = 'tampering'")
    for table in TABLES:
        connection.execute(
            sql.SQL("ALTER TABLE {} DISABLE TRIGGER ALL").format(sql.Identifier(f"ledger_{table}"))
        )
    for constraint in CONSTRAINTS:
        connection.execute(
            sql.SQL("ALTER TABLE ledger_entry DROP CONSTRAINT {}").format(sql.Identifier(constraint))
        )


def row_of(raw: bytes, leaf: bytes | None = None) -> tuple[Any, ...]:
    """Row of an entry, as the sequencer writes it."""
    entry = parse_entry(raw)
    stmt = entry.stmt
    return (
        *(LOG_ID * POSITIONS_PER_LOG + entry.seq, LOG_ID, entry.seq, UUID(stmt["id"])),
        *columns_of(stmt),
        *(parse_time(stmt["ts"]), parse_time(entry.rcvd), entry.late, raw, leaf or leaf_hash(raw)),
    )


def _create(admin: psycopg.Connection[Any], name: str, template: str | None) -> None:
    names = sql.Identifier(name), sql.Identifier(template or "template1")
    admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER ecp_owner").format(*names))


def _drop(admin: psycopg.Connection[Any], name: str) -> None:
    admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _migrate(database: str) -> None:
    wrapper = connections["migrator"]
    own = wrapper.settings_dict["NAME"]
    wrapper.close()
    wrapper.settings_dict["NAME"] = database
    try:
        call_command("migrate", database="migrator", verbosity=0, interactive=False)
    finally:
        wrapper.close()
        wrapper.settings_dict["NAME"] = own


def _own_entries(origin: str, before: Sequence[bytes], now: datetime) -> Iterator[bytes]:
    """A key and decisions signed by it: what every kind of tampering needs, whatever the real log holds."""
    seed = secrets.token_bytes(32)
    kid = signing.kid_of(signing.public_from_seed(seed))
    tip, org, at = genesis(origin), origin.rpartition("/")[2], now
    if before:
        last = parse_entry(before[-1])
        tip, org, at = leaf_hash(last.raw), last.stmt["org"], max(now, parse_time(last.rcvd))
    for number in range(OWN_DECISIONS + 1):
        rcvd = format_time(at + timedelta(milliseconds=number))
        common = {"id": new_uuid7(at), "org": org, "ts": rcvd}
        stmt = encode(common | (_decision(number) if number else _key(kid, seed, rcvd)))
        signature = signing.b64url(signing.sign(seed, signed_message(origin, stmt)))
        entry = splice(
            origin=origin,
            prev=tip,
            rcvd=rcvd,
            seq=len(before) + number,
            sigs=encode([{"alg": "ed25519", "kid": kid, "sig": signature}]),
            stmt=stmt,
        )
        tip = leaf_hash(entry)
        yield entry


def _key(kid: str, seed: bytes, at: str) -> dict[str, Any]:
    return {
        "v": "ecp.key/1",
        "actor": "system:tamper-demo",
        "event": "added",
        "holder": f"agent:{AGENT}",
        "alg": "ed25519",
        "kid": kid,
        "public_key": signing.b64url(signing.public_from_seed(seed)),
        "valid_from": at,
    }


def _decision(number: int) -> dict[str, Any]:
    advisory: dict[str, Any] = {
        "advice_id": new_uuid7(utc_now()),
        "level": "high",
        "bypassed": number == BYPASS,
    }
    if number == BYPASS:
        advisory["bypass_reason"] = "The customer waited at the desk, and the second check was closed."
    return {
        "v": "ecp.decision/1",
        "agent": AGENT,
        "action": "refund.approve",
        "explanation": f"Approved refund {number}: the café delivered late, and the receipt is at hand.",
        "context_summary": {"days_late": 7},
        "summary_policy": "default@1",
        "risk": "medium",
        "zone": "operator",
        "advisory": advisory,
    }


def _fill(copy: Copy, entries: Sequence[bytes], now: datetime) -> None:
    add_public_key(copy.keys, copy.seed)
    with (
        superuser_connect(copy.database) as connection,
        checkpointer(copy, copy.database) as signing_process,
    ):
        with connection.transaction():
            _identity(connection, copy, entries, now)
        for first, end in ((0, copy.old_size), (copy.old_size, copy.size)):
            with connection.transaction(), connection.cursor() as cursor:
                cursor.executemany(INSERT_SQL, [row_of(raw) for raw in entries[first:end]])
                cursor.execute(
                    "UPDATE ledger_head SET size = %s, tip = %s, last_rcvd = %s",
                    (end, leaf_hash(entries[end - 1]), parse_time(parse_entry(entries[end - 1]).rcvd)),
                )
            signing_process.turn()
    with standing_in(copy.database, copy.keys):
        while projections.project_search(log_id=LOG_ID):
            pass


def _identity(
    connection: psycopg.Connection[Any], copy: Copy, entries: Sequence[bytes], now: datetime
) -> None:
    """Organisation, log, head, and the agent whose key the copy's own entries announce."""
    stmt = parse_entry(entries[copy.own_first]).stmt
    connection.execute(
        "INSERT INTO ledger_organisation (id, slug, title, context_policy, created_at) "
        "VALUES (1, %s, %s, '{}', %s)",
        (stmt["org"], stmt["org"], now),
    )
    connection.execute(
        "INSERT INTO ledger_log (id, slug, origin, is_public, mode, epoch, min_index, created_at, "
        "organisation_id) VALUES (%s, %s, %s, false, 'active', 0, 0, %s, 1)",
        (LOG_ID, SLUG, copy.origin, now),
    )
    connection.execute(
        "INSERT INTO ledger_head (log_id, size, tip, last_rcvd) VALUES (%s, 0, %s, %s)",
        (LOG_ID, genesis(copy.origin), now),
    )
    connection.execute(
        "INSERT INTO ledger_agent (id, organisation_id, slug, title, status, owner, labels, endpoint, "
        "accepts_polls, created_at) VALUES (1, 1, %s, %s, 'active', '', '{}', '', false, %s)",
        (AGENT, AGENT, now),
    )
    connection.execute(
        "INSERT INTO ledger_agentkey (agent_id, kid, public_key, valid_from, revoked_reason, created_at) "
        "VALUES (1, %s, %s, %s, '', %s)",
        (stmt["kid"], signing.b64url_decode(stmt["public_key"]), parse_time(stmt["valid_from"]), now),
    )


def copied_log() -> Log:
    """The log of the database that stands in."""
    return Log.objects.select_related("organisation", "head").get(pk=LOG_ID)
