"""Rows of polls: everything that a poll is and does is here, a message in the broker is only an id.

No foreign key reaches a table of the log: its triggers would stand on tables that the ledger guards. The
entries of a poll are named by the ids of their statements.
"""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from ledger.models import Agent, Organisation


class State(models.TextChoices):
    DRAFT = "draft", "Draft"
    COMMITTED = "committed", "Committed"
    DRAWN = "drawn", "Drawn"
    OPEN = "open", "Open"
    CLOSED = "closed", "Closed"
    CANCELLED = "cancelled", "Cancelled"


class Estimator(models.TextChoices):
    SRS = "srs", "Simple random sample"
    STRATIFIED = "stratified", "Stratified"


class Revisions(models.TextChoices):
    NONE = "none", "The first answer counts"
    LAST = "last", "The last answer before the close counts"


class Transport(models.TextChoices):
    WEBHOOK = "webhook", "Webhook"
    PULL = "pull", "Inbox"
    MANUAL = "manual", "By hand"


class InvitationState(models.TextChoices):
    PENDING = "pending", "Pending"
    DELIVERED = "delivered", "Delivered"
    ANSWERED = "answered", "Answered"
    DECLINED = "declined", "Declined"
    SILENT = "silent", "Silent"
    UNREACHABLE = "unreachable", "Unreachable"


LIVE = (InvitationState.PENDING, InvitationState.DELIVERED)


class PollSchedule(models.Model):
    """A poll that recurs; `template` is the body of POST /api/v1/polls/."""

    id = models.UUIDField(primary_key=True)
    organisation = models.ForeignKey(Organisation, on_delete=models.PROTECT, related_name="+")
    title = models.CharField(max_length=200)
    cron = models.CharField(max_length=100)
    timezone = models.CharField(max_length=64, default="UTC")
    template = models.JSONField()
    enabled = models.BooleanField(default=True)
    next_due_at = models.DateTimeField(null=True)
    last_due_at = models.DateTimeField(null=True)
    if_open = models.CharField(max_length=4, default="skip")
    catch_up = models.CharField(max_length=4, default="none")
    ends_at = models.DateTimeField(null=True)
    max_runs = models.IntegerField(null=True)
    runs = models.IntegerField(default=0)
    created_by = models.CharField(max_length=100)
    created_at = models.DateTimeField()

    class Meta:
        default_permissions = ()
        constraints = [
            models.CheckConstraint(condition=Q(if_open__in=["skip", "run"]), name="pollschedule_if_open"),
            models.CheckConstraint(condition=Q(catch_up__in=["none", "one"]), name="pollschedule_catch_up"),
            models.CheckConstraint(
                condition=Q(max_runs__isnull=True) | Q(max_runs__gte=F("runs")), name="pollschedule_runs"
            ),
        ]
        indexes = [
            models.Index(fields=["next_due_at"], condition=Q(enabled=True), name="pollschedule_due"),
        ]

    def __str__(self) -> str:
        return self.title


