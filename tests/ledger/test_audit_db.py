"""Whatever a superuser takes away from the database's guards is named (LEDGER section 15, M25)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import call_command
from prometheus_client import REGISTRY

from ledger.selectors.catalogue import catalogue_read
from ledger.services import audit
from tests import databases
from tests.ledger.stored_log import own_database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import psycopg

    from tests.databases import Cluster

pytestmark = pytest.mark.db

EMPTIED = (
    "CREATE OR REPLACE FUNCTION ledger_append_only() RETURNS trigger LANGUAGE plpgsql "
    "SET search_path = pg_catalog, pg_temp AS $$BEGIN RETURN OLD; END$$"
)
# What is done -> the finding's category, name, member and what it tells.
PLANTED = {
    "ALTER TABLE ledger_entry DISABLE TRIGGER ledger_entry_append_only": (
        "trigger", "ledger_entry.ledger_entry_append_only", "enabled", '"D", expected "A"'),
    "ALTER TABLE ledger_tile ENABLE TRIGGER ledger_tile_no_truncate": (
        "trigger", "ledger_tile.ledger_tile_no_truncate", "enabled", '"O", expected "A"'),
    "ALTER TABLE ledger_head ENABLE REPLICA TRIGGER ledger_head_guard": (
        "trigger", "ledger_head.ledger_head_guard", "enabled", '"R", expected "A"'),
    "DROP TRIGGER ledger_log_no_truncate ON ledger_log": (
        "trigger", "ledger_log.ledger_log_no_truncate", "", "is missing"),
    "CREATE TRIGGER quiet BEFORE INSERT ON ledger_checkpoint FOR EACH ROW "
    "EXECUTE FUNCTION suppress_redundant_updates_trigger()": (
        "trigger", "ledger_checkpoint.quiet", "", "is not expected"),
    "ALTER TABLE ledger_agent DISABLE TRIGGER ALL": (
        "trigger", "ledger_agent.", "", "(internal): is not expected"),
    EMPTIED: ("function", "public.ledger_append_only()", "source_sha256", "expected"),
    "ALTER FUNCTION ledger_head_guard() SECURITY DEFINER": (
        "function", "public.ledger_head_guard()", "security_definer", "true, expected false"),
    "ALTER FUNCTION ledger_head_guard() RESET search_path": (
        "function", "public.ledger_head_guard()", "settings", "lacks search_path=pg_catalog, public"),
    "ALTER FUNCTION ledger_append_only() OWNER TO ecp_app": (
        "function", "public.ledger_append_only()", "owner", '"ecp_app", expected "ecp_owner"'),
    "GRANT EXECUTE ON FUNCTION ledger_head_guard() TO ecp_app": (
        "function", "public.ledger_head_guard()", "grants", "has ecp_app EXECUTE"),
    "GRANT UPDATE ON ledger_entry TO ecp_app": (
        "table", "ledger_entry", "grants", "has ecp_app UPDATE, which is not expected"),
    "GRANT UPDATE (entry, leaf_hash) ON ledger_entry TO ecp_app": (
        "table", "ledger_entry", "grants", "has ecp_app UPDATE (entry), which is not expected"),
    "GRANT SELECT ON ledger_sealedpart TO PUBLIC": (
        "table", "ledger_sealedpart", "grants", "has PUBLIC SELECT"),
    "GRANT INSERT ON ledger_guard TO ecp_app WITH GRANT OPTION": (
        "table", "ledger_guard", "grants", "has ecp_app INSERT with grant option"),
    "REVOKE INSERT ON ledger_checkpoint FROM ecp_ckpt": (
        "table", "ledger_checkpoint", "grants", "lacks ecp_ckpt INSERT"),
    "ALTER TABLE ledger_entry OWNER TO ecp_app": (
        "table", "ledger_entry", "owner", '"ecp_app", expected "ecp_owner"'),
    "ALTER TABLE ledger_cosignature SET UNLOGGED": (
        "table", "ledger_cosignature", "persistence", '"u", expected "p"'),
    "CREATE TABLE hidden () INHERITS (ledger_entry)": (
        "table", "ledger_entry", "inherited_by", "has public.hidden"),
    "ALTER TABLE ledger_entry ENABLE ROW LEVEL SECURITY": (
        "table", "ledger_entry", "row_security", "true, expected false"),
    "CREATE TABLE ledger_other (id int)": ("table", "ledger_other", "", "is not expected"),
    "ALTER TABLE ledger_entry ALTER COLUMN late SET DEFAULT true": (
        "column", "ledger_entry.late", "definition", "default true"),
    "ALTER TABLE ledger_entry ALTER COLUMN uid DROP NOT NULL": (
        "column", "ledger_entry.uid", "definition", 'expected "uuid not null"'),
    "ALTER TABLE ledger_entry DROP CONSTRAINT entry_leaf_hash": (
        "constraint", "ledger_entry.entry_leaf_hash", "", "is missing"),
    "ALTER TABLE ledger_head DROP CONSTRAINT head_tip, ADD CONSTRAINT head_tip CHECK (size >= 0) NOT VALID": (
        "constraint", "ledger_head.head_tip", "validated", "false, expected true"),
    "CREATE RULE quiet AS ON DELETE TO ledger_tile DO INSTEAD NOTHING": (
        "rule", "ledger_tile.quiet", "", "is not expected"),
    "CREATE POLICY hide ON ledger_entry USING (seq <> 13)": (
        "policy", "ledger_entry.hide", "", "is not expected"),
    "ALTER EVENT TRIGGER ledger_ddl_guard DISABLE": (
        "event trigger", "ledger_ddl_guard", "enabled", '"D", expected "A"'),
    "DROP EVENT TRIGGER ledger_drop_guard": ("event trigger", "ledger_drop_guard", "", "is missing"),
    "ALTER ROLE ecp_app SUPERUSER": ("role", "ecp_app", "superuser", "true, expected false"),
    "ALTER ROLE ecp_ckpt CREATEROLE": ("role", "ecp_ckpt", "create_role", "true, expected false"),
    "ALTER ROLE ecp_owner LOGIN": ("role", "ecp_owner", "login", "true, expected false"),
    "CREATE ROLE ecp_planted": ("role", "ecp_planted", "", "is not expected"),
    "GRANT ecp_owner TO ecp_app": ("membership", "ecp_app in ecp_owner", "", "is not expected"),
    "REVOKE pg_monitor FROM ecp_monitor": ("membership", "ecp_monitor in pg_monitor", "", "is missing"),
    "ALTER ROLE ecp_app RESET synchronous_commit": (
        "setting", "ecp_app: synchronous_commit", "", "is missing"),
    "ALTER ROLE ecp_ckpt SET lock_timeout = '1h'": (
        "setting", "ecp_ckpt: lock_timeout", "value", '"1h", expected "2s"'),
    "ALTER ROLE ALL SET ecp.migration = 'always'": (
        "setting", "everybody: ecp.migration", "", "is not expected"),
    "GRANT CREATE ON SCHEMA public TO PUBLIC": ("schema", "public", "grants", "has PUBLIC CREATE"),
    "ALTER DEFAULT PRIVILEGES FOR ROLE ecp_owner GRANT TRUNCATE ON TABLES TO ecp_app": (
        "default right", "ecp_owner in every schema tables", "", "is not expected"),
}  # fmt: skip


@pytest.fixture(scope="module")
def planted_db(cluster: Cluster, database_name: str) -> Iterator[str]:
    del database_name  # it made the template
    with own_database(cluster, "audit") as name:
        yield name


def planted_findings(superuser: psycopg.Connection[Any], *statements: str) -> list[audit.Finding]:
    """What the audit tells after the statements, in a transaction that does not stay."""
    with superuser.transaction(force_rollback=True), superuser.cursor() as cursor:
        cursor.execute("SET LOCAL ecp.migration = 'planted'")
        for statement in statements:
            cursor.execute(statement)
        cursor.execute("SET LOCAL ecp.migration = ''")
        return list(audit.differences(expected=audit.expectation(), found=catalogue_read(cursor)))


@pytest.fixture(scope="module")
def superuser(cluster: Cluster, planted_db: str) -> Iterator[psycopg.Connection[Any]]:
    with cluster.connect(planted_db) as connection:
        yield connection


@pytest.mark.parametrize(("statement", "finding"), PLANTED.items(), ids=PLANTED)
def test_planted_change_is_named(
    superuser: psycopg.Connection[Any], statement: str, finding: tuple[str, str, str, str]
) -> None:
    category, name, member, sentence = finding
    told = [
        found
        for found in planted_findings(superuser, statement)
        if (found.category, found.member) == (category, member) and found.name.startswith(name)
    ]
    assert told, planted_findings(superuser, statement)
    assert sentence in str(told[0])


def test_nothing_planted_nothing_found(superuser: psycopg.Connection[Any]) -> None:
    assert planted_findings(superuser) == []


def test_expectation_is_what_the_migrations_leave_behind(superuser: psycopg.Connection[Any]) -> None:
    """Fails after a migration that changes the schema: run `manage.py ledger_audit_db --write` and commit."""
    with superuser.transaction(), superuser.cursor() as cursor:
        text = audit.expectation_text(catalogue_read(cursor))
    assert text == audit.EXPECTATION.read_text(encoding="utf-8")


def test_expectation_is_written_anew(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, committed_db: str
) -> None:
    del committed_db
    target = tmp_path / "expected.json"
    monkeypatch.setattr(audit, "EXPECTATION", target)
    out = StringIO()
    call_command("ledger_audit_db", "--write", stdout=out)
    assert "objects written" in out.getvalue()
    monkeypatch.undo()
    assert target.read_bytes() == audit.EXPECTATION.read_bytes()


def test_sound_database_is_told_so_and_counted(committed_db: str) -> None:
    del committed_db
    out = StringIO()
    call_command("ledger_audit_db", stdout=out)
    assert out.getvalue() == "SOUND: no difference from the expected catalogue.\n"
    assert REGISTRY.get_sample_value("ecp_ledger_db_audit_violations") == 0


def audit_in_process(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "manage.py", "ledger_audit_db", *arguments],
        cwd=databases.PROJECT, env=os.environ | environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_command_names_what_was_committed_and_exits_1(
    superuser: psycopg.Connection[Any], planted_db: str, server_environment: dict[str, str], cluster: Cluster
) -> None:
    environment = server_environment | cluster.surroundings(planted_db)
    trigger = "TRIGGER ledger_entry_append_only"
    superuser.execute("SET ecp.migration = 'planted'")
    superuser.execute(f"ALTER TABLE ledger_entry DISABLE {trigger}")
    try:
        told = audit_in_process(environment)
        document = json.loads(audit_in_process(environment, "--json").stdout)
    finally:
        superuser.execute(f"ALTER TABLE ledger_entry ENABLE ALWAYS {trigger}")
        superuser.execute("RESET ecp.migration")
    assert told.returncode == 1, told.stderr
    line = 'trigger ledger_entry.ledger_entry_append_only: enabled is "D", expected "A"'
    assert told.stdout == f"{line}\nFAILED: 1 difference from the expected catalogue.\n"
    assert (document["v"], document["ok"]) == ("ecp.db-audit/1", False)
    assert document["findings"] == [
        {
            "category": "trigger",
            "name": "ledger_entry.ledger_entry_append_only",
            "member": "enabled",
            "expected": '"A"',
            "found": '"D"',
        }
    ]
