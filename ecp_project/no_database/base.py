"""Stands in for a database that nobody has named: what needs none works, the rest says what to do."""

from __future__ import annotations

from typing import Any, NoReturn

from django.db.backends.postgresql.base import DatabaseWrapper as PostgresWrapper
from psycopg import OperationalError


class DatabaseWrapper(PostgresWrapper):
    def get_connection_params(self) -> dict[str, Any]:
        return {}

    def get_new_connection(self, conn_params: dict[str, Any]) -> NoReturn:  # noqa: ARG002 - Django's signature
        raise OperationalError("no database: start `make run` or set DATABASE_URL")
