"""What each database role may do to each table, by the statements themselves (LEDGER section 8).

Every statement runs on a live database and is rolled back. The tables below are the design's; a right that is
granted or taken away by a migration changes the letters found here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql
from psycopg.errors import CheckViolation, UniqueViolation

from tests.ledger.core.sample_log import ORIGIN, sample_log
from tests.ledger.stored_log import ENTRY_SQL, LOG_ID, SIZE, entry_row, stored_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.databases import Cluster

    Connection = psycopg.Connection[tuple[Any, ...]]
    Connect = Callable[[str], Connection]

pytestmark = pytest.mark.db

REFUSED = "42501"
APPEND_ONLY = ("ledger_entry", "ledger_tile", "ledger_checkpoint", "ledger_cosignature")
EVIDENCE = (*APPEND_ONLY, "ledger_head", "ledger_log")
ROLES = ("ecp_app", "ecp_ckpt", "ecp_auditor", "ecp_backup", "ecp_monitor", "ecp_migrator")

# S select, I insert, U update (u: only the columns of UPDATABLE), D delete, T truncate.
# ecp_backup reads everything (pg_read_all_data); ecp_monitor and, before SET ROLE, ecp_migrator nothing.
RIGHTS = {
    "ledger_entry": ("SI", "S", "S"),
    "ledger_tile": ("S", "SI", "S"),
    "ledger_checkpoint": ("S", "SI", "S"),
    "ledger_cosignature": ("S", "SI", "S"),
    "ledger_head": ("SIu", "S", "S"),
    "ledger_log": ("SIu", "Su", "S"),
    "ledger_guard": ("S", "SIU", "S"),
    "ledger_entrysearch": ("SIUD", "", "S"),
    "ledger_sealedpart": ("SIUD", "", ""),
    "ledger_subjectkey": ("SIUD", "", ""),
    "ledger_macroot": ("SIUD", "", ""),
    "ledger_apikey": ("SIUD", "", ""),
    "ledger_submission": ("SIUD", "S", ""),
    "ledger_verification": ("SIUD", "S", ""),
    "ledger_cursor": ("SIUD", "S", ""),
    "ledger_erasurerequest": ("SIUD", "S", ""),
    "ledger_organisation": ("SIUD", "S", ""),
    "ledger_agent": ("SIUD", "S", ""),
    "ledger_agentkey": ("SIUD", "S", ""),
    "ledger_membership": ("SIUD", "S", ""),
    "ledger_membership_agents": ("SIUD", "S", ""),
    "django_migrations": ("S", "S", ""),
}
UPDATABLE = {
    ("ecp_app", "ledger_head"): {"size", "tip", "last_rcvd"},
    ("ecp_app", "ledger_log"): {"mode", "is_public"},
    ("ecp_ckpt", "ledger_log"): {"mode"},
}


def rights_of(role: str, table: str) -> str:
    others = {"ecp_backup": "S", "ecp_monitor": "", "ecp_migrator": ""}
    return others[role] if role in others else RIGHTS[table][ROLES.index(role)]


@pytest.fixture(scope="module")
def database(cluster: Cluster, database_name: str) -> Iterator[str]:
    del database_name  # it made the template
    with stored_log(cluster, "roles") as name:
        yield name


@pytest.fixture(scope="module")
def connect(cluster: Cluster, database: str) -> Iterator[Connect]:
    """Connections by role, each opened once. `owner`, `superuser` and `replica` begin as the superuser."""
    opened: dict[str, Connection] = {}

    def connection_of(name: str) -> Connection:
        if name not in opened:
            role = name if name.startswith("ecp_") else str(cluster.superuser["user"])
            opened[name] = psycopg.connect(cluster.url(role, database), autocommit=True)
            if name == "owner":
                opened[name].execute("SET ROLE ecp_owner")
            if name == "replica":
                opened[name].execute("SET session_replication_role = replica")
        return opened[name]

    yield connection_of
    for connection in opened.values():
        connection.close()


def attempt(connection: Connection, *statements: str | sql.Composed, **settings: str) -> psycopg.Error | None:
    """The error of the statements, if any; nothing stays."""
    try:
        with connection.transaction(force_rollback=True):
            # An auditor may switch off the read-only default of the role, so that is no protection.
            connection.execute("SET TRANSACTION READ WRITE")
            for name, value in settings.items():
                connection.execute("SELECT set_config(%s, %s, true)", (name.replace("__", "."), value))
            for statement in statements:
                connection.execute(statement)
    except psycopg.Error as error:
        return error
    return None


def is_permitted(connection: Connection, statement: str | sql.Composed) -> bool:
    """Whether the rights allow it; that a constraint or a trigger refuses it afterwards is another matter."""
    error = attempt(connection, statement)
    return error is None or not (
        error.sqlstate == REFUSED and "permission denied" in (error.diag.message_primary or "")
    )


def columns_of(connection: Connection, table: str) -> list[str]:
    rows = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
        (table,),
    )
    return [name for (name,) in rows.fetchall()]


def may_set(connection: Connection, table: str, column: str) -> bool:
    names = sql.Identifier(table), sql.Identifier(column)
    return is_permitted(connection, sql.SQL("UPDATE {} SET {} = DEFAULT WHERE false").format(*names))


# --- rights


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("table", RIGHTS)
def test_role_may_do_exactly_this(connect: Connect, role: str, table: str) -> None:
    connection = connect(role)
    statements = {
        "S": f"SELECT FROM {table} LIMIT 0",
        "I": f"INSERT INTO {table} DEFAULT VALUES",
        "D": f"DELETE FROM {table} WHERE false",  # noqa: S608 - names from the table above
        "T": f"TRUNCATE {table}",
    }
    found = {letter for letter, statement in statements.items() if is_permitted(connection, statement)}
    columns = columns_of(connection, table)
    updatable = {column for column in columns if may_set(connection, table, column)}
    if updatable:
        found.add("U" if updatable == set(columns) else "u")
    assert found == set(rights_of(role, table))
    if "u" in found:
        assert updatable == UPDATABLE[role, table]


def test_table_of_rights_names_every_table_of_the_ledger(connect: Connect) -> None:
    rows = connect("superuser").execute(
        "SELECT relname FROM pg_class WHERE relkind <> ALL ('{i,I,S,t,c}') "
        "AND relnamespace = 'public'::regnamespace AND relname LIKE 'ledger\\_%'"
    )
    assert {name for (name,) in rows} == set(RIGHTS) - {"django_migrations"}


DDL = {
    "disable a trigger": "ALTER TABLE ledger_entry DISABLE TRIGGER ledger_entry_append_only",
    "disable all triggers": "ALTER TABLE ledger_head DISABLE TRIGGER ALL",
    "weaken a trigger": "ALTER TABLE ledger_tile ENABLE TRIGGER ledger_tile_no_truncate",
    "drop a trigger": "DROP TRIGGER ledger_entry_append_only ON ledger_entry",
    "rename a trigger": "ALTER TRIGGER ledger_entry_append_only ON ledger_entry RENAME TO harmless",
    "add a trigger": "CREATE TRIGGER mine BEFORE INSERT ON ledger_entry "
    "FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "drop a table": "DROP TABLE ledger_cosignature",
    "drop a constraint": "ALTER TABLE ledger_entry DROP CONSTRAINT entry_leaf_hash",
    "change a column": "ALTER TABLE ledger_entry ALTER COLUMN kind SET DEFAULT 'x'",
    "change the owner": "ALTER TABLE ledger_checkpoint OWNER TO CURRENT_USER",
    "add a rule": "CREATE RULE quiet AS ON DELETE TO ledger_entry DO INSTEAD NOTHING",
    "add a policy": "CREATE POLICY hide ON ledger_entry USING (false)",
    "inherit": "CREATE TABLE mine () INHERITS (ledger_entry)",
    "inherit later": "CREATE TABLE mine (LIKE ledger_tile INCLUDING ALL); "
    "ALTER TABLE mine INHERIT ledger_tile",
    "empty a function": "CREATE OR REPLACE FUNCTION ledger_append_only() RETURNS trigger LANGUAGE plpgsql "
    "AS $$BEGIN RETURN OLD; END$$",
    "change a function": "ALTER FUNCTION ledger_head_guard() SECURITY DEFINER",
    "change a function as a routine": "ALTER ROUTINE ledger_append_only() SECURITY DEFINER",
    "rename a table": "ALTER TABLE ledger_entry RENAME TO harmless",
    "rename a function": "ALTER FUNCTION ledger_head_guard() RENAME TO harmless",
    "rename a table as an index": "ALTER INDEX ledger_cosignature RENAME TO harmless",
    "make it a partition": "CREATE TABLE mine (LIKE ledger_tile) PARTITION BY LIST (log_id); "
    "ALTER TABLE mine ATTACH PARTITION ledger_tile DEFAULT",
    "move to another schema": "CREATE SCHEMA aside; ALTER TABLE ledger_cosignature SET SCHEMA aside",
    "drop a function": "DROP FUNCTION ledger_append_only() CASCADE",
    "grant": "GRANT UPDATE ON ledger_entry TO ecp_app",
    "grant to everybody": "GRANT SELECT ON ledger_sealedpart TO PUBLIC",
}


@pytest.mark.parametrize("role", [*ROLES, "owner", "superuser", "replica"])
@pytest.mark.parametrize("statement", DDL.values(), ids=DDL)
def test_nobody_changes_the_ledgers_objects(connect: Connect, role: str, statement: str) -> None:
    error = attempt(connect(role), statement)
    assert error is not None
    assert error.sqlstate == REFUSED, error


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("statement", DDL.values(), ids=DDL)
def test_the_pass_of_migrations_helps_no_other_role(connect: Connect, role: str, statement: str) -> None:
    error = attempt(connect(role), statement, ecp__migration="0013_mine")
    assert error is not None
    assert error.sqlstate == REFUSED, error


# Only a superuser reaches the triggers of foreign keys.
OWNERS_WORK = {name: statement for name, statement in DDL.items() if name != "disable all triggers"}


@pytest.mark.parametrize("statement", OWNERS_WORK.values(), ids=OWNERS_WORK)
def test_a_migration_of_the_owner_may_change_them(connect: Connect, statement: str) -> None:
    assert attempt(connect("owner"), statement, ecp__migration="0013_next") is None


def test_a_widened_right_would_be_seen(connect: Connect) -> None:
    """The probe of the tables above, against rights that it does not expect."""
    superuser = connect("superuser")
    with superuser.transaction(force_rollback=True):
        superuser.execute("SET LOCAL ecp.migration = 'test'")
        superuser.execute("SET LOCAL ROLE ecp_app")
        assert not is_permitted(superuser, "DELETE FROM ledger_entry WHERE false")
        assert not may_set(superuser, "ledger_entry", "zone")
        superuser.execute("RESET ROLE")
        superuser.execute("GRANT DELETE, UPDATE (zone) ON ledger_entry TO ecp_app")
        superuser.execute("SET LOCAL ROLE ecp_app")
        assert is_permitted(superuser, "DELETE FROM ledger_entry WHERE false")
        assert may_set(superuser, "ledger_entry", "zone")
        superuser.execute("RESET ROLE")


ESCALATIONS = {
    "become the owner": "SET ROLE ecp_owner",
    "become the checkpointer": "SET ROLE ecp_ckpt",
    "become the application": "SET ROLE ecp_app",
    "silence the triggers": "SET session_replication_role = replica",
    "make a table": "CREATE TABLE public.mine (id int)",
    "make a function": "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "make a role": "CREATE ROLE mine",
    "get more rights": "ALTER ROLE CURRENT_USER CREATEROLE",
    "become superuser": "ALTER ROLE CURRENT_USER SUPERUSER",
    "make a schema": "CREATE SCHEMA mine",
    "drop an event trigger": "DROP EVENT TRIGGER ledger_ddl_guard",
    "disable an event trigger": "ALTER EVENT TRIGGER ledger_drop_guard DISABLE",
    "run a program": "COPY (SELECT 1) TO PROGRAM 'true'",
    "read a file": "SELECT pg_read_file('postgresql.conf')",
    "set the pass for everybody": "ALTER ROLE ecp_app SET ecp.migration = 'always'",
}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("statement", ESCALATIONS.values(), ids=ESCALATIONS)
def test_no_role_gets_further(connect: Connect, role: str, statement: str) -> None:
    permitted = {
        ("ecp_migrator", "SET ROLE ecp_owner"),  # the migrate job's only right
        (role, f"SET ROLE {role}"),
    }
    error = attempt(connect(role), statement)
    if (role, statement) in permitted:
        assert error is None
    else:
        assert error is not None
        assert error.sqlstate == REFUSED, error


# --- triggers, for those whom no grant stops

MIGHTY = ("owner", "superuser", "replica")


@pytest.mark.parametrize("role", MIGHTY)
@pytest.mark.parametrize("table", APPEND_ONLY)
@pytest.mark.parametrize("statement", ["UPDATE {} SET log_id = log_id", "DELETE FROM {}", "TRUNCATE {}"])
def test_stored_rows_stay(connect: Connect, role: str, table: str, statement: str) -> None:
    error = attempt(connect(role), statement.format(table))
    assert error is not None
    assert (error.sqlstate, "append-only" in str(error)) == (REFUSED, True), error


@pytest.mark.parametrize("role", MIGHTY)
@pytest.mark.parametrize("table", ["ledger_head", "ledger_log"])
@pytest.mark.parametrize("statement", ["DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_log_and_head_rows_stay(connect: Connect, role: str, table: str, statement: str) -> None:
    error = attempt(connect(role), statement.format(table))
    assert error is not None
    assert (error.sqlstate, "append-only" in str(error)) == (REFUSED, True), error


def test_every_trigger_of_the_evidence_fires_always(connect: Connect) -> None:
    rows = (
        connect("superuser")
        .execute(
            "SELECT tgrelid::regclass::text, tgenabled FROM pg_trigger "
            "WHERE NOT tgisinternal AND tgrelid = ANY(%s::regclass[])",
            (list(EVIDENCE),),
        )
        .fetchall()
    )
    assert {table for table, _ in rows} == set(EVIDENCE)
    assert {enabled for _, enabled in rows} == {"A"}


MOVES = {
    "back": ("size = 1", "may only grow"),
    "nowhere": ("size = size", "may only grow"),
    "onto nothing": ("size = 4", "would cover 1 entries, 0 are stored"),
    "to another log": ("log_id = 2", "may only grow"),
    "to another tip": ("tip = sha256('x')", "may only grow"),
}


@pytest.mark.parametrize("role", ["ecp_app", *MIGHTY])
@pytest.mark.parametrize(("change", "sentence"), MOVES.values(), ids=MOVES)
def test_head_moves_forward_only(connect: Connect, role: str, change: str, sentence: str) -> None:
    error = attempt(connect(role), f"UPDATE ledger_head SET {change}")  # noqa: S608 - from the table above
    assert error is not None
    assert error.sqlstate == REFUSED, error
    assert sentence in str(error) or (role, change) == ("ecp_app", "log_id = 2")


NEXT = sample_log(SIZE + 1)


@pytest.mark.parametrize("role", ["ecp_app", *MIGHTY])
def test_head_moves_onto_the_stored_entry_and_its_leaf_hash_alone(connect: Connect, role: str) -> None:
    connection = connect(role)

    def move(tip: bytes) -> None:
        with connection.transaction(force_rollback=True):
            connection.execute(ENTRY_SQL, entry_row(SIZE, NEXT.entries[SIZE]))
            connection.execute("UPDATE ledger_head SET size = %s, tip = %s", (SIZE + 1, tip))
            connection.execute("SET CONSTRAINTS ALL IMMEDIATE")

    move(NEXT.leaves[SIZE])
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="tip of log 1 is not the leaf hash at 3"):
        move(bytes(32))


@pytest.mark.parametrize("role", ["ecp_app", *MIGHTY])
@pytest.mark.parametrize("seq", [SIZE, SIZE + 7])
def test_entry_beyond_the_head_does_not_survive_its_transaction(
    connect: Connect, role: str, seq: int
) -> None:
    connection = connect(role)
    raw = NEXT.entries[SIZE]
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="stands beyond the head"),
        connection.transaction(),
    ):
        connection.execute(ENTRY_SQL, entry_row(seq, raw))
    found = connection.execute("SELECT count(*) FROM ledger_entry").fetchone()
    assert found == (SIZE,)


@pytest.mark.parametrize("role", ["ecp_app", *MIGHTY])
@pytest.mark.parametrize(("size", "tip"), [(1, None), (0, bytes(32))])
def test_new_log_starts_at_nothing_with_the_genesis_tip(
    connect: Connect, role: str, size: int, tip: bytes | None
) -> None:
    connection = connect(role)

    def begin() -> None:
        with connection.transaction(force_rollback=True):
            connection.execute(
                "INSERT INTO ledger_log (id, slug, origin, is_public, mode, epoch, min_index, created_at, "
                "organisation_id) "
                "VALUES (2, 'second', 'ecp.test/log/second', false, 'active', 0, 0, now(), 1)"
            )
            connection.execute(
                "INSERT INTO ledger_head SELECT 2, %s, coalesce(%s::bytea, "
                "sha256(convert_to(E'ecp-genesis/v1\\necp.test/log/second\\n', 'UTF8'))), now()",
                (size, tip),
            )

    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="size 0 with the genesis tip"):
        begin()


# --- constraints, whoever writes

RAW = NEXT.entries[SIZE]


@pytest.mark.parametrize("role", ["ecp_app", *MIGHTY])
@pytest.mark.parametrize(
    ("row", "constraint"),
    [
        (entry_row(SIZE, RAW, leaf=bytes(32)), "entry_leaf_hash"),
        (entry_row(SIZE, RAW[:-2] + b" }", leaf=NEXT.leaves[SIZE]), "entry_leaf_hash"),
        (entry_row(SIZE, RAW, id=LOG_ID * 1_099_511_627_776), "entry_position"),
        (entry_row(-1, RAW, uid="019b0a2c-4e00-7000-8000-0000000000ff"), "entry_position"),
        (entry_row(1_099_511_627_776, RAW), "entry_position"),
        (entry_row(SIZE, b"{"), "entry_size"),
        (entry_row(SIZE, b"x" * 65_536), "entry_size"),
    ],
    ids=["other hash", "other byte", "other id", "negative", "too far", "too short", "too long"],
)
def test_entry_row_binds_place_and_hash_to_its_bytes(
    connect: Connect, role: str, row: tuple[Any, ...], constraint: str
) -> None:
    connection = connect(role)
    with pytest.raises(CheckViolation) as refused, connection.transaction(force_rollback=True):
        connection.execute(ENTRY_SQL, row)
    assert refused.value.diag.constraint_name == constraint


@pytest.mark.parametrize(
    ("row", "constraint"),
    [
        (entry_row(0, RAW, uid="019b0a2c-4e00-7000-8000-0000000000ff"), "ledger_entry_pkey"),
        (entry_row(SIZE, RAW, uid="019b0a2c-4e00-7000-8000-000000000000"), "entry_uid_once"),
    ],
    ids=["position", "id"],
)
def test_position_and_id_are_given_once(connect: Connect, row: tuple[Any, ...], constraint: str) -> None:
    connection = connect("ecp_app")
    with pytest.raises(UniqueViolation) as refused, connection.transaction(force_rollback=True):
        connection.execute(ENTRY_SQL, row)
    assert refused.value.diag.constraint_name == constraint


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("INSERT INTO ledger_tile VALUES (0, 1, '\\x00', sha256('x'), 1)", "tile_size"),
        ("INSERT INTO ledger_checkpoint VALUES (9, '\\x00', 'note', now(), 1)", "checkpoint_root"),
        ("INSERT INTO ledger_checkpoint VALUES (-1, sha256('x'), 'note', now(), 1)", "checkpoint_root"),
        ("UPDATE ledger_log SET mode = 'asleep'", "log_mode"),
    ],
)
def test_rows_of_the_checkpointer_have_their_sizes(connect: Connect, statement: str, constraint: str) -> None:
    error = attempt(connect("ecp_ckpt"), statement)
    assert isinstance(error, CheckViolation)
    assert error.diag.constraint_name == constraint


# --- the roles themselves

FLAGS = {
    "ecp_owner": "",
    "ecp_migrator": "login",
    "ecp_app": "login inherit",
    "ecp_ckpt": "login inherit",
    "ecp_auditor": "login inherit",
    "ecp_backup": "login inherit replication",
    "ecp_monitor": "login inherit",
}


@pytest.mark.parametrize("role", FLAGS)
def test_role_has_no_power_over_the_cluster(connect: Connect, role: str) -> None:
    row = (
        connect("superuser")
        .execute(
            "SELECT rolcanlogin, rolinherit, rolreplication, rolsuper, rolcreatedb, rolcreaterole, "
            "rolbypassrls FROM pg_roles WHERE rolname = %s",
            (role,),
        )
        .fetchone()
    )
    assert row is not None
    names = ("login", "inherit", "replication", "super", "createdb", "createrole", "bypassrls")
    found = {name for name, is_set in zip(names, row, strict=True) if is_set}
    assert found - ({"inherit"} if role == "ecp_owner" else set()) == set(FLAGS[role].split())


@pytest.mark.parametrize(
    ("role", "settings"),
    [
        ("ecp_app", ("on", "5s", "2s", "15s")),
        ("ecp_ckpt", ("on", "1min", "2s", "1min")),
        ("ecp_auditor", ("", "10min", "0", "10min")),
    ],
)
def test_role_carries_its_timeouts(connect: Connect, role: str, settings: tuple[str, ...]) -> None:
    names = ("synchronous_commit", "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    found = (
        connect(role)
        .execute("SELECT " + ", ".join(f"current_setting('{name}')" for name in names))
        .fetchone()
    )
    assert found is not None
    # An auditor commits nothing, so its own setting is the server's.
    assert (found[0] if settings[0] else "", *found[1:]) == settings


def test_auditor_is_read_only_by_default(connect: Connect) -> None:
    assert connect("ecp_auditor").execute("SHOW default_transaction_read_only").fetchone() == ("on",)


def test_the_log_is_there(connect: Connect) -> None:
    """The refusals above mean something only over stored rows."""
    for table in EVIDENCE:
        count = (
            connect("ecp_auditor")
            .execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table)))
            .fetchone()
        )
        assert count == (SIZE if table == "ledger_entry" else 1,)
    assert connect("ecp_app").execute("SELECT origin FROM ledger_log").fetchone() == (ORIGIN,)
