"""The log itself: sequencer row, entries, tiles, checkpoints (LEDGER section 8).

Entries, tiles, checkpoints and cosignatures are append-only: triggers in the database refuse everything
else, and the models here refuse it earlier, with a sentence. No foreign key reaches into `ledger_entry`:
its rows are written under the lock of the head row, which proves that the log exists, and a deferred
trigger proves the position.
"""

from __future__ import annotations

from typing import Any, NoReturn

from django.contrib.postgres.indexes import HashIndex
from django.db import models
from django.db.models import Q

from ledger.models.identity import Organisation, slug_validator

POSITIONS_PER_LOG = 1_099_511_627_776  # 2^40; entry id = log_id * 2^40 + seq


class Mode(models.TextChoices):
    ACTIVE = "active", "Active"
    HALT = "halt", "Halted"


class AppendOnlyError(TypeError):
    """Somebody asked the ORM to change what may only be added to."""


def _refuse() -> NoReturn:
    raise AppendOnlyError("ledger rows are append-only: record a correction as a new entry")


class AppendOnlyQuerySet(models.QuerySet[Any]):
    def update(self, **kwargs: Any) -> NoReturn:
        _refuse()

    def delete(self) -> NoReturn:
        _refuse()

    def bulk_update(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse()

    def bulk_create(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse()


class AppendOnlyModel(models.Model):
    """Readable through the ORM, written only by the sequencer or the checkpointer in SQL."""

    objects = AppendOnlyQuerySet.as_manager()

    class Meta:
        abstract = True
        default_permissions = ("view",)

    def save(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse()

    def delete(self, *args: Any, **kwargs: Any) -> NoReturn:
        _refuse()


class Log(models.Model):
    id = models.SmallAutoField(primary_key=True)
    slug = models.CharField(max_length=64, unique=True, validators=[slug_validator])
    origin = models.CharField(max_length=255, unique=True)
    organisation = models.ForeignKey(Organisation, on_delete=models.PROTECT, related_name="logs")
    is_public = models.BooleanField(default=False)
    mode = models.CharField(max_length=16, choices=Mode, default=Mode.ACTIVE)
    epoch = models.SmallIntegerField(default=0)
    prior_log = models.ForeignKey("self", on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    min_index = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        default_permissions = ("view",)
        constraints = [models.CheckConstraint(condition=Q(mode__in=Mode.values), name="log_mode")]

    def __str__(self) -> str:
        return self.slug


class Head(models.Model):
    """The sequencer's row: locking it orders all appends of a log, across processes and hosts."""

    log = models.OneToOneField(Log, on_delete=models.DO_NOTHING, primary_key=True, related_name="head")
    size = models.BigIntegerField()
    tip = models.BinaryField(max_length=32)
    last_rcvd = models.DateTimeField()

    class Meta:
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.log_id}:{self.size}"


class Entry(AppendOnlyModel):
    id = models.BigIntegerField(primary_key=True)
    log = models.ForeignKey(
        Log, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="entries"
    )
    seq = models.BigIntegerField()
    uid = models.UUIDField()
    kind = models.TextField()
    agent = models.TextField(null=True)
    action = models.TextField(null=True)
    zone = models.TextField(null=True)
    risk = models.TextField(null=True)
    level = models.TextField(null=True)
    bypassed = models.BooleanField(null=True)
    ts = models.DateTimeField()
    rcvd = models.DateTimeField()
    late = models.BooleanField()
    entry = models.BinaryField()
    leaf_hash = models.BinaryField(max_length=32)

    class Meta(AppendOnlyModel.Meta):
        verbose_name_plural = "entries"
        constraints = [models.UniqueConstraint(fields=["log", "uid"], name="entry_uid_once")]
        indexes = [
            models.Index(fields=["log", "agent", "seq"], name="entry_agent_seq"),
            models.Index(fields=["log", "kind", "seq"], name="entry_kind_seq"),
            HashIndex(fields=["leaf_hash"], name="entry_by_leaf_hash"),
        ]

    def __str__(self) -> str:
        return f"{self.log_id}/{self.seq}"


class Tile(AppendOnlyModel):
    """A full tile of height 8: 256 hashes of one level, and the root over them."""

    pk = models.CompositePrimaryKey("log_id", "level", "idx")
    log = models.ForeignKey(Log, on_delete=models.DO_NOTHING, db_index=False, related_name="+")
    level = models.SmallIntegerField()
    idx = models.BigIntegerField()
    data = models.BinaryField(max_length=8192)
    root = models.BinaryField(max_length=32)

    def __str__(self) -> str:
        return f"{self.log_id}/{self.level}/{self.idx}"


class Checkpoint(AppendOnlyModel):
    pk = models.CompositePrimaryKey("log_id", "size")
    log = models.ForeignKey(Log, on_delete=models.DO_NOTHING, db_index=False, related_name="checkpoints")
    size = models.BigIntegerField()
    root = models.BinaryField(max_length=32)
    note = models.TextField()
    created = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.log_id}@{self.size}"


class Cosignature(AppendOnlyModel):
    pk = models.CompositePrimaryKey("log_id", "size", "witness")
    log = models.ForeignKey(Log, on_delete=models.DO_NOTHING, db_index=False, related_name="+")
    size = models.BigIntegerField()
    witness = models.TextField()
    line = models.TextField()
    ts = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.log_id}@{self.size} {self.witness}"


class StaffAction(Entry):
    """The entries of kind `ecp.staff/1`, for the console's list of what staff did."""

    class Meta:
        proxy = True
        default_permissions = ("view",)
        verbose_name = "staff action"


class Decision(Entry):
    """The entries of kind `ecp.decision/1`, for the decision log of the console."""

    class Meta:
        proxy = True
        default_permissions = ("view",)
