"""Keep in the search what entries are found by.

The index of facts took every member of a statement, also those that nothing asks it for. Of these the id, the
time and the commitments are new in every entry: they were most of the index, and as their hashes fall
anywhere, each slice of the projection wrote to thousands of its pages.
"""

from django.db import migrations

KEPT = "body - '{id,ts,explanation,text,context_summary}'::text[]"
FACTS_SQL = f"""
UPDATE ledger_entrysearch
SET body = CASE WHEN body ? 'sealed' THEN jsonb_set({KEPT}, '{{sealed}}', 'true') ELSE {KEPT} END
"""


class Migration(migrations.Migration):
    dependencies = [("ledger", "0019_entry_search_pending")]
    operations = [
        migrations.RunSQL([FACTS_SQL, "REINDEX INDEX entrysearch_body"], reverse_sql=migrations.RunSQL.noop)
    ]
