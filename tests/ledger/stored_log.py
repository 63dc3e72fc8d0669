"""A database of its own that holds one small log, written by plain SQL in the order that the triggers demand.

For tests that ask the database itself: no Django alias points at it, nothing of the product has run in it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from tests import databases
from tests.ledger.core.sample_log import SampleLog, sample_log

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from tests.databases import Cluster

LOG_ID = 1
SIZE = 3
POSITIONS = 1_099_511_627_776
ENTRY_SQL = """
INSERT INTO ledger_entry (id, log_id, seq, uid, kind, ts, rcvd, late, entry, leaf_hash)
VALUES (%s, %s, %s, %s, 'ecp.decision/1', now(), now(), false, %s, %s)
"""


def entry_row(seq: int, raw: bytes, leaf: bytes | None = None, **others: Any) -> tuple[Any, ...]:
    """Parameters of ENTRY_SQL that satisfy every constraint; `others` are `id`, `log_id` and `uid`."""
    log_id = others.get("log_id", LOG_ID)
    uid = others.get("uid", f"019b0a2c-4e00-7000-8000-{seq:012x}")
    return (
        *(others.get("id", log_id * POSITIONS + seq), log_id, seq, uid, raw),
        sha256(b"\x00" + raw).digest() if leaf is None else leaf,
    )


def store(connection: psycopg.Connection[Any], log: SampleLog) -> None:
    """Organisation, log, head, entries, one checkpoint, one tile, one cosignature, one guard row."""
    execute = connection.execute
    execute(
        "INSERT INTO ledger_organisation (id, slug, title, context_policy, created_at) "
        "VALUES (1, 'sample', 'Sample', '{}', now())"
    )
    execute(
        "INSERT INTO ledger_log (id, slug, origin, is_public, mode, epoch, min_index, created_at, "
        "organisation_id) VALUES (%s, 'sample', %s, false, 'active', 0, 0, now(), 1)",
        (LOG_ID, log.origin),
    )
    genesis = sha256(f"ecp-genesis/v1\n{log.origin}\n".encode()).digest()
    execute("INSERT INTO ledger_head VALUES (%s, 0, %s, now())", (LOG_ID, genesis))
    for seq, raw in enumerate(log.entries):
        execute(ENTRY_SQL, entry_row(seq, raw))
    execute(
        "UPDATE ledger_head SET size = %s, tip = %s WHERE log_id = %s",
        (len(log.entries), log.leaves[-1], LOG_ID),
    )
    execute(
        "INSERT INTO ledger_checkpoint (log_id, size, root, note, created) VALUES (%s, %s, %s, %s, now())",
        (LOG_ID, len(log.entries), bytes(32), log.notes[-1]),
    )
    execute(
        "INSERT INTO ledger_tile (log_id, level, idx, data, root) VALUES (%s, 0, 0, %s, %s)",
        (LOG_ID, bytes(8192), bytes(32)),
    )
    execute(
        "INSERT INTO ledger_cosignature (log_id, size, witness, line, ts) VALUES (%s, 3, 'w', 'l', now())",
        (LOG_ID,),
    )
    execute("INSERT INTO ledger_guard VALUES (%s, 1, 1, now(), 0, %s, 'ok', now())", (LOG_ID, bytes(32)))


@contextlib.contextmanager
def own_database(cluster: Cluster, story: str) -> Iterator[str]:
    """A clone of the template, gone at the end."""
    name = f"test_ecp_{story}_{os.getpid()}_{secrets.token_hex(2)}"
    databases.clone_template(cluster, name)
    try:
        yield name
    finally:
        databases.drop_database(cluster, name)


@contextlib.contextmanager
def stored_log(cluster: Cluster, story: str) -> Iterator[str]:
    """Name of a database that holds `sample_log(SIZE)`."""
    with own_database(cluster, story) as name:
        with cluster.connect(name) as superuser, superuser.transaction():
            store(superuser, sample_log(SIZE))
        yield name
