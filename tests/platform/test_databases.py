"""The databases of a test run: clones of one template, product roles, append-only triggers back in place."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
from django.db import DatabaseError, connection, connections, transaction

from ecp_project.kernel.clock import utc_now
from ledger.services.identities import organisation_create
from tests import databases
from tests.sockets import ForeignAddressError

if TYPE_CHECKING:
    from tests.databases import Cluster

pytestmark = pytest.mark.db


def _scalar(alias: str, statement: str) -> object:
    with connections[alias].cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()[0]


def test_aliases_speak_in_their_production_roles(committed_db: str) -> None:
    users = {alias: _scalar(alias, "SELECT current_user") for alias in ("default", "direct", "checkpointer")}
    assert users == {"default": "ecp_app", "direct": "ecp_app", "checkpointer": "ecp_ckpt"}
    assert {_scalar(alias, "SELECT current_database()") for alias in users} == {committed_db}


def test_application_role_may_not_truncate_the_ledger(committed_db: str) -> None:
    assert committed_db
    with (
        pytest.raises(DatabaseError, match="permission denied"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("TRUNCATE ledger_entry CASCADE")


def test_objects_belong_to_the_owner_that_nobody_logs_in_as(cluster: Cluster, committed_db: str) -> None:
    superuser = str(cluster.superuser["user"])
    with cluster.connect(committed_db) as admin:
        owners = admin.execute(
            "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public' "
            "UNION SELECT DISTINCT viewowner FROM pg_views WHERE schemaname = 'public'"
        ).fetchall()
        assert owners == [("ecp_owner",)]
        # only a superuser may own event triggers; losing them on the way would go unnoticed
        guards = admin.execute("SELECT evtowner::regrole::text, evtenabled FROM pg_event_trigger").fetchall()
        assert guards == [(superuser, "A")] * 2


@pytest.mark.parametrize("how", [{}, {"truncate": True}])
def test_clean_up_empties_tables_and_leaves_every_trigger_enabled_always(
    cluster: Cluster, committed_db: str, how: dict[str, bool]
) -> None:
    triggers = (
        "SELECT tgrelid::regclass::text, tgname, tgenabled FROM pg_trigger "
        "WHERE NOT tgisinternal ORDER BY 1, 2"
    )
    with cluster.connect(committed_db) as admin:
        before = admin.execute(triggers).fetchall()
        for _ in range(2):  # numbers begin anew, too
            organisation, log = organisation_create(slug="acme", title="Acme", now=utc_now())
            assert (organisation.pk, log.pk) == (1, 1)
            databases.remove_committed_rows(cluster, committed_db, **how)
            assert admin.execute(triggers).fetchall() == before
            assert admin.execute("SELECT count(*) FROM ledger_log").fetchone() == (0,)
            assert admin.execute("SELECT count(*) FROM ledger_head").fetchone() == (0,)
            assert admin.execute("SELECT count(*) > 0 FROM auth_group").fetchone() == (True,)


def test_clean_up_refuses_a_database_that_is_not_for_tests(cluster: Cluster) -> None:
    with pytest.raises(AssertionError, match="no test database"):
        databases.remove_committed_rows(cluster, "ecp")


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1", "10.0.0.1"])
def test_other_machines_are_out_of_reach(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as client, pytest.raises(ForeignAddressError):
        client.connect((address, 80))


def test_names_of_other_machines_are_not_resolved() -> None:
    with pytest.raises(ForeignAddressError):
        socket.getaddrinfo("host.example", 443)
