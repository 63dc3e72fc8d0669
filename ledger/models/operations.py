"""Rows about the ledger that are no evidence: restore guard, verification runs, reader positions."""

from __future__ import annotations

from django.db import models

from ledger.models.log import Log


class Guard(models.Model):
    """The checkpointer's finding that this database still is the one its checkpoints were signed over."""

    log = models.OneToOneField(Log, on_delete=models.DO_NOTHING, primary_key=True, related_name="guard")
    system_identifier = models.BigIntegerField()
    timeline = models.BigIntegerField()
    postmaster_start = models.DateTimeField()
    size = models.BigIntegerField()
    root = models.BinaryField(max_length=32)
    verdict = models.CharField(max_length=64)
    at = models.DateTimeField()

    class Meta:
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.log_id}: {self.verdict}"


class Verification(models.Model):
    """One verification run, worked off in slices that save their position."""

    log = models.ForeignKey(Log, on_delete=models.DO_NOTHING, related_name="verifications")
    requested_by = models.CharField(max_length=128, blank=True)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    first_seq = models.BigIntegerField(default=0)
    next_seq = models.BigIntegerField(default=0)
    ok = models.BooleanField(null=True)
    kind = models.CharField(max_length=64, blank=True)
    first_bad_seq = models.BigIntegerField(null=True, blank=True)
    report = models.JSONField(default=dict)

    class Meta:
        default_permissions = ("view",)
        indexes = [models.Index(fields=["log", "-started_at"], name="verification_newest")]

    def __str__(self) -> str:
        return f"{self.log_id} from {self.started_at:%Y-%m-%d %H:%M}"


class Cursor(models.Model):
    """How far a reader of the log has come."""

    pk = models.CompositePrimaryKey("name", "log_id")
    name = models.CharField(max_length=64)
    log = models.ForeignKey(Log, on_delete=models.DO_NOTHING, related_name="+")
    next_seq = models.BigIntegerField(default=0)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.name} {self.log_id}@{self.next_seq}"
