-- Database roles of ECP (design: LEDGER section 8, OPERATIONS section 5.1). Run once for each PostgreSQL cluster
-- as a superuser; running it again changes nothing. Passwords are set apart: ALTER ROLE <name> PASSWORD '...'.
-- The migrations grant the rights; this file only makes the roles and their settings.
DO $roles$
DECLARE
    wanted record;
BEGIN
    FOR wanted IN SELECT * FROM (VALUES
        ('ecp_owner', false), ('ecp_migrator', true), ('ecp_app', true), ('ecp_ckpt', true),
        ('ecp_auditor', true), ('ecp_backup', true), ('ecp_monitor', true)) AS r(name, login)
    LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted.name) THEN
                EXECUTE format('CREATE ROLE %I %s NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS',
                               wanted.name, CASE WHEN wanted.login THEN 'LOGIN' ELSE 'NOLOGIN' END);
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;  -- another installation on this cluster made it at the same moment
        END;
    END LOOP;
END
$roles$;

-- The migrate job becomes the owner by SET ROLE; nobody logs in as the owner. From PostgreSQL 16 on each grant keeps
-- whether it is inherited, and takes that from the role when it is made; older grants are corrected here.
ALTER ROLE ecp_migrator NOINHERIT;
GRANT ecp_owner TO ecp_migrator;
DO $membership$
BEGIN
    IF current_setting('server_version_num')::int >= 160000 THEN
        EXECUTE 'GRANT ecp_owner TO ecp_migrator WITH INHERIT FALSE';
    END IF;
END
$membership$;

ALTER ROLE ecp_app SET synchronous_commit = 'on';
ALTER ROLE ecp_app SET statement_timeout = '5s';
ALTER ROLE ecp_app SET lock_timeout = '2s';
ALTER ROLE ecp_app SET idle_in_transaction_session_timeout = '15s';

-- The checkpointer catches up in slices of 50,000 rows, which may take longer than a request may.
ALTER ROLE ecp_ckpt SET synchronous_commit = 'on';
ALTER ROLE ecp_ckpt SET statement_timeout = '60s';
ALTER ROLE ecp_ckpt SET lock_timeout = '2s';
ALTER ROLE ecp_ckpt SET idle_in_transaction_session_timeout = '60s';

ALTER ROLE ecp_migrator SET lock_timeout = '2s';

ALTER ROLE ecp_auditor SET default_transaction_read_only = 'on';
ALTER ROLE ecp_auditor SET statement_timeout = '10min';
ALTER ROLE ecp_auditor SET idle_in_transaction_session_timeout = '10min';

ALTER ROLE ecp_backup REPLICATION;
GRANT pg_read_all_data TO ecp_backup;
GRANT pg_monitor TO ecp_monitor;
