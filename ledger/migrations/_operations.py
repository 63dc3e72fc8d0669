"""Migration operations of the ledger: the pass for its tables, and the refusal to reverse over rows."""

from __future__ import annotations

from typing import Any

from django.db import migrations
from django.db.migrations.exceptions import IrreversibleError
from django.db.migrations.operations.base import Operation


def migration_pass(name: str) -> migrations.RunSQL:
    """Name the running migration to the event triggers that guard the append-only tables (LEDGER section 8)."""
    statement = f"SET LOCAL ecp.migration = '{name}'"
    return migrations.RunSQL(statement, reverse_sql=statement)


class RefuseReversalWithRows(Operation):
    """Put last in a migration: its reversal runs first and stops while the table holds rows."""

    reversible = True
    reduces_to_sql = False

    def __init__(self, table: str) -> None:
        self.table = table

    def state_forwards(self, app_label: str, state: Any) -> None:
        pass

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        pass

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        with schema_editor.connection.cursor() as cursor:
            cursor.execute(f"SELECT EXISTS (SELECT FROM {self.table})")  # noqa: S608 - a name from our migrations
            if cursor.fetchone()[0]:
                raise IrreversibleError(
                    f"{self.table} holds rows; reversing this migration would take away what protects them. "
                    "Restore an older backup into a new database instead (docs/MIGRATIONS.md)."
                )

    def describe(self) -> str:
        return f"Refuse reversal while {self.table} holds rows"
