"""Decisions with sealed parts, newest first, so that `has:sealed` need not read the whole log."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False  # built while the projection goes on
    dependencies = [("ledger", "0016_erasure_proposals")]
    operations = [
        AddIndexConcurrently(
            "entrysearch",
            models.Index(
                fields=["-entry"], name="entrysearch_sealed", condition=models.Q(body__has_key="sealed")
            ),
        ),
    ]
