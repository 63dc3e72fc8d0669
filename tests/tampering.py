"""A superuser lifts the ledger's triggers, changes rows, puts the triggers back (LEDGER section 15).

The fixtures leave the database as they found it: later tests of the same worker use it too.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import psycopg

    from ledger.models import Entry
    from tests.databases import Cluster

    Flip = Callable[[Entry, int], None]
    SuperuserRuns = Callable[[str, str], None]


@contextmanager
def tampering(cluster: Cluster, database: str, *tables: str) -> Iterator[psycopg.Connection[Any]]:
    """Connection of one transaction in which the triggers of `tables` do not fire."""
    with cluster.connect(database) as superuser, superuser.transaction():
        superuser.execute("SET LOCAL ecp.migration = 'tampering'")
        triggers = superuser.execute(
            "SELECT tgrelid::regclass::text, tgname FROM pg_trigger "
            "WHERE NOT tgisinternal AND tgenabled = 'A' AND tgrelid::regclass::text = ANY(%s)",
            (list(tables),),
        ).fetchall()
        _switch(superuser, triggers, "DISABLE")
        yield superuser
        _switch(superuser, triggers, "ENABLE ALWAYS")


def _switch(superuser: psycopg.Connection[Any], triggers: list[Any], how: str) -> None:
    for table, trigger in triggers:
        statement = sql.SQL("ALTER TABLE {} {} TRIGGER {}")
        superuser.execute(statement.format(sql.Identifier(table), sql.SQL(how), sql.Identifier(trigger)))


@pytest.fixture
def superuser_runs(cluster: Cluster, committed_db: str) -> SuperuserRuns:
    """`superuser_runs(table, statement)` with the triggers of that table off."""

    def run(table: str, statement: str) -> None:
        with tampering(cluster, committed_db, table) as superuser:
            superuser.execute(statement.encode())

    return run


@pytest.fixture
def flip(cluster: Cluster, committed_db: str) -> Iterator[Flip]:
    """`flip(entry, offset)` turns the lowest bit of one stored byte, and is undone after the test."""
    flipped: list[tuple[int, int]] = []

    def turn(entry_id: int, offset: int) -> None:
        with tampering(cluster, committed_db, "ledger_entry") as superuser:
            superuser.execute("ALTER TABLE ledger_entry DROP CONSTRAINT IF EXISTS entry_leaf_hash")
            superuser.execute(
                "UPDATE ledger_entry SET entry = set_byte(entry, %s, get_byte(entry, %s) # 1) WHERE id = %s",
                (offset, offset, entry_id),
            )

    def flip_bit(entry: Entry, offset: int) -> None:
        turn(entry.id, offset)
        flipped.append((entry.id, offset))

    yield flip_bit
    for entry_id, offset in flipped:
        turn(entry_id, offset)
    if flipped:
        with tampering(cluster, committed_db) as superuser:
            superuser.execute(
                "ALTER TABLE ledger_entry ADD CONSTRAINT entry_leaf_hash "
                "CHECK (leaf_hash = sha256('\\x00'::bytea || entry))"
            )
