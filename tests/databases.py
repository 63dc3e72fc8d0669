"""Databases of a test run: one migrated template for the cluster, one clone for each worker.

With `DATABASE_URL` (a superuser of a test cluster, as in CI) that server is used, else the embedded one of
`ECP_HOME`. Product code runs as `ecp_app` and `ecp_ckpt`, as it does in production; only migrations and the
clean-up are the superuser's.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import django
import psycopg
from django.core.management import call_command
from django.db import connections
from psycopg import conninfo, sql

from ecp_project import embedded

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).resolve().parent.parent
TEMPLATE = "test_ecp_template"
TEMPLATE_LOCK = 0x65637074  # any number that no other program locks
ROLE_OF = {"default": "ecp_app", "direct": "ecp_app", "checkpointer": "ecp_ckpt"}
# Rows of these tables come from migrations.
KEPT_TABLES = (
    "django_migrations",
    "django_content_type",
    "auth_permission",
    "auth_group",
    "auth_group_permissions",
)


@dataclass(frozen=True, slots=True)
class Cluster:
    """A PostgreSQL server for tests: its superuser's connection and the password of the roles."""

    superuser: dict[str, Any]
    password: str
    redis_url: str

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(**self.superuser | {"dbname": database}, autocommit=True)

    def url(self, role: str, database: str) -> str:
        """Address of `database` for one of the roles, or for the superuser."""
        password = self.superuser.get("password", "") if role == self.superuser["user"] else self.password
        query = urlencode(
            [(name, self.superuser[name]) for name in ("host", "port") if name in self.superuser]
        )
        return f"postgresql://{role}:{quote(password, safe='')}@/{database}?{query}"

    def surroundings(self, database: str) -> dict[str, str]:
        """Environment for a child process that works in `database`."""
        return {
            "DATABASE_URL": self.url("ecp_app", database),
            "DATABASE_URL_CKPT": self.url("ecp_ckpt", database),
            "DATABASE_URL_MIGRATOR": self.url(str(self.superuser["user"]), database),
            "REDIS_URL": self.redis_url,
        }


def cluster() -> Cluster:
    named = os.environ.get("DATABASE_URL_MIGRATOR") or os.environ.get("DATABASE_URL")
    if named:
        # Every worker of the run derives the same password for the roles.
        password = hashlib.sha256(f"test roles {named}".encode()).hexdigest()
        return Cluster(conninfo.conninfo_to_dict(named), password, os.environ.get("REDIS_URL", ""))
    urls = embedded.running_urls(embedded.home_folder())
    if not urls:
        raise RuntimeError(
            "no database: run `make test`, or set DATABASE_URL to a superuser of a test cluster"
        )
    app = conninfo.conninfo_to_dict(urls["DATABASE_URL"])
    superuser = conninfo.conninfo_to_dict(urls["DATABASE_URL_MIGRATOR"])
    return Cluster(superuser, str(app["password"]), urls["REDIS_URL"])


def _fingerprint() -> str:
    """Digest that changes whenever a migrated database would."""
    migrations = [*PROJECT.glob("*/migrations/*.py"), *PROJECT.glob("*/*/migrations/*.py")]
    files = [PROJECT / "deploy" / "postgres" / "roles.sql", *sorted(migrations)]
    content = b"".join(file.read_bytes() for file in files)
    return hashlib.sha256(django.__version__.encode() + content).hexdigest()


def point(alias: str, database: str, server: Cluster) -> None:
    """Let the Django alias speak to `database` in its role."""
    role = ROLE_OF.get(alias, str(server.superuser["user"]))
    connections[alias].close()
    connections[alias].settings_dict.update(
        NAME=database,
        USER=role,
        PASSWORD=server.password if alias in ROLE_OF else server.superuser.get("password", ""),
        HOST=server.superuser.get("host", ""),
        PORT=str(server.superuser.get("port", "")),
    )
    options = connections[alias].settings_dict["OPTIONS"]
    options.pop("assume_role", None)
    if alias not in ROLE_OF:
        options["assume_role"] = "ecp_owner"


