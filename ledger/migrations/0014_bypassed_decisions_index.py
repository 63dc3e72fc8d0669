"""Bypassed decisions, newest first: they are few, so the index holds them alone."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("ledger", "0013_entry_leaf_hash_index")]
    operations = [
        migrations.AddIndex(
            "entrysearch",
            models.Index(fields=["-entry"], name="entrysearch_bypassed", condition=models.Q(bypassed=True)),
        ),
    ]