class Poll(models.Model):
    """One question to a sample. What was committed to never changes: a trigger refuses it."""

    id = models.UUIDField(primary_key=True)
    organisation = models.ForeignKey(Organisation, on_delete=models.PROTECT, related_name="polls")
    state = models.CharField(max_length=10, choices=State, default=State.DRAFT)
    auto = models.BooleanField(default=False)
    created_by = models.CharField(max_length=100)
    created_at = models.DateTimeField()

    # what is asked, of whom, and how it will be read; fixed at commit
    question = models.CharField(max_length=2000)
    options = ArrayField(models.CharField(max_length=32))
    question_hash = models.CharField(max_length=64)
    n = models.IntegerField()
    strata_by = ArrayField(models.CharField(max_length=64), default=list)
    filter = models.JSONField(default=dict)
    exclude_same_owner = models.BooleanField(default=False)
    estimator = models.CharField(max_length=10, choices=Estimator)
    confidence_pct = models.SmallIntegerField()
    quorum = models.JSONField()
    revisions = models.CharField(max_length=4, choices=Revisions, default=Revisions.NONE)
    deadline_minutes = models.IntegerField()
    decision_id = models.UUIDField(null=True)
    deciding_agent = models.CharField(max_length=64, blank=True)
    advice_id = models.UUIDField(null=True)
    schedule = models.ForeignKey(PollSchedule, on_delete=models.PROTECT, null=True, related_name="polls")
    due_at = models.DateTimeField(null=True)

    # set at commit
    log_id = models.SmallIntegerField(null=True)
    frame_hash = models.CharField(max_length=64, blank=True)
    frame_size = models.IntegerField(null=True)
    strata = models.JSONField(default=list)  # [{stratum, size, n}], as the entry has it
    commitment = models.CharField(max_length=64, blank=True)
    committed_at = models.DateTimeField(null=True)
    committed_seq = models.BigIntegerField(null=True)
    committed_id = models.UUIDField(null=True)
    opens_at = models.DateTimeField(null=True)
    deadline = models.DateTimeField(null=True)
    kek_id = models.CharField(max_length=22, blank=True)
    wrapped_secret = models.BinaryField(null=True)
    wrapped_key = models.BinaryField(null=True)  # of the answers, while the poll is open

    # set at the draw
    drawn_id = models.UUIDField(null=True)
    secret = models.BinaryField(max_length=32, null=True)
    public_input = models.CharField(max_length=200, blank=True)
    seed = models.BinaryField(max_length=32, null=True)
    sample_hash = models.CharField(max_length=64, blank=True)
    opened_at = models.DateTimeField(null=True)

    # set at the end
    closed_id = models.UUIDField(null=True)
    closed_at = models.DateTimeField(null=True)
    reason = models.CharField(max_length=2000, blank=True)
    early = models.BooleanField(default=False)
    inconclusive = models.BooleanField(null=True)
    results = models.JSONField(null=True)
    responses_root = models.CharField(max_length=64, blank=True)

    class Meta:
        default_permissions = ("view",)
        constraints = [
            models.CheckConstraint(condition=Q(state__in=State.values), name="poll_state"),
            models.CheckConstraint(condition=Q(estimator__in=Estimator.values), name="poll_estimator"),
            models.CheckConstraint(condition=Q(revisions__in=Revisions.values), name="poll_revisions"),
            models.CheckConstraint(condition=Q(n__gte=1), name="poll_n"),
            models.CheckConstraint(
                condition=Q(deadline_minutes__gte=1, deadline_minutes__lte=43_200), name="poll_deadline"
            ),
            models.CheckConstraint(
                condition=Q(confidence_pct__gte=50, confidence_pct__lte=99), name="poll_confidence"
            ),
            models.CheckConstraint(
                condition=Q(state__in=["draft", "cancelled"])
                | Q(committed_id__isnull=False, committed_seq__isnull=False, deadline__isnull=False),
                name="poll_committed",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["draft", "committed", "cancelled"])
                | Q(drawn_id__isnull=False, secret__isnull=False, seed__isnull=False),
                name="poll_drawn",
            ),
            models.CheckConstraint(
                condition=~Q(state="closed") | Q(closed_id__isnull=False, results__isnull=False),
                name="poll_closed",
            ),
            # Nothing of an open poll can be shown: there is nothing.
            models.CheckConstraint(
                condition=Q(state="closed") | Q(results__isnull=True), name="poll_blind_until_close"
            ),
            models.CheckConstraint(
                condition=Q(schedule__isnull=True, due_at__isnull=True)
                | Q(schedule__isnull=False, due_at__isnull=False),
                name="poll_of_schedule",
            ),
            models.UniqueConstraint(fields=["schedule", "due_at"], name="poll_once_per_run"),
        ]
        indexes = [
            models.Index(fields=["organisation", "-id"], name="poll_newest"),
            models.Index(fields=["organisation", "question_hash"], name="poll_same_question"),
            models.Index(
                fields=["state", "deadline"],
                condition=Q(state__in=["draft", "committed", "drawn", "open"]),
                name="poll_at_work",
            ),
        ]

    def __str__(self) -> str:
        return self.question


class PollFrame(models.Model):
    """Who could have been asked: [[agent_id, stratum, transport], ..] as of the commitment."""

    poll = models.OneToOneField(Poll, on_delete=models.CASCADE, primary_key=True, related_name="frame")
    rows = models.JSONField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"frame of {self.poll_id}"


