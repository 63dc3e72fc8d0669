"""The head may only move onto entries that are stored, and an entry may not stand beyond its head at COMMIT."""

from django.db import migrations

from ledger.migrations._operations import RefuseReversalWithRows

HEAD = """
CREATE FUNCTION ledger_head_guard() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $body$
DECLARE
    base bigint := NEW.log_id::bigint * 1099511627776;
    stored bigint;
    genesis bytea;
BEGIN
    IF TG_OP = 'INSERT' THEN
        SELECT sha256(convert_to(E'ecp-genesis/v1\\n' || origin || E'\\n', 'UTF8')) INTO genesis
            FROM public.ledger_log WHERE id = NEW.log_id;
        IF NEW.size <> 0 OR NEW.tip IS DISTINCT FROM genesis THEN
            RAISE EXCEPTION 'a new log starts at size 0 with the genesis tip' USING ERRCODE = '42501';
        END IF;
        RETURN NEW;
    END IF;
    IF NEW.log_id <> OLD.log_id OR NEW.size <= OLD.size THEN
        RAISE EXCEPTION 'head of log % may only grow: % to %', OLD.log_id, OLD.size, NEW.size
            USING ERRCODE = '42501';
    END IF;
    SELECT count(*) INTO stored FROM public.ledger_entry WHERE id >= base + OLD.size AND id < base + NEW.size;
    IF stored <> NEW.size - OLD.size THEN
        RAISE EXCEPTION 'head of log % would cover % entries, % are stored', OLD.log_id, NEW.size - OLD.size, stored
            USING ERRCODE = '42501';
    END IF;
    PERFORM FROM public.ledger_entry WHERE id = base + NEW.size - 1 AND leaf_hash = NEW.tip;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'tip of log % is not the leaf hash at %', OLD.log_id, NEW.size - 1 USING ERRCODE = '42501';
    END IF;
    RETURN NEW;
END
$body$;
REVOKE ALL ON FUNCTION ledger_head_guard() FROM PUBLIC;
CREATE TRIGGER ledger_head_guard BEFORE INSERT OR UPDATE ON ledger_head
    FOR EACH ROW EXECUTE FUNCTION ledger_head_guard();
ALTER TABLE ledger_head ENABLE ALWAYS TRIGGER ledger_head_guard;
CREATE TRIGGER ledger_head_kept BEFORE DELETE ON ledger_head
    FOR EACH ROW EXECUTE FUNCTION ledger_append_only();
ALTER TABLE ledger_head ENABLE ALWAYS TRIGGER ledger_head_kept;
CREATE TRIGGER ledger_head_no_truncate BEFORE TRUNCATE ON ledger_head
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_append_only();
ALTER TABLE ledger_head ENABLE ALWAYS TRIGGER ledger_head_no_truncate;
"""
HEAD_DROP = """
DROP TRIGGER ledger_head_no_truncate ON ledger_head;
DROP TRIGGER ledger_head_kept ON ledger_head;
DROP TRIGGER ledger_head_guard ON ledger_head;
DROP FUNCTION ledger_head_guard();
"""
# Without this a squatted future position could never be removed and would stop the log.
ENTRY = """
CREATE FUNCTION ledger_entry_below_head() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $body$
BEGIN
    PERFORM FROM public.ledger_head WHERE log_id = NEW.log_id AND size > NEW.seq;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'entry % of log % stands beyond the head', NEW.seq, NEW.log_id USING ERRCODE = '42501';
    END IF;
    RETURN NULL;
END
$body$;
REVOKE ALL ON FUNCTION ledger_entry_below_head() FROM PUBLIC;
CREATE CONSTRAINT TRIGGER ledger_entry_below_head AFTER INSERT ON ledger_entry
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ledger_entry_below_head();
ALTER TABLE ledger_entry ENABLE ALWAYS TRIGGER ledger_entry_below_head;
"""
ENTRY_DROP = "DROP TRIGGER ledger_entry_below_head ON ledger_entry; DROP FUNCTION ledger_entry_below_head();"


class Migration(migrations.Migration):
    dependencies = [("ledger", "0007_append_only_triggers")]
    operations = [
        migrations.RunSQL(HEAD, reverse_sql=HEAD_DROP),
        migrations.RunSQL(ENTRY, reverse_sql=ENTRY_DROP),
        RefuseReversalWithRows("ledger_entry"),
    ]
