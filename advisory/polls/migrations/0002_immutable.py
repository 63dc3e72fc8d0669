"""What a poll committed to never changes, and after the end nothing does (POLLS section 1)."""

from django.db import migrations

# Fixed at the commitment; the draft may still be corrected.
COMMITTED = (
    "organisation_id", "question", "options", "question_hash", "n", "strata_by", "filter", "exclude_same_owner",
    "estimator", "confidence_pct", "quorum", "revisions", "deadline_minutes", "decision_id", "deciding_agent",
    "advice_id", "schedule_id", "due_at", "log_id", "frame_hash", "frame_size", "strata", "commitment",
    "committed_at", "committed_seq", "committed_id", "opens_at", "deadline",
)


def rows(record: str) -> str:
    return "(" + ", ".join(f"{record}.{column}" for column in COMMITTED) + ")"


POLL = f"""
CREATE FUNCTION polls_poll_fixed() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    IF OLD.state IN ('closed', 'cancelled') THEN
        RAISE EXCEPTION 'the poll has ended: nothing of it changes any more' USING ERRCODE = '42501';
    END IF;
    IF OLD.state <> 'draft' AND {rows("OLD")} IS DISTINCT FROM {rows("NEW")} THEN
        RAISE EXCEPTION 'the poll is committed: question, frame and rules are fixed' USING ERRCODE = '42501';
    END IF;
    RETURN NEW;
END
$body$;
CREATE TRIGGER polls_poll_fixed BEFORE UPDATE ON polls_poll
    FOR EACH ROW EXECUTE FUNCTION polls_poll_fixed();
"""
# The frame is hashed into the commitment, so its row is never touched again.
FRAME = """
CREATE FUNCTION polls_pollframe_fixed() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RAISE EXCEPTION 'the frame is committed to and does not change' USING ERRCODE = '42501';
END
$body$;
CREATE TRIGGER polls_pollframe_fixed BEFORE UPDATE ON polls_pollframe
    FOR EACH ROW EXECUTE FUNCTION polls_pollframe_fixed();
"""


class Migration(migrations.Migration):
    dependencies = [("polls", "0001_polls")]
    operations = [
        migrations.RunSQL(
            POLL, reverse_sql="DROP TRIGGER polls_poll_fixed ON polls_poll; DROP FUNCTION polls_poll_fixed()"
        ),
        migrations.RunSQL(
            FRAME,
            reverse_sql="DROP TRIGGER polls_pollframe_fixed ON polls_pollframe; DROP FUNCTION polls_pollframe_fixed()",
        ),
    ]