class PollInvitation(models.Model):
    """One agent of the sample, and how far the question has come."""

    id = models.UUIDField(primary_key=True)
    poll = models.ForeignKey(Poll, on_delete=models.PROTECT, related_name="invitations")
    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, related_name="+")
    stratum = models.CharField(max_length=500, blank=True)
    base_model = models.CharField(max_length=200, blank=True)
    ticket = models.CharField(max_length=64)
    option_order = ArrayField(models.CharField(max_length=32))
    transport = models.CharField(max_length=7, choices=Transport)
    state = models.CharField(max_length=11, choices=InvitationState, default=InvitationState.PENDING)
    attempts = models.SmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True)
    lease_until = models.DateTimeField(null=True)
    delivered_at = models.DateTimeField(null=True)
    reminders = models.SmallIntegerField(default=0)
    refused_answers = models.IntegerField(default=0)
    last_error = models.CharField(max_length=64, blank=True)

    class Meta:
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(fields=["poll", "agent"], name="pollinvitation_agent_once"),
            models.CheckConstraint(
                condition=Q(state__in=InvitationState.values), name="pollinvitation_state"
            ),
            models.CheckConstraint(
                condition=Q(transport__in=Transport.values), name="pollinvitation_transport"
            ),
            models.CheckConstraint(
                condition=Q(attempts__gte=0, attempts__lte=6), name="pollinvitation_attempts"
            ),
            models.CheckConstraint(
                condition=Q(reminders__gte=0, reminders__lte=2), name="pollinvitation_reminders"
            ),
        ]
        indexes = [
            models.Index(fields=["next_attempt_at"], condition=Q(state="pending"), name="pollinvitation_due"),
            models.Index(fields=["agent", "state"], name="pollinvitation_inbox"),
        ]

    def __str__(self) -> str:
        return f"{self.agent_id} in {self.poll_id}"


class PollResponse(models.Model):
    """One answer as it came. Until the close it is ciphertext for everybody."""

    id = models.UUIDField(primary_key=True)  # of the statement that announces it
    poll = models.ForeignKey(Poll, on_delete=models.PROTECT, related_name="responses")
    invitation = models.ForeignKey(PollInvitation, on_delete=models.PROTECT, related_name="responses")
    response_sha256 = models.BinaryField(max_length=32)
    nonce_mac = models.BinaryField(max_length=32)
    sealed = models.BinaryField(null=True)
    document = models.JSONField(null=True)  # {payload, public_key, signature} once the poll is closed
    received_at = models.DateTimeField()
    seq = models.BigIntegerField()
    counted = models.BooleanField()
    late = models.BooleanField(default=False)
    supersedes = models.UUIDField(null=True)
    entered_by = models.UUIDField(null=True)  # pseudonym of the person who typed it
    entered_reason = models.CharField(max_length=2000, blank=True)

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["invitation"], condition=Q(counted=True), name="pollresponse_one_counts"
            ),
            models.UniqueConstraint(fields=["poll", "nonce_mac"], name="pollresponse_nonce_once"),
            models.UniqueConstraint(fields=["poll", "response_sha256"], name="pollresponse_once"),
            models.CheckConstraint(condition=~Q(counted=True, late=True), name="pollresponse_late"),
            models.CheckConstraint(
                condition=Q(sealed__isnull=True) | Q(document__isnull=True), name="pollresponse_blind"
            ),
            models.CheckConstraint(
                condition=Q(entered_by__isnull=True) | ~Q(entered_reason=""), name="pollresponse_manual"
            ),
        ]
        indexes = [models.Index(fields=["poll", "seq"], name="pollresponse_order")]

    def __str__(self) -> str:
        return str(self.id)


class PollRun(models.Model):
    """What a schedule did at one of its times: a poll, or why there was none."""

    id = models.UUIDField(primary_key=True)
    schedule = models.ForeignKey(PollSchedule, on_delete=models.PROTECT, related_name="history")
    due_at = models.DateTimeField()
    poll = models.OneToOneField(Poll, on_delete=models.PROTECT, null=True, related_name="run")
    skipped = models.CharField(max_length=64, blank=True)

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["schedule", "due_at"], name="pollrun_once"),
            models.CheckConstraint(
                condition=Q(poll__isnull=True) ^ Q(skipped=""), name="pollrun_poll_or_reason"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.schedule_id} at {self.due_at}"


class PollMinorityAct(models.Model):
    """The quoted reason of the minority was hidden for privacy, or shown again. A trigger keeps each row."""

    id = models.UUIDField(primary_key=True)  # of the `ecp.staff/1` that records it
    poll = models.ForeignKey(Poll, on_delete=models.PROTECT, related_name="minority_acts")
    number = models.SmallIntegerField()  # in the order of the log, which clocks need not keep
    hides = models.BooleanField()
    actor = models.CharField(max_length=100)
    at = models.DateTimeField()
    reason = models.CharField(max_length=2000)

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["poll", "number"], name="pollminorityact_order"),
            models.CheckConstraint(condition=~Q(reason=""), name="pollminorityact_reason"),
        ]

    def __str__(self) -> str:
        return f"{self.poll_id} at {self.at}"
