"""Rights of the database roles (LEDGER section 8). Roles that the cluster lacks are left out: deploy/postgres/roles.sql."""

from django.db import migrations

APPEND_ONLY = "ledger_tile, ledger_checkpoint, ledger_cosignature"

GRANTS = {
    "ecp_app": f"""
        GRANT USAGE ON SCHEMA public TO ecp_app;
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO ecp_app;
        ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO ecp_app;
        REVOKE INSERT, UPDATE, DELETE ON {APPEND_ONLY}, ledger_guard, django_migrations FROM ecp_app;
        REVOKE UPDATE, DELETE ON ledger_entry, ledger_head, ledger_log FROM ecp_app;
        GRANT UPDATE (size, tip, last_rcvd) ON ledger_head TO ecp_app;
        GRANT UPDATE (mode, is_public) ON ledger_log TO ecp_app;
    """,
    "ecp_ckpt": f"""
        GRANT USAGE ON SCHEMA public TO ecp_ckpt;
        GRANT SELECT ON ALL TABLES IN SCHEMA public TO ecp_ckpt;
        REVOKE ALL ON ledger_entrysearch, ledger_sealedpart, ledger_subjectkey, ledger_macroot, ledger_apikey
            FROM ecp_ckpt;
        GRANT INSERT ON {APPEND_ONLY} TO ecp_ckpt;
        GRANT UPDATE (mode) ON ledger_log TO ecp_ckpt;
        GRANT INSERT, UPDATE ON ledger_guard TO ecp_ckpt;
    """,
    "ecp_auditor": f"""
        GRANT USAGE ON SCHEMA public TO ecp_auditor;
        GRANT SELECT ON ledger_entry, ledger_head, ledger_log, {APPEND_ONLY}, ledger_guard, ledger_entrysearch
            TO ecp_auditor;
    """,
}
REVOKES = {
    "ecp_app": """
        ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON TABLES FROM ecp_app;
        REVOKE ALL ON ALL TABLES IN SCHEMA public FROM ecp_app;
        REVOKE USAGE ON SCHEMA public FROM ecp_app;
    """,
    "ecp_ckpt": """
        REVOKE ALL ON ALL TABLES IN SCHEMA public FROM ecp_ckpt;
        REVOKE USAGE ON SCHEMA public FROM ecp_ckpt;
    """,
    "ecp_auditor": """
        REVOKE ALL ON ALL TABLES IN SCHEMA public FROM ecp_auditor;
        REVOKE USAGE ON SCHEMA public FROM ecp_auditor;
    """,
}


def if_role(role: str, statements: str) -> str:
    return f"""
DO $grants$ BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN
        {statements}
    END IF;
END $grants$;
"""


class Migration(migrations.Migration):
    dependencies = [("ledger", "0008_head_guard")]
    operations = [
        migrations.RunSQL(if_role(role, GRANTS[role]), reverse_sql=if_role(role, REVOKES[role])) for role in GRANTS
    ]
