"""Databases that a test migrates by hand, step by step."""

from __future__ import annotations

import contextlib
import os
import secrets
from typing import TYPE_CHECKING, Any

from django.db import connections, transaction
from django.db.migrations.executor import MigrationExecutor
from psycopg import sql

from ledger.selectors.catalogue import catalogue_read
from tests import databases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ledger.selectors.catalogue import Catalogue
    from tests.databases import Cluster


@contextlib.contextmanager
def migrator_in(cluster: Cluster, database: str) -> Iterator[Any]:
    """The alias of the migrate job, pointed at another database meanwhile."""
    wrapper: Any = connections["migrator"]
    own = wrapper.settings_dict["NAME"]
    databases.point("migrator", database, cluster)
    try:
        yield wrapper
    finally:
        databases.point("migrator", own, cluster)


@contextlib.contextmanager
def empty_database(cluster: Cluster) -> Iterator[str]:
    name = f"test_ecp_empty_{os.getpid()}_{secrets.token_hex(2)}"
    with cluster.connect() as admin:
        admin.execute(sql.SQL("CREATE DATABASE {} OWNER ecp_owner").format(sql.Identifier(name)))
    try:
        yield name
    finally:
        databases.drop_database(cluster, name)


def migrate(connection: Any, *targets: tuple[str, str | None]) -> None:
    """Forwards or backwards, without the signals that fill permissions and content types."""
    MigrationExecutor(connection).migrate(list(targets))


def catalogue(connection: Any) -> Catalogue:
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        return catalogue_read(cursor)
