"""Tables of the console. All of them change, and none is evidence (CONSOLE section 1)."""

from __future__ import annotations

from django.db import models

from ledger.models import Log


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