def _build_template(server: Cluster, admin: psycopg.Connection[tuple[Any, ...]], fingerprint: str) -> None:
    draft = "test_ecp_draft"
    admin.execute(embedded.ROLES_SQL.read_bytes())
    for role in embedded.LOGIN_ROLES:
        admin.execute(
            sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(server.password))
        )
    for name in (draft, TEMPLATE):
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
    admin.execute(sql.SQL("CREATE DATABASE {} OWNER ecp_owner").format(sql.Identifier(draft)))
    point("migrator", draft, server)
    call_command("migrate", database="migrator", verbosity=0, interactive=False)
    connections["migrator"].close()
    admin.execute(
        sql.SQL("ALTER DATABASE {} RENAME TO {}").format(sql.Identifier(draft), sql.Identifier(TEMPLATE))
    )
    comment = sql.SQL("COMMENT ON DATABASE {} IS {}")
    admin.execute(comment.format(sql.Identifier(TEMPLATE), sql.Literal(fingerprint)))


def ensure_template(server: Cluster) -> None:
    """Make the template unless one of the same migrations is there; workers wait for whoever came first."""
    fingerprint = _fingerprint()
    with server.connect() as admin:
        admin.execute("SELECT pg_advisory_lock(%s)", (TEMPLATE_LOCK,))
        found = admin.execute(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s", (TEMPLATE,)
        ).fetchone()
        if found is None or found[0] != fingerprint:
            _build_template(server, admin, fingerprint)


def clone_template(server: Cluster, name: str) -> None:
    with server.connect() as admin:
        admin.execute(
            "SELECT pg_advisory_lock(%s)", (TEMPLATE_LOCK,)
        )  # a template may have one reader at a time
        admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER ecp_owner").format(
                sql.Identifier(name), sql.Identifier(TEMPLATE)
            )
        )


def drop_database(server: Cluster, name: str) -> None:
    with server.connect() as admin:
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@contextlib.contextmanager
def worker_database(server: Cluster, worker: str) -> Iterator[str]:
    """Clone of the template that every Django alias points at, dropped at the end."""
    name = f"test_ecp_{worker}_{os.getpid()}"
    ensure_template(server)
    clone_template(server, name)
    for alias in connections.settings:
        point(alias, name, server)
    try:
        yield name
    finally:
        connections.close_all()
        drop_database(server, name)


def remove_committed_rows(server: Cluster, database: str) -> None:
    """Empty every table that migrations do not fill, append-only ones included (LEDGER section 8).

    The triggers come back in the very state they had: a forgotten ENABLE ALWAYS would weaken later tests.
    """
    if not database.startswith("test_"):
        raise AssertionError(f"{database} is no test database")
    with server.connect(database) as owner, owner.transaction():
        owner.execute("SET LOCAL ecp.migration = 'test cleanup'")
        owner.execute("SET LOCAL lock_timeout = '20s'")
        tables = [
            row[0]
            for row in owner.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> ALL(%s)",
                (list(KEPT_TABLES),),
            )
        ]
        triggers = owner.execute(
            "SELECT tgrelid::regclass::text, tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid "
            "WHERE NOT tgisinternal AND tgenabled = 'A' AND relname = ANY(%s)",
            (tables,),
        ).fetchall()
        for table, trigger in triggers:
            names = sql.Identifier(table), sql.Identifier(trigger)
            owner.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER {}").format(*names))
        owner.execute(
            sql.SQL("TRUNCATE {} RESTART IDENTITY").format(sql.SQL(", ").join(map(sql.Identifier, tables)))
        )
        for table, trigger in triggers:
            names = sql.Identifier(table), sql.Identifier(trigger)
            owner.execute(sql.SQL("ALTER TABLE {} ENABLE ALWAYS TRIGGER {}").format(*names))
