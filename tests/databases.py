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
from typing import TYPE_CHECKING, Any, LiteralString
from urllib.parse import quote, urlencode

import django
import psycopg
from django.core.management import call_command
from django.db import DatabaseError, connections
from psycopg import conninfo, sql

from ecp_project.embedded.homes import home_folder, running_urls
from ecp_project.embedded.servers import LOGIN_ROLES, ROLES_SQL

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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
# Deleting the rows of a few small tables takes a fraction of the time of truncating all tables with their
# indexes; above this the tables have grown, by dead rows or many, and are truncated.
MOST_DELETED_BYTES = 2**20
_cleaners: dict[str, psycopg.Connection[tuple[Any, ...]]] = {}  # by database


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
    urls = running_urls(home_folder())
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
    admin.execute(ROLES_SQL.read_bytes())
    for role in LOGIN_ROLES:
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


def let_rest() -> None:
    """End the sessions of a test. The application's stays, as if fresh: a new one knows no catalogue yet."""
    kept = connections["default"]
    for connection in connections.all(initialized_only=True):
        if connection is not kept or kept.connection is None or kept.in_atomic_block:
            connection.close()
            continue
        try:
            with kept.cursor() as cursor:
                cursor.execute("ROLLBACK; RESET ALL; SELECT pg_advisory_unlock_all()")
        except DatabaseError:
            kept.close()


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
        if name in _cleaners:
            _cleaners.pop(name).close()
        drop_database(server, name)


def remove_committed_rows(server: Cluster, database: str, *, truncate: bool = False) -> None:
    """Empty every table that migrations do not fill, append-only ones included (LEDGER section 8).

    With `truncate` the files are empty too, for tests that measure them. The triggers come back in the very
    state they had: a forgotten ENABLE ALWAYS would weaken later tests.
    """
    if not database.startswith("test_"):
        raise AssertionError(f"{database} is no test database")
    owner = _cleaner(server, database)
    with owner.transaction():
        owner.execute("SET LOCAL ecp.migration = 'test cleanup'")
        owner.execute("SET LOCAL lock_timeout = '20s'")
        tables: dict[str, int] = dict(
            owner.execute(
                "SELECT relname, pg_relation_size(oid) FROM pg_class WHERE relkind = 'r' "
                "AND relnamespace = 'public'::regnamespace AND relname <> ALL(%s)",
                (list(KEPT_TABLES),),
            ).fetchall()
        )
        truncate = truncate or max(tables.values()) > MOST_DELETED_BYTES
        emptied = list(tables) if truncate else _with_rows(owner, [name for name in tables if tables[name]])
        triggers = owner.execute(
            "SELECT tgrelid::regclass::text, tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid "
            "WHERE NOT tgisinternal AND tgenabled = 'A' AND relname = ANY(%s)",
            (emptied,),
        ).fetchall()
        _run_all(owner, "ALTER TABLE {} DISABLE TRIGGER {}", triggers)
        if truncate:
            names = sql.SQL(", ").join(map(sql.Identifier, emptied))
            owner.execute(sql.SQL("TRUNCATE {}").format(names))
        else:
            # Everything goes, so foreign keys need no look; a replica leaves their triggers out.
            owner.execute("SET LOCAL session_replication_role = replica")
            _run_all(owner, "DELETE FROM {}", [(name,) for name in emptied])
        _run_all(owner, "ALTER TABLE {} ENABLE ALWAYS TRIGGER {}", triggers)
        owner.execute(
            "SELECT setval(seqrelid, seqstart, false) FROM pg_sequence JOIN pg_depend ON objid = seqrelid "
            "AND classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass "
            "JOIN pg_class ON pg_class.oid = refobjid WHERE relname = ANY(%s) "
            "AND pg_sequence_last_value(seqrelid) IS NOT NULL",
            (list(tables),),
        )


def _cleaner(server: Cluster, database: str) -> psycopg.Connection[tuple[Any, ...]]:
    """One session for all clean-ups of a worker: a new one has to learn the catalogue anew each time."""
    found = _cleaners.get(database)
    if found is None or found.closed or found.broken:
        found = _cleaners[database] = server.connect(database)
    return found


def _with_rows(owner: psycopg.Connection[tuple[Any, ...]], tables: list[str]) -> list[str]:
    looks = [
        sql.SQL("SELECT {} WHERE EXISTS (SELECT FROM {})").format(sql.Literal(name), sql.Identifier(name))
        for name in tables
    ]
    return [row[0] for row in owner.execute(sql.SQL(" UNION ALL ").join(looks))] if looks else []


def _run_all(
    owner: psycopg.Connection[tuple[Any, ...]], form: LiteralString, rows: Iterable[tuple[str, ...]]
) -> None:
    """One statement for each row of names, in one message to the server."""
    filled_in = [sql.SQL(form).format(*map(sql.Identifier, names)) for names in rows]
    if filled_in:
        owner.execute(sql.SQL("; ").join(filled_in))
