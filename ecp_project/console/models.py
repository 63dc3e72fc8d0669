"""Tables of the console: all of them can change, and none is evidence (CONSOLE section 1)."""

from __future__ import annotations

import uuid
from datetime import timedelta

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from ledger.models import Log, Organisation


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


class State(models.TextChoices):
    """`running`: a stream is on its way, or the worker has begun."""

    QUEUED = "queued", _("waiting for the worker")
    RUNNING = "running", _("running")
    COMPLETE = "complete", _("complete")
    FAILED = "failed", _("failed")
    EXPIRED = "expired", _("file removed")


class Format(models.TextChoices):
    CSV = "csv", "CSV"
    JSON = "json", "JSON"
    NDJSON = "ndjson", "NDJSON"


class HandOver(models.Model):
    """What an export and an evidence pack have in common: whose it is, of which tree, how far it has come."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organisation = models.ForeignKey(Organisation, on_delete=models.PROTECT, related_name="+")
    # Rows of logs are never deleted, and a key to a guarded table would need its migration pass.
    log = models.ForeignKey(Log, on_delete=models.PROTECT, db_constraint=False, related_name="+")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    actor = models.CharField(max_length=128)  # the owner's pseudonym on the log
    state = models.CharField(max_length=16, choices=State, default=State.QUEUED)
    problem = models.CharField(max_length=64, blank=True)  # code of what made it fail
    rows = models.BigIntegerField(default=0)
    bytes = models.BigIntegerField(default=0)
    next_seq = models.BigIntegerField(default=0)
    has_file = models.BooleanField(default=False)
    created_at = models.DateTimeField()
    moved_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        abstract = True
        default_permissions = ("view",)

    def __str__(self) -> str:
        return str(self.id)


class Export(HandOver):
    """A list taken out of the console as a file (CONSOLE section 12)."""

    format = models.CharField(max_length=8, choices=Format)
    only_decisions = models.BooleanField()
    query = models.TextField()  # the list's address, without the page
    columns = ArrayField(models.CharField(max_length=32), default=list)
    as_of = models.BigIntegerField()
    first_seq = models.BigIntegerField(default=0)
    end_seq = models.BigIntegerField(default=0)
    manifest = models.TextField(blank=True)

    class Meta(HandOver.Meta):
        constraints = [models.CheckConstraint(condition=Q(state__in=State.values), name="export_state")]
        indexes = [models.Index(fields=["organisation", "-created_at"], name="export_newest")]

    @property
    def share(self) -> int | None:
        """How far a job has come, in hundredths of the positions that it has to look at."""
        if self.state != State.RUNNING or not self.has_file or self.end_seq <= self.first_seq:
            return None
        return 100 * (self.next_seq - self.first_seq) // (self.end_seq - self.first_seq)


class EvidencePack(HandOver):
    """Records bundled so that they verify without us (CONSOLE section 12)."""

    records = ArrayField(models.BigIntegerField())  # positions asked for
    found = ArrayField(models.BigIntegerField(), default=list)  # positions of these and of their timelines
    withheld = models.JSONField(default=list)
    size = models.BigIntegerField(default=0)  # of the checkpoint that covers it
    digest = models.CharField(max_length=64, blank=True)  # SHA-256 of its MANIFEST.json

    class Meta(HandOver.Meta):
        constraints = [models.CheckConstraint(condition=Q(state__in=State.values), name="pack_state")]
        indexes = [models.Index(fields=["organisation", "-created_at"], name="pack_newest")]


REVEAL_LASTS = timedelta(hours=8)


class EndedBy(models.TextChoices):
    PERSON = "person", _("the person")
    SIGN_OUT = "sign_out", _("sign-out")
    TIME = "time", _("time")


class RevealSession(models.Model):
    """The working session in which a person may read private values, with its one reason (CONSOLE section 2).

    It belongs to one sign-in: in another browser the reason is asked for again. Its beginning and its end are
    on the log; the end is recorded later where the log takes nothing at that moment.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    organisation = models.ForeignKey(Organisation, on_delete=models.PROTECT, related_name="+")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    actor = models.CharField(max_length=128)  # the person's pseudonym on the log
    sign_in = models.CharField(max_length=64)  # SHA-256 of the key of the web session
    reason = models.CharField(max_length=1000)
    began_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_by = models.CharField(max_length=8, choices=EndedBy, blank=True)
    records = models.IntegerField(default=0)
    digest = models.CharField(max_length=64, blank=True)  # SHA-256 of the list of records
    recorded_at = models.DateTimeField(null=True, blank=True)  # when the log took the end

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["organisation", "sign_in"],
                condition=Q(ended_at__isnull=True),
                name="revealsession_one_open",
            ),
            models.CheckConstraint(
                condition=Q(ends_at__gt=models.F("began_at"))
                & Q(ends_at__lte=models.F("began_at") + REVEAL_LASTS),
                name="revealsession_eight_hours",
            ),
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True, ended_by="", recorded_at__isnull=True)
                | Q(ended_at__isnull=False, ended_by__in=EndedBy.values, digest__regex="^[0-9a-f]{64}$"),
                name="revealsession_end",
            ),
        ]
        indexes = [models.Index(fields=["organisation", "-began_at"], name="revealsession_newest")]

    def __str__(self) -> str:
        return str(self.id)


class Reveal(models.Model):
    """A record whose private values were shown in a working session; once for each."""

    session = models.ForeignKey(RevealSession, on_delete=models.PROTECT, related_name="reveals")
    entry_id = models.BigIntegerField()  # no key to a table that the ledger guards
    uid = models.UUIDField()
    at = models.DateTimeField()

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["session", "entry_id"], name="reveal_once")]

    def __str__(self) -> str:
        return f"{self.session_id}: {self.uid}"
