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
    from collections.abc import Iterator, Mapping, Sequence
    from typing import LiteralString

    from django.db.models import Model

_LENGTH = re.compile(r"\(\d+\)")


class Derived(NamedTuple):
    """A column of the first row that PostgreSQL works out while it stores the row."""

    attribute: str
    sql: LiteralString  # an expression; {name} stands for the row's value of that attribute


@dataclass(slots=True)
class Rows:
    """Rows as they go to PostgreSQL; the first may lack what only the batcher knows."""

    statement: bytes
    names: Sequence[str]  # of the first row's values
    values: list[Any]
    _stored: psycopg.RawCursor[Any] | None = None

    def insert(self, cursor: psycopg.Cursor[Any], **known: Any) -> None:
        for name, value in known.items():
            self.values[self.names.index(name)] = value
        # Numbered placeholders: psycopg's own are looked for in the text anew once there are fifty of them.
        self._stored = psycopg.RawCursor(cursor.connection).execute(self.statement, self.values, binary=True)

    def derived(self) -> Any:
        """What the derived column holds; None where nothing was stored. Ask when the pipeline has ended."""
        row = None if self._stored is None else self._stored.fetchone()
        return None if row is None else row[0]


def together(rows: Sequence[tuple[type[Model], Mapping[str, Any]]], derived: Derived | None = None) -> Rows:
    """Rows by model and column, the one that others refer to first; a column that is left out stays NULL."""
    models, values, names = tuple(model for model, _ in rows), [], []
    for place, (model, row) in enumerate(rows):
        for one in _columns(model):
            if place == 0:
                if derived is not None and one.attribute == derived.attribute:
                    continue
                names.append(one.attribute)
            value = row.get(one.attribute)
            values.append(Jsonb(value, dumps=orjson.dumps) if one.is_json else value)
    return Rows(_statement(models, derived), names, values)


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
def _statement(models: tuple[type[Model], ...], derived: Derived | None) -> bytes:
    """One INSERT for the rows of each model, put together once: composing it costs more than sending it."""
    number, comma = count(1), sql.SQL(", ")
    inserts: list[sql.Composed] = []
    for model, same in groupby(models):
        rows: list[sql.Composed] = []
        for _ in same:
            here = None if inserts or rows else derived
            rows.append(comma.join(_placeholders(_columns(model), number, here)))
        inserts.append(
            sql.SQL("INSERT INTO {} ({}) VALUES {}").format(
                sql.Identifier(model._meta.db_table),  # noqa: SLF001 - as above
                comma.join(sql.Identifier(one.column) for one in _columns(model)),
                comma.join(sql.SQL("({})").format(row) for row in rows),
            )
        )
    if derived is not None:
        column = sql.Identifier(
            next(one.column for one in _columns(models[0]) if one.attribute == derived.attribute)
        )
        inserts[0] += sql.SQL(" RETURNING {}").format(column)
        if len(inserts) > 1:
            inserts[-1] += sql.SQL(" RETURNING (SELECT {} FROM row0)").format(column)
    *before, last = inserts
    if not before:
        return last.as_bytes()
    named = comma.join(
        sql.SQL("{} AS ({})").format(sql.Identifier(f"row{place}"), insert)
        for place, insert in enumerate(before)
    )
    return sql.SQL("WITH {} {}").format(named, last).as_bytes()


def _placeholders(
    columns: Sequence[_Column], number: Iterator[int], derived: Derived | None
) -> list[sql.Composable]:
    """What stands for the values of one row; the expression of a derived one refers to the others."""
    of: dict[str, sql.Composable] = {
        one.attribute: sql.SQL(f"${next(number)}::{one.type}")
        for one in columns
        if derived is None or one.attribute != derived.attribute
    }
    if derived is not None:
        of[derived.attribute] = sql.SQL(derived.sql).format(**of)
    return [of[one.attribute] for one in columns]
