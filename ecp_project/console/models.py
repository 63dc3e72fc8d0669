"""Tables of the console: all of them can change, and none is evidence (CONSOLE section 1)."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q

from ledger.models import Log


class Scope(models.TextChoices):
    PRIVATE = "private", "Private"
    TEAM = "team", "Team"


class SavedView(models.Model):
    """A list with its query under a name; whoever opens it sees what he may see himself."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organisation = models.ForeignKey("ledger.Organisation", on_delete=models.CASCADE, related_name="+")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="saved_views")
    scope = models.CharField(max_length=8, choices=Scope, default=Scope.PRIVATE)
    name = models.CharField(max_length=60)
    path = models.CharField(max_length=200)
    query = models.CharField(max_length=2000, blank=True)
    is_default = models.BooleanField(default=False)
    created_at = models.DateTimeField()

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["owner", "path", "name"], name="savedview_name_once"),
            models.UniqueConstraint(
                fields=["owner", "path"], condition=Q(is_default=True), name="savedview_one_default"
            ),
            models.CheckConstraint(condition=Q(scope__in=Scope.values), name="savedview_scope"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def address(self) -> str:
        return f"{self.path}?{self.query}" if self.query else self.path


class Rollup(models.Model):
    """Decisions of one hour that agree in all that charts tell apart, and how many they are.

    The hour is that of receipt, in UTC, as times of receipt never run backwards along a log. Absent is "".
    """

    # No constraint in the database: its triggers would stand on a table that the ledger guards.
    log = models.ForeignKey(
        Log, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    hour = models.DateTimeField()
    agent = models.TextField()
    action = models.TextField()
    risk = models.TextField()
    zone = models.TextField()
    level = models.TextField()
    bypassed = models.BooleanField()
    count = models.BigIntegerField()

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["log", "hour", "agent", "action", "risk", "zone", "level", "bypassed"],
                name="rollup_once",
            )
        ]
        indexes = [models.Index(fields=["log", "agent", "hour"], name="rollup_agent_hour", include=["count"])]

    def __str__(self) -> str:
        return f"{self.log_id} {self.hour:%Y-%m-%d %H:00} {self.agent} {self.action}: {self.count}"
