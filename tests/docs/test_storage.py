"""The tables of docs/STORAGE.md are those of a migrated database: names, constraints, triggers, rights."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connections

from tests.docs.documents import read, section, table

pytestmark = [pytest.mark.db, pytest.mark.django_db(databases=["default", "migrator"])]
ROLES = ("ecp_app", "ecp_ckpt", "ecp_auditor")
LETTERS = {"SELECT": "S", "INSERT": "I", "UPDATE": "U", "DELETE": "D"}
TABLES_SQL = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename LIKE 'ledger\\_%'"
CONSTRAINTS_SQL = """
SELECT conrelid::regclass::text, conname FROM pg_constraint
WHERE conrelid::regclass::text LIKE 'ledger\\_%' AND contype IN ('c', 'u') AND conname NOT LIKE 'ledger\\_%'
"""
TRIGGERS_SQL = """
SELECT tgrelid::regclass::text, tgname, tgenabled, tgtype FROM pg_trigger
WHERE NOT tgisinternal AND tgrelid::regclass::text LIKE 'ledger\\_%'
"""
RIGHTS_SQL = """
SELECT c.relname, (acl).grantee::regrole::text, (acl).privilege_type, ''
FROM (SELECT relname, aclexplode(relacl) AS acl FROM pg_class
      WHERE relname LIKE 'ledger\\_%' AND relkind = 'r') c
UNION ALL
SELECT a.relname, (acl).grantee::regrole::text, (acl).privilege_type, a.attname
FROM (SELECT relname, attname, aclexplode(attacl) AS acl FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
      WHERE relname LIKE 'ledger\\_%' AND relkind = 'r') a
"""
# Bits of pg_trigger.tgtype.
DELETE, UPDATE, TRUNCATE = 8, 16, 32


def rows(sql: str) -> list[tuple[Any, ...]]:
    with connections["migrator"].cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def documented(title: str, first: str = "table") -> list[list[str]]:
    return table(section(read("docs/STORAGE.md"), title), first)


def test_tables() -> None:
    assert {row[0] for row in documented("Tables")} == {name for (name,) in rows(TABLES_SQL)}


def test_constraints() -> None:
    assert {(row[0], row[1]) for row in documented("Constraints")} == set(rows(CONSTRAINTS_SQL))


def test_triggers_and_that_they_always_fire() -> None:
    found = rows(TRIGGERS_SQL)
    told = {(row[0], row[1]): row[2] for row in documented("Triggers")}
    assert set(told) == {(name, trigger) for name, trigger, _, _ in found}
    assert {state for _, _, state, _ in found} == {"A"}
    for name, trigger, _, kind in found:
        events = {"UPDATE": UPDATE, "DELETE": DELETE, "TRUNCATE": TRUNCATE}
        if trigger.endswith(("_append_only", "_no_truncate", "_kept")):
            refused = {event for event, bit in events.items() if kind & bit}
            assert set(told[name, trigger].split(", ")) == refused, trigger


def rights() -> dict[tuple[str, str], str]:
    """`SI U(mode)` for each table and role, as the document writes it."""
    whole: dict[tuple[str, str], set[str]] = {}
    columns: dict[tuple[str, str], set[str]] = {}
    for name, role, privilege, column in rows(RIGHTS_SQL):
        if role not in ROLES or privilege not in LETTERS:
            continue
        if column:
            assert privilege == "UPDATE"
            columns.setdefault((name, role), set()).add(column)
        else:
            whole.setdefault((name, role), set()).add(LETTERS[privilege])
    return {
        key: " ".join(
            part
            for part in (
                "".join(letter for letter in "SIUD" if letter in whole.get(key, ())),
                f"U({', '.join(sorted(columns[key]))})" if key in columns else "",
            )
            if part
        )
        for key in whole.keys() | columns.keys()
    }


def test_rights_of_the_roles() -> None:
    told = {
        (row[0], role): cell
        for row in documented("Roles")
        for role, cell in zip(ROLES, row[1:], strict=True)
        if cell
    }
    assert told == rights()
