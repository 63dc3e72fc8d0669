"""Keep the list of entries that wait to be taken into the index of facts short.

Every probe of a GIN index reads that list to its end, and a list of a hundred entries with their annotations
probes a hundred times. With PostgreSQL's default of 4 MiB that took longer than the rest of the page.
"""

from django.contrib.postgres.indexes import GinIndex
from django.db import migrations

NAME = "entrysearch_body"
LIMIT_KIB = 128


class Migration(migrations.Migration):
    dependencies = [("ledger", "0018_entry_search_statistics")]
    operations = [
        migrations.RunSQL(
            f"ALTER INDEX {NAME} SET (gin_pending_list_limit = {LIMIT_KIB})",
            reverse_sql=f"ALTER INDEX {NAME} RESET (gin_pending_list_limit)",
            state_operations=[
                migrations.RemoveIndex("entrysearch", NAME),
                migrations.AddIndex(
                    "entrysearch",
                    GinIndex(
                        fields=["body"],
                        name=NAME,
                        opclasses=["jsonb_path_ops"],
                        gin_pending_list_limit=LIMIT_KIB,
                    ),
                ),
            ],
        )
    ]
