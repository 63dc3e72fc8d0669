"""Look-ups that every append makes, as prepared statements.

Building the same query through the ORM costs more than PostgreSQL needs to answer it, several times for each
request; `make bench` shows the difference against the no-op.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from django.db import connection

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import LiteralString


def hot_row(sql: LiteralString, parameters: Sequence[Any]) -> tuple[Any, ...] | None:
    """`first_row` on Django's connection, which is opened if need be."""
    connection.ensure_connection()
    return first_row(connection.connection, sql, parameters)


def hot_rows(sql: LiteralString, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    """All rows, else as `hot_row`."""
    connection.ensure_connection()
    return psycopg.RawCursor(connection.connection).execute(sql, parameters, binary=True).fetchall()


def first_row(
    connection: psycopg.Connection[Any], sql: LiteralString, parameters: Sequence[Any]
) -> tuple[Any, ...] | None:
    """First row of a constant query with numbered placeholders ($1).

    Values are bound by the server, and repeated queries are prepared. What comes back is binary, in which
    psycopg decodes jsonb, unlike Django: cast it to text.
    """
    cursor = psycopg.RawCursor(connection).execute(sql, parameters, binary=True)
    row: tuple[Any, ...] | None = cursor.fetchone()
    return row
