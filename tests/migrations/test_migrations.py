"""Forward from nothing, back and forth, and no way back over rows (OPERATIONS section 5.3)."""

from __future__ import annotations

import json
from io import StringIO
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import call_command
from django.db.migrations.exceptions import IrreversibleError
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from ledger.migrations._operations import RefuseReversalWithRows
from ledger.services import audit
from tests.ledger.core.sample_log import sample_log
from tests.ledger.stored_log import SIZE, own_database, store
from tests.migrations.schema import catalogue, empty_database, migrate, migrator_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_django import DjangoDbBlocker

    from tests.databases import Cluster

pytestmark = pytest.mark.db

LOADER = MigrationLoader(None)
LEDGER = sorted(name for app, name in LOADER.disk_migrations if app == "ledger")
REFUSING = [
    name
    for name in LEDGER
    if any(isinstance(op, RefuseReversalWithRows) for op in LOADER.disk_migrations["ledger", name].operations)
]
# What these take away can be made again from the entries, or guards nothing.
HARMLESS = {
    "0001_identity", "0004_guard_and_verification", "0005_entry_search", "0009_database_grants",
    "0011_staff_groups", "0012_decision_proxy", "0013_entry_leaf_hash_index", "0014_bypassed_decisions_index",
    "0015_staff_action_proxy", "0016_erasure_proposals",
    "0017_sealed_decisions_index", "0018_entry_search_statistics", "0019_entry_search_pending",
    "0020_entry_search_facts", "0021_entry_search_analyze",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _open_database(database_name: str, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    del database_name
    with django_db_blocker.unblock():
        yield


def test_models_and_migrations_agree() -> None:
    out = StringIO()
    call_command("makemigrations", "--check", "--dry-run", stdout=out)
    assert out.getvalue() == "No changes detected\n"


def test_each_app_has_one_leaf_and_the_ledger_one_line() -> None:
    assert LOADER.detect_conflicts() == {}
    for before, name in pairwise(LEDGER):
        assert ("ledger", before) in LOADER.disk_migrations["ledger", name].dependencies


def test_every_step_back_undoes_its_step_forward(cluster: Cluster) -> None:
    """The catalogue on the way down is the one of the way up; a second way up ends as expected."""
    with empty_database(cluster) as name, migrator_in(cluster, name) as connection:
        MigrationRecorder(connection).ensure_schema()
        seen = [catalogue(connection)]
        for migration in LEDGER:
            migrate(connection, ("ledger", migration))
            seen.append(catalogue(connection))
        for position in reversed(range(len(LEDGER))):
            migrate(connection, ("ledger", LEDGER[position - 1] if position else None))
            found = list(audit.differences(expected=seen[position], found=catalogue(connection)))
            assert found == [], LEDGER[position]
        migrate(connection, *LOADER.graph.leaf_nodes())
        assert list(audit.differences(expected=audit.expectation(), found=catalogue(connection))) == []


def test_every_migration_refuses_or_is_named_harmless() -> None:
    assert set(LEDGER) == set(REFUSING) | HARMLESS
    assert not set(REFUSING) & HARMLESS


def test_search_of_an_older_version_is_shortened_to_what_entries_are_found_by(cluster: Cluster) -> None:
    rows = [
        {"v": "a", "id": "1", "ts": "2", "explanation": "3", "context_summary": {}, "sealed": [{"c": "4"}]},
        {"v": "b", "id": "5", "text": "6", "target": "1"},
    ]
    with empty_database(cluster) as name, migrator_in(cluster, name) as connection:
        migrate(connection, ("ledger", "0019_entry_search_pending"))
        with connection.cursor() as cursor:
            for number, row in enumerate(rows):
                cursor.execute(
                    "INSERT INTO ledger_entrysearch (entry_id, explanation, body) VALUES (%s, '', %s)",
                    (number, json.dumps(row)),
                )
        migrate(connection, ("ledger", "0020_entry_search_facts"))
        with connection.cursor() as cursor:
            cursor.execute("SELECT body::text FROM ledger_entrysearch ORDER BY entry_id")
            found = [json.loads(body) for (body,) in cursor.fetchall()]
    assert found == [{"v": "a", "sealed": True}, {"v": "b", "target": "1"}]


@pytest.fixture(scope="module")
def with_rows(cluster: Cluster, database_name: str, django_db_blocker: DjangoDbBlocker) -> Iterator[Any]:
    """Connection of the migrate job to a database that holds a log and one sealed part."""
    del database_name
    with django_db_blocker.unblock(), own_database(cluster, "reversal") as name:
        with cluster.connect(name) as superuser, superuser.transaction():
            store(superuser, sample_log(SIZE))
            superuser.execute(
                "INSERT INTO ledger_sealedpart (log_id, uid, ptr, subject_key_id, nonce, ciphertext) "
                "VALUES (1, gen_random_uuid(), '/x', gen_random_uuid(), '\\x00', '\\x00')"
            )
        with migrator_in(cluster, name) as connection:
            yield connection


@pytest.mark.parametrize("name", REFUSING)
def test_reversal_over_rows_is_refused_and_changes_nothing(with_rows: Any, name: str) -> None:
    loader = MigrationLoader(with_rows)
    migration = loader.get_migration("ledger", name)
    before = loader.project_state([key for key in migration.dependencies if key in loader.graph.nodes])

    def reverse() -> None:
        with with_rows.schema_editor(atomic=True) as editor:
            migration.unapply(before, editor)

    with pytest.raises(IrreversibleError, match=r"holds rows; .*docs/MIGRATIONS\.md"):
        reverse()
    assert list(audit.differences(expected=audit.expectation(), found=catalogue(with_rows))) == []


def test_command_goes_back_over_rows_no_further_than_what_is_harmless(with_rows: Any) -> None:
    with pytest.raises(IrreversibleError, match="ledger_entry holds rows"):
        call_command("migrate", "ledger", "zero", database="migrator", verbosity=0, interactive=False)
    applied = MigrationLoader(with_rows).applied_migrations
    assert ("ledger", REFUSING[-1]) in applied
    migrate(with_rows, ("ledger", LEDGER[-1]))
    assert list(audit.differences(expected=audit.expectation(), found=catalogue(with_rows))) == []
    with with_rows.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM ledger_entry")
        assert cursor.fetchone() == (SIZE,)


def test_without_a_superuser_event_triggers_are_left_out_and_the_audit_says_so(cluster: Cluster) -> None:
    with empty_database(cluster) as name, migrator_in(cluster, name) as connection:
        connection.settings_dict.update(USER="ecp_migrator", PASSWORD=cluster.password)
        call_command("migrate", database="migrator", verbosity=0, interactive=False)
        found = {
            str(finding)
            for finding in audit.differences(expected=audit.expectation(), found=catalogue(connection))
        }
    assert found == {
        "event trigger ledger_ddl_guard: is missing",
        "event trigger ledger_drop_guard: is missing",
        "function public.ledger_ddl_guard(): is missing",
        "function public.ledger_drop_guard(): is missing",
        "function public.ledger_is_guarded(text): is missing",
        "function public.ledger_may_migrate(): is missing",
    }
