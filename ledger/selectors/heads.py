"""How far logs are, for the process that tells listeners (CONSOLE section 10).

It reads over its own asynchronous connection, the one that listens, and only logs of clients it has admitted:
whether a person may know of a log was decided when the client came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection

    import psycopg

HEADS_SQL = """
SELECT l.id, h.size, coalesce((SELECT max(c.size) FROM ledger_checkpoint c WHERE c.log_id = l.id), 0), l.mode
FROM ledger_log l JOIN ledger_head h ON h.log_id = l.id WHERE l.id = ANY(%s)
"""


async def heads(
    connection: psycopg.AsyncConnection[Any], log_ids: Collection[int]
) -> dict[int, tuple[int, int, str]]:
    """Size, signed size and mode of each of these logs."""
    rows = await (await connection.execute(HEADS_SQL, (list(log_ids),))).fetchall()
    return {log_id: (size, signed, mode) for log_id, size, signed, mode in rows}
