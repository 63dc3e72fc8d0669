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
    """First row of a constant query; values are bound by the server, and repeated queries are prepared."""
    connection.ensure_connection()
    with psycopg.Cursor(connection.connection) as cursor:
        return cursor.execute(sql, parameters).fetchone()
