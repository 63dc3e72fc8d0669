"""UPDATE, DELETE and TRUNCATE on append-only tables raise 42501, even under session_replication_role = replica."""

from django.db import migrations

from ledger.migrations._operations import RefuseReversalWithRows

TABLES = ("ledger_entry", "ledger_tile", "ledger_checkpoint", "ledger_cosignature", "ledger_log")
# Rows of ledger_log change mode and is_public, but are never deleted.
UPDATABLE = {"ledger_log"}

FUNCTION = """
CREATE FUNCTION ledger_append_only() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RAISE EXCEPTION '% on % is refused: the ledger is append-only', TG_OP, TG_TABLE_NAME
        USING ERRCODE = '42501', HINT = 'Record a correction as a new entry.';
END
$body$;
REVOKE ALL ON FUNCTION ledger_append_only() FROM PUBLIC;
"""


def triggers(table: str) -> str:
    events = "DELETE" if table in UPDATABLE else "UPDATE OR DELETE"
    return f"""
CREATE TRIGGER {table}_append_only BEFORE {events} ON {table}
    FOR EACH ROW EXECUTE FUNCTION ledger_append_only();
CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_append_only();
ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_append_only;
ALTER TABLE {table} ENABLE ALWAYS TRIGGER {table}_no_truncate;
"""


def drop(table: str) -> str:
    return f"DROP TRIGGER {table}_no_truncate ON {table}; DROP TRIGGER {table}_append_only ON {table};"


class Migration(migrations.Migration):
    dependencies = [("ledger", "0006_entry_constraints")]
    operations = [
        migrations.RunSQL(FUNCTION, reverse_sql="DROP FUNCTION ledger_append_only()"),
        *(migrations.RunSQL(triggers(table), reverse_sql=drop(table)) for table in TABLES),
        RefuseReversalWithRows("ledger_entry"),
    ]
