"""Event triggers against DDL on the append-only tables. They need a superuser; without one, check ecp.W012 says so."""

from typing import Any

from django.db import migrations

from ledger.migrations._operations import RefuseReversalWithRows

FUNCTIONS = """
CREATE FUNCTION ledger_is_guarded(object_identity text) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $body$
    SELECT object_identity ~ ('(^|[ .])ledger_(entry|tile|checkpoint|cosignature|log|head|append_only|head_guard'
        || '|entry_below_head|is_guarded|ddl_guard|drop_guard|may_migrate)($|[ .(])')
$body$;

CREATE FUNCTION ledger_may_migrate() RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $body$
    SELECT coalesce(current_setting('ecp.migration', true), '') <> ''
       AND (current_user IN (SELECT tableowner FROM pg_tables
                             WHERE schemaname = 'public' AND tablename IN ('ledger_entry', 'ledger_head'))
            OR (SELECT rolsuper FROM pg_roles WHERE rolname = current_user))
$body$;

CREATE FUNCTION ledger_ddl_guard() RETURNS event_trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $body$
DECLARE
    command record;
BEGIN
    IF public.ledger_may_migrate() THEN
        RETURN;
    END IF;
    -- After a renaming the command tells the new name alone, so what must be there is looked for.
    IF EXISTS (SELECT FROM unnest(ARRAY['entry', 'tile', 'checkpoint', 'cosignature', 'log', 'head']) AS name
                WHERE to_regclass('public.ledger_' || name) IS NULL)
       OR EXISTS (SELECT FROM unnest(ARRAY['append_only()', 'head_guard()', 'entry_below_head()', 'ddl_guard()',
                                           'drop_guard()', 'may_migrate()', 'is_guarded(text)']) AS name
                   WHERE to_regprocedure('public.ledger_' || name) IS NULL) THEN
        RAISE EXCEPTION '% that takes away the name of a ledger object is refused', TG_TAG USING ERRCODE = '42501';
    END IF;
    FOR command IN SELECT * FROM pg_event_trigger_ddl_commands() LOOP
        IF command.classid = 'pg_class'::regclass AND EXISTS (
            SELECT FROM pg_inherits
             WHERE inhrelid = command.objid AND public.ledger_is_guarded(inhparent::regclass::text)
                OR inhparent = command.objid AND public.ledger_is_guarded(inhrelid::regclass::text)) THEN
            RAISE EXCEPTION 'inheritance or partitions with a ledger table are refused' USING ERRCODE = '42501';
        END IF;
        -- A GRANT names no object; which tables it touched is not told, so every GRANT on a table needs the pass.
        IF (command.command_tag = 'GRANT' AND command.object_type = 'TABLE')
           OR public.ledger_is_guarded(coalesce(command.object_identity, '')) THEN
            RAISE EXCEPTION '% on % is refused outside a migration', command.command_tag,
                coalesce(command.object_identity, command.object_type)
                USING ERRCODE = '42501', HINT = 'Migrations set ecp.migration as the owner.';
        END IF;
    END LOOP;
END
$body$;

CREATE FUNCTION ledger_drop_guard() RETURNS event_trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $body$
DECLARE
    dropped record;
BEGIN
    IF public.ledger_may_migrate() THEN
        RETURN;
    END IF;
    FOR dropped IN SELECT * FROM pg_event_trigger_dropped_objects() LOOP
        IF public.ledger_is_guarded(dropped.object_identity) THEN
            RAISE EXCEPTION 'dropping % is refused outside a migration', dropped.object_identity
                USING ERRCODE = '42501';
        END IF;
    END LOOP;
END
$body$;

-- For every command: ALTER ROUTINE changes a function and ALTER INDEX renames a table, so a list would have gaps.
CREATE EVENT TRIGGER ledger_ddl_guard ON ddl_command_end EXECUTE FUNCTION ledger_ddl_guard();
CREATE EVENT TRIGGER ledger_drop_guard ON sql_drop EXECUTE FUNCTION ledger_drop_guard();
ALTER EVENT TRIGGER ledger_ddl_guard ENABLE ALWAYS;
ALTER EVENT TRIGGER ledger_drop_guard ENABLE ALWAYS;
"""
DROP = """
DROP EVENT TRIGGER IF EXISTS ledger_drop_guard;
DROP EVENT TRIGGER IF EXISTS ledger_ddl_guard;
DROP FUNCTION IF EXISTS ledger_drop_guard();
DROP FUNCTION IF EXISTS ledger_ddl_guard();
DROP FUNCTION IF EXISTS ledger_may_migrate();
DROP FUNCTION IF EXISTS ledger_is_guarded(text);
"""


def as_superuser(schema_editor: Any, statements: str) -> None:
    """Run as the login role, which may be a superuser, and return to the role that owns the tables."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute("SELECT current_user, session_user, rolsuper FROM pg_roles WHERE rolname = session_user")
        current, login, is_superuser = cursor.fetchone()
        if not is_superuser:
            return
        cursor.execute("RESET ROLE")
        cursor.execute("SET LOCAL ecp.migration = 'event_triggers'")
        cursor.execute(statements)
        if current != login:
            cursor.execute(f'SET ROLE "{current}"')


def create(_apps: Any, schema_editor: Any) -> None:
    as_superuser(schema_editor, FUNCTIONS)


def drop(_apps: Any, schema_editor: Any) -> None:
    as_superuser(schema_editor, DROP)


class Migration(migrations.Migration):
    dependencies = [("ledger", "0009_database_grants")]
    operations = [migrations.RunPython(create, drop), RefuseReversalWithRows("ledger_entry")]
