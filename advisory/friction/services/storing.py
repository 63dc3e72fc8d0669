"""Rows that are stored beside an entry, in the transaction of the batcher and on its own connection.

They are made ready before the batcher has them, and go in by one statement: it holds the head of the log
while it stores, and everybody waits for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import count, groupby
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import psycopg
from django.db import connection
from django.db.models import JSONField
from psycopg import sql
from psycopg.types.json import Jsonb

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.db.models import Model

_LENGTH = re.compile(r"\(\d+\)")


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows as they go to PostgreSQL; the first may lack what only the batcher knows."""

    statement: bytes
    names: Sequence[str]  # of the first row's columns
    values: list[Any]

    def insert(self, cursor: psycopg.Cursor[Any], **known: Any) -> None:
        for name, value in known.items():
            self.values[self.names.index(name)] = value
        # Numbered placeholders: psycopg's own are looked for in the text anew once there are fifty of them.
        psycopg.RawCursor(cursor.connection).execute(self.statement, self.values, binary=True)


def together(rows: Sequence[tuple[type[Model], Mapping[str, Any]]]) -> Rows:
    """Rows by model and column, the one that others refer to first; a column that is left out stays NULL."""
    models, values = tuple(model for model, _ in rows), []
    for model, row in rows:
        for one in _columns(model):
            value = row.get(one.attribute)
            values.append(Jsonb(value, dumps=orjson.dumps) if one.is_json else value)
    return Rows(_statement(models), [one.attribute for one in _columns(models[0])], values)


class _Column(NamedTuple):
    attribute: str
    column: str
    type: str
    is_json: bool


@lru_cache
def _columns(model: type[Model]) -> tuple[_Column, ...]:
    """All columns but the numbers that the database draws."""
    # The length of a type is left out: a cast to it would cut a longer text without a word.
    return tuple(
        _Column(
            field.attname,
            str(field.column),
            _LENGTH.sub("", str(field.db_type(connection))),
            isinstance(field, JSONField),
        )
        for field in model._meta.concrete_fields  # noqa: SLF001 - Django's documented model API
        if not field.db_returning
    )


@lru_cache(maxsize=256)
def _statement(models: tuple[type[Model], ...]) -> bytes:
    """One INSERT for the rows of each model, put together once: composing it costs more than sending it."""
    number, comma = count(1), sql.SQL(", ")
    inserts = []
    for model, same in groupby(models):
        rows = [comma.join(sql.SQL(f"${next(number)}::{one.type}") for one in _columns(model)) for _ in same]
        inserts.append(
            sql.SQL("INSERT INTO {} ({}) VALUES {}").format(
                sql.Identifier(model._meta.db_table),  # noqa: SLF001 - as above
                comma.join(sql.Identifier(one.column) for one in _columns(model)),
                comma.join(sql.SQL("({})").format(row) for row in rows),
            )
        )
    *before, last = inserts
    if not before:
        return last.as_bytes()
    named = comma.join(
        sql.SQL("{} AS ({})").format(sql.Identifier(f"row{place}"), insert)
        for place, insert in enumerate(before)
    )
    return sql.SQL("WITH {} {}").format(named, last).as_bytes()
