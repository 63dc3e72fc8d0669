"""Let PostgreSQL know five times as many words of the search by how often they occur.

For a word that it does not know it assumes half the frequency of the rarest that it knows. With the default of
a thousand words that is so often that, in a log of some million entries, a page of a rare word was sought by
walking the log from its end.
"""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("ledger", "0017_sealed_decisions_index")]
    operations = [
        migrations.RunSQL(
            [
                "ALTER TABLE ledger_entrysearch ALTER COLUMN explanation SET STATISTICS 500",
                "ANALYZE ledger_entrysearch (explanation)",
            ],
            reverse_sql="ALTER TABLE ledger_entrysearch ALTER COLUMN explanation SET STATISTICS -1",
        )
    ]
