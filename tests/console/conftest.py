"""A superuser who changes stored bytes, and what stands when he is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.tampering import tampering

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ledger.models import Entry
    from tests.console.desk import Flip, SuperuserRuns
    from tests.databases import Cluster
    from tests.people import People


@pytest.fixture
def superuser_runs(cluster: Cluster, committed_db: str) -> SuperuserRuns:
    """`superuser_runs(table, statement)` with the triggers of that table off."""

    def run(table: str, statement: str) -> None:
        with tampering(cluster, committed_db, table) as superuser:
            superuser.execute(statement.encode())

    return run


@pytest.fixture
def flip(people: People, cluster: Cluster, committed_db: str) -> Iterator[Flip]:
    """`flip(entry, offset)` turns the lowest bit of one stored byte, and is undone after the test."""
    del people  # first the tables, then who tampers with them
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
