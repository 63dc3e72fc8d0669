"""The search projection: rebuildable from entries at any time, never evidence (LEDGER section 8)."""

from __future__ import annotations

from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVectorField
from django.db import models

from ledger.models.log import Entry


class EntrySearch(models.Model):
    entry = models.OneToOneField(
        Entry, on_delete=models.DO_NOTHING, primary_key=True, db_constraint=False, related_name="search"
    )
    zone = models.TextField(null=True)
    level = models.TextField(null=True)
    bypassed = models.BooleanField(null=True)
    explanation = SearchVectorField()
    body = models.JSONField()

    class Meta:
        default_permissions = ()
        indexes = [
            GinIndex(fields=["explanation"], name="entrysearch_text"),
            GinIndex(
                fields=["body"],
                name="entrysearch_body",
                opclasses=["jsonb_path_ops"],
                gin_pending_list_limit=128,  # KiB; each probe reads the list, and a page probes often
            ),
            models.Index(fields=["zone", "-entry"], name="entrysearch_zone"),
            models.Index(fields=["level", "-entry"], name="entrysearch_level"),
            models.Index(fields=["-entry"], name="entrysearch_bypassed", condition=models.Q(bypassed=True)),
            models.Index(
                fields=["-entry"], name="entrysearch_sealed", condition=models.Q(body__has_key="sealed")
            ),
        ]

    def __str__(self) -> str:
        return str(self.entry_id)
