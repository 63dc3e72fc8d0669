"""What PostgreSQL's catalogue says about the ledger: tables, rights, triggers, functions, roles.

Plain names and values, the same on every installation and on PostgreSQL 15 to 18: superusers are called
`superuser`, an owner's own rights are left out, and so is what only a newer server knows.
"""

from __future__ import annotations

import json
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from django.db import transaction

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.db.backends.base.base import BaseDatabaseWrapper

# category -> object -> member -> value; a value is a string, a boolean or a sorted list of strings
Catalogue = dict[str, dict[str, dict[str, Any]]]

# Helpers as text, since the reading role may create nothing.
_ROLE = "(SELECT CASE WHEN rolsuper THEN 'superuser' ELSE rolname END FROM pg_roles WHERE oid = {})"


def _grants(acl: str, owner: str, column: str = "''") -> str:
    """Rights as `role PRIVILEGE`, one each; the owner's and superusers' own are no news."""
    return f"""
    SELECT concat_ws(' ', CASE WHEN g.grantee = 0 THEN 'PUBLIC' ELSE pg_get_userbyid(g.grantee) END,
                     g.privilege_type, nullif({column}, ''),
                     CASE WHEN g.is_grantable THEN 'with grant option' END) AS told
    FROM aclexplode({acl}) g
    WHERE g.grantee <> {owner} AND NOT coalesce((SELECT rolsuper FROM pg_roles WHERE oid = g.grantee), false)
    """


def _listed(query: str) -> str:
    return f"coalesce((SELECT jsonb_agg(told ORDER BY told COLLATE \"C\") FROM ({query}) AS listed), '[]')"


_INHERITANCE = "SELECT {}::regclass::text AS told FROM pg_inherits WHERE {} = c.oid"
_TABLES = """
    SELECT c.* FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace
      AND c.relkind NOT IN ('i', 'I', 't', 'c')
      AND (starts_with(c.relname::text, 'ledger_') OR c.relname = 'django_migrations')
"""
_TABLE_GRANTS = f"""
    {_grants("c.relacl", "c.relowner")}
    UNION ALL
    SELECT of_column.told
    FROM pg_attribute a, LATERAL ({_grants("a.attacl", "c.relowner", "'(' || a.attname || ')'")}) of_column
    WHERE a.attrelid = c.oid AND a.attacl IS NOT NULL
"""
_FUNCTIONS = f"""
    SELECT p.* FROM pg_proc p
    WHERE (p.pronamespace = 'public'::regnamespace AND starts_with(p.proname::text, 'ledger_'))
       OR p.oid IN (SELECT evtfoid FROM pg_event_trigger)
       OR p.oid IN (SELECT tgfoid FROM pg_trigger WHERE NOT tgisinternal
                    AND tgrelid IN (SELECT oid FROM ({_TABLES}) t))
"""
# Set for a database or for everybody, these would undo a guarantee.
_WATCHED = (
    "{ecp.migration,session_replication_role,event_triggers,search_path,synchronous_commit,row_security,"
    "session_preload_libraries,local_preload_libraries,role}"
)

