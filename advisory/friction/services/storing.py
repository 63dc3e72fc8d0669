"""Rows that are stored beside an entry, in the transaction of the batcher and on its own connection."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from django.db import connection
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Sequence

    import psycopg
    from django.db.models import Field, Model


def insert(cursor: psycopg.Cursor[Any], row: Model) -> None:
    """Write the row as Django would; a number that the database draws is left to it."""
    fields, statement = _statement(type(row))
    values = [field.get_db_prep_save(getattr(row, field.attname), connection) for field in fields]
    cursor.execute(statement, values)


@cache
def _statement(model: type[Model]) -> tuple[Sequence[Field[Any, Any]], bytes]:
    """Put together once: composing it costs more than sending it."""
    meta = model._meta  # noqa: SLF001 - Django's documented model API
    fields = [field for field in meta.concrete_fields if not field.db_returning]
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        sql.Identifier(meta.db_table),
        sql.SQL(", ").join(sql.Identifier(str(field.column)) for field in fields),
        sql.SQL(", ").join(sql.Placeholder() for _ in fields),
    )
    return fields, statement.as_bytes()
