"""A superuser lifts the ledger's triggers, changes rows, puts the triggers back (LEDGER section 15)."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from tests.databases import Cluster


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