QUERIES: Mapping[str, str] = {
    "schema": f"""
        SELECT 'public', jsonb_build_object('owner', {_ROLE.format("n.nspowner")},
            'grants', {_listed(_grants("coalesce(n.nspacl, acldefault('n', n.nspowner))", "n.nspowner"))})
        FROM pg_namespace n WHERE n.nspname = 'public'
    """,
    "database": f"""
        SELECT 'this database', jsonb_build_object('owner', {_ROLE.format("d.datdba")},
            'grants', {_listed(_grants("coalesce(d.datacl, acldefault('d', d.datdba))", "d.datdba"))})
        FROM pg_database d WHERE d.datname = current_database()
    """,
    "table": f"""
        SELECT c.relname, jsonb_build_object(
            'kind', c.relkind, 'persistence', c.relpersistence, 'owner', {_ROLE.format("c.relowner")},
            'row_security', c.relrowsecurity, 'row_security_forced', c.relforcerowsecurity,
            'options', coalesce(to_jsonb(c.reloptions), '[]'),
            'inherits', {_listed(_INHERITANCE.format("inhparent", "inhrelid"))},
            'inherited_by', {_listed(_INHERITANCE.format("inhrelid", "inhparent"))},
            'grants', {_listed(_TABLE_GRANTS)})
        FROM ({_TABLES}) c
    """,
    "column": f"""
        SELECT c.relname || '.' || a.attname, jsonb_build_object('definition', concat_ws(' ',
            format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'not null' END,
            CASE a.attidentity WHEN 'a' THEN 'identity always' WHEN 'd' THEN 'identity by default' END,
            CASE WHEN a.attgenerated <> '' THEN 'generated' END,
            'default ' || pg_get_expr(d.adbin, d.adrelid)))
        FROM ({_TABLES}) c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE c.relkind <> 'S'
    """,
    # A not-null constraint is a row of its own from PostgreSQL 18 on; the column tells it on all.
    "constraint": f"""
        SELECT c.relname || '.' || k.conname, jsonb_build_object(
            'definition', pg_get_constraintdef(k.oid), 'validated', k.convalidated,
            'enforced', coalesce((to_jsonb(k) ->> 'conenforced')::boolean, true))
        FROM ({_TABLES}) c JOIN pg_constraint k ON k.conrelid = c.oid WHERE k.contype <> 'n'
    """,
    # The internal triggers of foreign keys have numbers for names; they are told only when they are off.
    "trigger": f"""
        SELECT c.relname || '.' ||
            CASE WHEN t.tgisinternal THEN coalesce(k.conname, t.tgname)::text || ' (internal)'
                 ELSE t.tgname::text END,
            jsonb_build_object('enabled', t.tgenabled, 'definition',
                CASE WHEN t.tgisinternal THEN 'foreign key' ELSE pg_get_triggerdef(t.oid) END)
        FROM ({_TABLES}) c JOIN pg_trigger t ON t.tgrelid = c.oid
        LEFT JOIN pg_constraint k ON k.oid = t.tgconstraint
        WHERE NOT t.tgisinternal OR t.tgenabled <> 'O'
    """,
    "rule": f"""
        SELECT c.relname || '.' || r.rulename, jsonb_build_object(
            'enabled', r.ev_enabled, 'definition', pg_get_ruledef(r.oid))
        FROM ({_TABLES}) c JOIN pg_rewrite r ON r.ev_class = c.oid
    """,
    "policy": f"""
        SELECT c.relname || '.' || p.polname, jsonb_build_object(
            'command', p.polcmd, 'permissive', p.polpermissive,
            'using', pg_get_expr(p.polqual, c.oid), 'check', pg_get_expr(p.polwithcheck, c.oid))
        FROM ({_TABLES}) c JOIN pg_policy p ON p.polrelid = c.oid
    """,
    "function": f"""
        SELECT p.oid::regprocedure::text, jsonb_build_object(
            'owner', {_ROLE.format("p.proowner")}, 'returns', format_type(p.prorettype, NULL),
            'language', (SELECT lanname FROM pg_language WHERE oid = p.prolang),
            'source_sha256', encode(sha256(convert_to(p.prosrc, 'UTF8')), 'hex'),
            'settings', coalesce(to_jsonb(p.proconfig), '[]'), 'security_definer', p.prosecdef,
            'volatility', p.provolatile,
            'grants', {_listed(_grants("coalesce(p.proacl, acldefault('f', p.proowner))", "p.proowner"))})
        FROM ({_FUNCTIONS}) p
    """,
    "event trigger": f"""
        SELECT e.evtname, jsonb_build_object('event', e.evtevent, 'enabled', e.evtenabled,
            'owner', {_ROLE.format("e.evtowner")}, 'function', e.evtfoid::regprocedure::text,
            'tags', {_listed("SELECT unnest(e.evttags) AS told")})
        FROM pg_event_trigger e
    """,
    "role": """
        SELECT r.rolname, jsonb_build_object('login', r.rolcanlogin, 'superuser', r.rolsuper,
            'inherit', r.rolinherit, 'create_role', r.rolcreaterole, 'create_database', r.rolcreatedb,
            'replication', r.rolreplication, 'bypass_row_security', r.rolbypassrls)
        FROM pg_roles r WHERE starts_with(r.rolname::text, 'ecp_')
    """,
    # From PostgreSQL 16 on each membership says whether it is inherited, before that the role does.
    "membership": """
        SELECT m.rolname || ' in ' || g.rolname, jsonb_build_object(
            'inherit', bool_or(coalesce((to_jsonb(a) ->> 'inherit_option')::boolean, m.rolinherit)),
            'admin', bool_or(a.admin_option))
        FROM pg_auth_members a JOIN pg_roles m ON m.oid = a.member JOIN pg_roles g ON g.oid = a.roleid
        WHERE NOT m.rolsuper
          AND (starts_with(m.rolname::text, 'ecp_') OR starts_with(g.rolname::text, 'ecp_'))
        GROUP BY m.rolname, g.rolname
    """,
    "setting": f"""
        SELECT concat_ws(' in ', coalesce(r.rolname, 'everybody'),
                         CASE WHEN s.setdatabase <> 0 THEN 'this database' END)
                   || ': ' || split_part(v, '=', 1),
               jsonb_build_object('value', substr(v, strpos(v, '=') + 1))
        FROM pg_db_role_setting s CROSS JOIN unnest(s.setconfig) v LEFT JOIN pg_roles r ON r.oid = s.setrole
        WHERE s.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
          AND (starts_with(r.rolname::text, 'ecp_') OR split_part(v, '=', 1) = ANY('{_WATCHED}'))
    """,
    # What an ordinary session runs under, wherever it was set.
    "session": """
        SELECT name, jsonb_build_object('value', coalesce(nullif(current_setting(name, true), ''), fallback))
        FROM (VALUES ('ecp.migration', 'unset'), ('session_replication_role', 'origin'),
                     ('event_triggers', 'on')) AS wanted(name, fallback)
    """,
    "default right": f"""
        SELECT concat_ws(' ', pg_get_userbyid(d.defaclrole), 'in',
                   coalesce(nullif(d.defaclnamespace, 0)::regnamespace::text, 'every schema'),
                   CASE d.defaclobjtype WHEN 'r' THEN 'tables' WHEN 'f' THEN 'functions'
                                        WHEN 'S' THEN 'sequences' WHEN 'T' THEN 'types' ELSE 'schemas' END),
               jsonb_build_object('grants', {_listed(_grants("d.defaclacl", "d.defaclrole"))})
        FROM pg_default_acl d
    """,
}  # fmt: skip


def catalogue_get(connection: BaseDatabaseWrapper) -> Catalogue:
    """Everything in one snapshot; any role may read it."""
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        return catalogue_read(cursor)


def catalogue_read(cursor: Any) -> Catalogue:
    """The same through a DB-API cursor, inside the caller's transaction."""
    # Names come out with their schema, and no object of anybody's schema stands in for a catalogue's.
    cursor.execute("SET LOCAL search_path = pg_catalog, pg_temp")
    found: Catalogue = {}
    for category, query in QUERIES.items():
        cursor.execute(query)
        found[category] = {
            name: members if isinstance(members, dict) else json.loads(members)
            for name, members in sorted(cursor.fetchall(), key=itemgetter(0))
        }
    return found
