"""Rule sets and what came of them: advice, step outcomes, bypasses (FRICTION 6).

Advice and bypasses are also entries of the log; the rows beside them are what people search and what replay
reads. A rule-set version is fixed once it has left `draft`, by a trigger.
"""

from __future__ import annotations

from datetime import timedelta

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex, OpClass
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q
from django.db.models.fields.json import KeyTransform
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ledger.models import Membership, Organisation

MAX_STANDING = timedelta(hours=8)


class VersionState(models.TextChoices):
    DRAFT = "draft", _("Draft")
    SHADOW = "shadow", _("Shadow")
    ACTIVE = "active", _("Active")
    RETIRED = "retired", _("Retired")


class AdviceMode(models.TextChoices):
    """As what an evaluation was stored."""

    ACTIVE = "active", _("given to the agent")
    SHADOW = "shadow", _("beside the active rules")
    OBSERVER = "observer", _("kept to ourselves")


class AdvisoryMode(models.TextChoices):
    """What an organisation does with its rules."""

    OBSERVER = "observer", _("Observer: nothing is suggested")
    FRICTION = "friction", _("Friction: advice is given")


class Level(models.TextChoices):
    LOW = "low", _("Low")
    MEDIUM = "medium", _("Medium")
    HIGH = "high", _("High")


class Outcome(models.TextChoices):
    COMPLETED = "completed", _("Completed")
    SKIPPED = "skipped", _("Declined")
    EXPIRED = "expired", _("Expired")
    NOT_APPLICABLE = "not_applicable", _("Not applicable")


class ReasonCode(models.TextChoices):
    EMERGENCY = "emergency", _("Emergency")
    TIME_CRITICAL = "time_critical", _("Too little time")
    EQUIVALENT_CONTROL = "equivalent_control", _("Another control does the same")
    RULE_MISFIT = "rule_misfit", _("The rule does not fit")
    DUPLICATE_REVIEW = "duplicate_review", _("Reviewed already")
    OTHER = "other", _("Other")
    UNDECLARED = "undeclared", _("Not declared; found afterwards")
    STANDING = "standing", _("Under a standing bypass")


class TargetKind(models.TextChoices):
    MAIL = "mail", _("E-mail")
    WEBHOOK = "webhook", _("Webhook")


class Occasion(models.TextChoices):
    """Why somebody is told: the step was suggested, half of its time is over, all of it, or an answer."""

    FIRST = "first", _("Suggested")
    HALF = "half", _("Reminder at half time")
    DEADLINE = "deadline", _("Reminder at the deadline")
    ANSWERED = "answered", _("The agent is told")


class NoticeState(models.TextChoices):
    PENDING = "pending", _("Being delivered")
    DELIVERED = "delivered", _("Delivered")
    FAILED = "failed", _("Failed")
    UNDELIVERABLE = "undeliverable", _("Undeliverable: no active target of this name")


class Verdict(models.TextChoices):
    JUSTIFIED = "justified", _("Justified")
    UNJUSTIFIED = "unjustified", _("Not justified")
    RULE_SHOULD_CHANGE = "rule_should_change", _("The rule should change")


class SimulationState(models.TextChoices):
    QUEUED = "queued", _("Waiting")
    RUNNING = "running", _("Running")
    COMPLETE = "complete", _("Complete")
    CANCELLED = "cancelled", _("Stopped")
    FAILED = "failed", _("Failed")


class LinkFault(models.TextChoices):
    """Why a decision that names an advice is not linked with it."""

    UNKNOWN = "unknown", _("There is no such advice for this agent")
    TAKEN = "taken", _("The advice belongs to another decision")


class FrictionMode(models.Model):
    """The mode of an organisation; without a row it is `ECP_ADVISORY_MODE`."""

    organisation = models.OneToOneField(
        Organisation, on_delete=models.PROTECT, primary_key=True, related_name="+"
    )
    mode = models.CharField(max_length=16, choices=AdvisoryMode)
    since = models.DateTimeField()
    actor = models.CharField(max_length=128)

    class Meta:
        default_permissions = ("view",)
        constraints = [
            models.CheckConstraint(condition=Q(mode__in=AdvisoryMode.values), name="frictionmode_mode")
        ]

    def __str__(self) -> str:
        return f"{self.organisation_id}: {self.mode}"


class FrictionRuleSet(models.Model):
    organisation = models.ForeignKey(Organisation, on_delete=models.PROTECT, related_name="+")
    slug = models.CharField(max_length=64)

    class Meta:
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(fields=["organisation", "slug"], name="ruleset_slug_once"),
            models.CheckConstraint(
                condition=Q(slug__regex=r"^[a-z0-9][a-z0-9-]{1,63}$"), name="ruleset_slug"
            ),
        ]

    def __str__(self) -> str:
        return self.slug


class FrictionRuleSetVersion(models.Model):
    """One imported file. The organisation is copied so that one index can hold one active version of it."""

    organisation = models.ForeignKey(Organisation, on_delete=models.PROTECT, related_name="+")
    ruleset = models.ForeignKey(FrictionRuleSet, on_delete=models.PROTECT, related_name="versions")
    version = models.BigIntegerField()
    state = models.CharField(max_length=8, choices=VersionState, default=VersionState.DRAFT)
    source_yaml = models.TextField()
    canonical_json = models.TextField()
    sha256 = models.CharField(max_length=71)
    proposed_by = models.CharField(max_length=128)
    proposed_at = models.DateTimeField()
    activated_by = models.CharField(max_length=128, blank=True)
    changed_at = models.DateTimeField()
    effective_at = models.DateTimeField(null=True, blank=True)
    replaces = models.ForeignKey("self", on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    entry = models.UUIDField(null=True, blank=True)

    class Meta:
        default_permissions = ("view",)
        constraints = [
            models.UniqueConstraint(fields=["ruleset", "version"], name="rulesetversion_once"),
            models.UniqueConstraint(
                fields=["organisation"], condition=Q(state="active"), name="rulesetversion_one_active"
            ),
            models.UniqueConstraint(
                fields=["organisation"], condition=Q(state="shadow"), name="rulesetversion_one_shadow"
            ),
            models.CheckConstraint(condition=Q(state__in=VersionState.values), name="rulesetversion_state"),
            models.CheckConstraint(condition=Q(version__gte=1), name="rulesetversion_number"),
            models.CheckConstraint(
                condition=Q(sha256__regex=r"^sha256:[0-9a-f]{64}$"), name="rulesetversion_hash"
            ),
            models.CheckConstraint(
                condition=Q(activated_by="") | ~Q(activated_by=F("proposed_by")),
                name="rulesetversion_two_persons",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.ruleset_id} v{self.version} ({self.state})"


class FrictionSimulation(models.Model):
    """Recorded advice judged anew by other rules, in the background (FRICTION 8)."""

    id = models.UUIDField(primary_key=True)
    organisation = models.ForeignKey(Organisation, on_delete=models.PROTECT, related_name="+")
    actor = models.CharField(max_length=128)
    source_yaml = models.TextField()
    sha256 = models.CharField(max_length=71)
    against = models.ForeignKey(
        FrictionRuleSetVersion, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )  # None: the levels as they were recorded
    last_n = models.IntegerField()
    since = models.DateTimeField(null=True, blank=True)
    until = models.DateTimeField()
    filters = models.JSONField(default=dict, blank=True)
    state = models.CharField(max_length=16, choices=SimulationState, default=SimulationState.QUEUED)
    done = models.IntegerField(default=0)
    result = models.JSONField(null=True, blank=True)
    created_at = models.DateTimeField()
    moved_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["organisation", "-id"], name="simulation_newest"),
            models.Index(
                fields=["created_at"], condition=Q(state__in=("queued", "running")), name="simulation_open"
            ),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(state__in=SimulationState.values), name="simulation_state"),
            models.CheckConstraint(condition=Q(last_n__gte=1, last_n__lte=100_000), name="simulation_size"),
            models.CheckConstraint(
                condition=Q(state="complete", result__isnull=False)
                | (~Q(state="complete") & Q(result__isnull=True)),
                name="simulation_result",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.id}: {self.state}"


class StandingBypass(models.Model):
    """A person says: for the next hour I know. It ends by itself."""

    id = models.UUIDField(primary_key=True)
    organisation = models.ForeignKey(Organisation, on_delete=models.PROTECT, related_name="+")
    rules = ArrayField(models.CharField(max_length=16), default=list, blank=True)
    agents = ArrayField(models.CharField(max_length=64), default=list, blank=True)
    actions = ArrayField(models.CharField(max_length=128), default=list, blank=True)
    reason = models.TextField()
    actor = models.CharField(max_length=128)
    starts_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    entry = models.UUIDField()

    class Meta:
        default_permissions = ("view",)
        indexes = [models.Index(fields=["organisation", "-starts_at"], name="standing_newest")]
        constraints = [
            models.CheckConstraint(
                condition=Q(expires_at__lte=F("starts_at") + MAX_STANDING) & Q(expires_at__gt=F("starts_at")),
                name="standing_at_most_8_h",
            )
        ]

    def __str__(self) -> str:
        return f"{self.id} until {self.expires_at:%Y-%m-%d %H:%M}"


class FrictionAdvice(models.Model):
    """One evaluation that is on the log under the same id.

    Others wait for the head of the log while it is written, so it has no index that nothing reads by.
    """

    id = models.UUIDField(primary_key=True)
    organisation = models.ForeignKey(
        Organisation, on_delete=models.PROTECT, related_name="+", db_index=False
    )  # every index below begins with it
    agent = models.CharField(max_length=64)
    action = models.CharField(max_length=128)
    ruleset_version = models.ForeignKey(
        FrictionRuleSetVersion, on_delete=models.PROTECT, null=True, blank=True, related_name="advice"
    )
    sha256 = models.CharField(max_length=71, blank=True)
    engine_version = models.CharField(max_length=64)
    mode = models.CharField(max_length=8, choices=AdviceMode)
    level = models.CharField(max_length=8, choices=Level)
    score = models.IntegerField()
    input_sha256 = models.CharField(max_length=71)
    request_mac = models.BinaryField(max_length=32)
    facts = models.JSONField()
    facts_erased_at = models.DateTimeField(null=True, blank=True)
    proposal = models.JSONField()
    result = models.JSONField()
    evaluated_at = models.DateTimeField()
    elapsed_us = models.IntegerField()
    entry_seq = models.BigIntegerField()
    actor = models.CharField(max_length=128)
    previous_advice = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )
    repeat_of = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )
    standing = models.ForeignKey(
        StandingBypass, on_delete=models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )
    decision_id = models.UUIDField(null=True, blank=True, unique=True)
    decided_at = models.DateTimeField(null=True, blank=True)
    linked_at = models.DateTimeField(null=True, blank=True)
    changed_fields = ArrayField(models.CharField(max_length=512), default=list, blank=True)

    class Meta:
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["organisation", "-id"], name="advice_newest"),
            models.Index(fields=["organisation", "agent", "-id"], name="advice_of_agent"),
            models.Index(fields=["organisation", "input_sha256", "-id"], name="advice_of_input"),
            models.Index(fields=["organisation", "-evaluated_at", "-id"], name="advice_evaluated"),
            GinIndex(OpClass(KeyTransform("fired", "result"), name="jsonb_path_ops"), name="advice_by_rule"),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(mode__in=AdviceMode.values), name="advice_mode"),
            models.CheckConstraint(condition=Q(level__in=Level.values), name="advice_level"),
            models.CheckConstraint(condition=Q(score__gte=0), name="advice_score"),
            models.CheckConstraint(
                condition=Q(decision_id__isnull=True, linked_at__isnull=True, decided_at__isnull=True)
                | Q(decision_id__isnull=False, linked_at__isnull=False, decided_at__isnull=False),
                name="advice_linked",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.agent} {self.action}: {self.level}"


class FrictionInvalidLink(models.Model):
    """A decision that names an advice which is not its own. The decision stands all the same."""

    decision_id = models.UUIDField(primary_key=True)
    organisation = models.ForeignKey(Organisation, on_delete=models.PROTECT, related_name="+")
    advice_id = models.UUIDField()  # as the decision names it; there may be none
    fault = models.CharField(max_length=16, choices=LinkFault)
    found_at = models.DateTimeField()

    class Meta:
        default_permissions = ("view",)
        indexes = [models.Index(fields=["organisation", "advice_id"], name="invalidlink_advice")]
        constraints = [
            models.CheckConstraint(condition=Q(fault__in=LinkFault.values), name="invalidlink_fault")
        ]

    def __str__(self) -> str:
        return f"{self.decision_id}: {self.fault}"


class FrictionStepOutcome(models.Model):
    """What became of one step; the annotation on the log has the same id."""

    id = models.UUIDField(primary_key=True)
    advice = models.ForeignKey(FrictionAdvice, on_delete=models.PROTECT, related_name="outcomes")
    n = models.IntegerField()
    outcome = models.CharField(max_length=16, choices=Outcome)
    actor = models.CharField(max_length=128)
    actor_kind = models.CharField(max_length=8)
    note = models.TextField(blank=True)
    evidence_url = models.CharField(max_length=2_000, blank=True)
    at = models.DateTimeField()

    class Meta:
        default_permissions = ("view",)
        constraints = [
            models.CheckConstraint(condition=Q(outcome__in=Outcome.values), name="stepoutcome_outcome"),
            models.CheckConstraint(condition=Q(n__gte=1), name="stepoutcome_number"),
            models.UniqueConstraint(
                fields=["advice", "n", "actor"],
                condition=Q(outcome="completed"),
                name="stepoutcome_completed_once",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.advice_id} step {self.n}: {self.outcome}"


class FrictionBypass(models.Model):
    """Acting despite advice, on the log under the same id."""

    id = models.UUIDField(primary_key=True)
    advice = models.ForeignKey(FrictionAdvice, on_delete=models.PROTECT, related_name="bypasses")
    steps = ArrayField(models.IntegerField())
    reason_code = models.CharField(max_length=32, choices=ReasonCode)
    reason_text = models.TextField()
    actor = models.CharField(max_length=128)
    actor_kind = models.CharField(max_length=8)
    on_behalf_of = models.CharField(max_length=128, blank=True)
    by_reconciler = models.BooleanField(default=False)
    same_text = models.BooleanField(default=False)
    standing = models.ForeignKey(
        StandingBypass, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    at = models.DateTimeField()
    review_due_at = models.DateTimeField(null=True, blank=True)
    review_verdict = models.CharField(max_length=32, choices=Verdict, blank=True)
    reviewed_by = models.CharField(max_length=128, blank=True)
    reviewed_at = models.DateTimeField(null=True, blank=True)
    entry_seq = models.BigIntegerField()

    class Meta:
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["review_due_at"], condition=Q(review_verdict=""), name="bypass_due"),
        ]
        constraints = [
            # Two reconcilers at once cannot both find the same bypass.
            models.UniqueConstraint(
                fields=["advice"], condition=Q(by_reconciler=True), name="bypass_found_once"
            ),
            models.CheckConstraint(condition=Q(reason_code__in=ReasonCode.values), name="bypass_reason_code"),
            models.CheckConstraint(
                condition=Q(review_verdict="", reviewed_by="", reviewed_at__isnull=True)
                | (Q(review_verdict__in=Verdict.values) & ~Q(reviewed_by="") & Q(reviewed_at__isnull=False)),
                name="bypass_review",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.advice_id}: {self.reason_code}"


class DryRunCount(models.Model):
    """Dry runs of an agent on one day: no advice is stored, but shopping for mild advice shows."""

    organisation = models.ForeignKey(Organisation, on_delete=models.PROTECT, related_name="+")
    agent = models.CharField(max_length=64)
    day = models.DateField()
    count = models.IntegerField(default=0)

    class Meta:
        default_permissions = ("view",)
        constraints = [models.UniqueConstraint(fields=["organisation", "agent", "day"], name="dryrun_once")]

    def __str__(self) -> str:
        return f"{self.agent} {self.day}: {self.count}"


class FrictionWait(models.Model):
    """A step that waits for a person, for as long as nobody has answered it (FRICTION 10.1)."""

    organisation = models.ForeignKey(Organisation, on_delete=models.PROTECT, related_name="+")
    advice = models.ForeignKey(
        FrictionAdvice, on_delete=models.PROTECT, related_name="waits", db_index=False
    )  # `wait_once` begins with it
    n = models.IntegerField()
    step_type = models.CharField(max_length=32)
    role = models.CharField(max_length=64)
    not_same_owner = models.BooleanField(default=False)
    opened_at = models.DateTimeField()
    due_at = models.DateTimeField()
    reminders = models.IntegerField(default=0)
    next_at = models.DateTimeField(help_text="When a reminder, or the end, falls due.")
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        default_permissions = ("view",)
        indexes = [
            models.Index(
                fields=["organisation", "due_at"], condition=Q(closed_at__isnull=True), name="wait_open"
            ),
            models.Index(fields=["next_at"], condition=Q(closed_at__isnull=True), name="wait_next"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["advice", "n"], name="wait_once"),
            models.CheckConstraint(condition=Q(due_at__gt=F("opened_at")), name="wait_due_later"),
            models.CheckConstraint(condition=Q(reminders__gte=0, reminders__lte=2), name="wait_reminders"),
        ]

    def __str__(self) -> str:
        return f"{self.advice_id} step {self.n} until {self.due_at:%Y-%m-%d %H:%M}"


class FrictionComment(models.Model):
    """What a person said about a step without deciding it; a note on the log has the same id."""

    id = models.UUIDField(primary_key=True)
    advice = models.ForeignKey(FrictionAdvice, on_delete=models.PROTECT, related_name="comments")
    n = models.IntegerField()
    actor = models.CharField(max_length=128)
    text = models.TextField()
    at = models.DateTimeField()

    class Meta:
        default_permissions = ("view",)

    def __str__(self) -> str:
        return f"{self.advice_id} step {self.n} by {self.actor}"


class FrictionDuty(models.Model):
    """Who does the steps of a role that is no role of staff, such as `privacy`."""

    organisation = models.ForeignKey(Organisation, on_delete=models.PROTECT, related_name="+")
    label = models.CharField(
        _("duty"), max_length=64, help_text=_("The role that rules name in a step, such as privacy.")
    )
    member = models.ForeignKey(
        Membership, on_delete=models.PROTECT, related_name="+", verbose_name=_("member")
    )

    class Meta:
        verbose_name = _("duty")
        verbose_name_plural = _("duties")
        constraints = [
            models.UniqueConstraint(fields=["organisation", "label", "member"], name="duty_once"),
            models.CheckConstraint(condition=~Q(label=""), name="duty_label"),
        ]

    def __str__(self) -> str:
        return self.label

    def clean(self) -> None:
        if self.member_id and self.organisation_id and self.member.organisation_id != self.organisation_id:
            raise ValidationError({"member": gettext("This person is no member of the organisation.")})


class NotificationTarget(models.Model):
    """Where `notify` steps and reminders go; rules know it by its name."""

    organisation = models.ForeignKey(Organisation, on_delete=models.PROTECT, related_name="+")
    name = models.CharField(
        _("name"),
        max_length=64,
        help_text=_("As rules write it in notify; a role or duty of this name gets its reminders here."),
    )
    kind = models.CharField(_("kind"), max_length=8, choices=TargetKind)
    address = models.CharField(
        _("address"), max_length=2_000, help_text=_("An e-mail address, or a public https address.")
    )
    active = models.BooleanField(_("active"), default=True)

    class Meta:
        verbose_name = _("notification target")
        verbose_name_plural = _("notification targets")
        constraints = [
            models.UniqueConstraint(fields=["organisation", "name"], name="target_name_once"),
            models.CheckConstraint(condition=Q(kind__in=TargetKind.values), name="target_kind"),
            models.CheckConstraint(condition=~Q(name=""), name="target_name"),
        ]

    def __str__(self) -> str:
        return self.name


class FrictionNotice(models.Model):
    """One message about one step to one target, or to the agent about one answer, and what became of it."""

    id = models.UUIDField(primary_key=True)
    advice = models.ForeignKey(FrictionAdvice, on_delete=models.PROTECT, related_name="notices")
    n = models.IntegerField()
    occasion = models.CharField(max_length=8, choices=Occasion)
    target_name = models.CharField(max_length=64)
    target = models.ForeignKey(
        NotificationTarget, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    # What the agent is told of; `target_name` is the agent then, and its endpoint the address.
    outcome = models.OneToOneField(
        FrictionStepOutcome, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    comment = models.OneToOneField(
        FrictionComment, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    state = models.CharField(max_length=16, choices=NoticeState)
    attempts = models.IntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    last_error = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField()
    delivered_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["next_attempt_at"], condition=Q(state="pending"), name="notice_pending")
        ]
        constraints = [
            # An agent is told of every answer, and a step may have several; each answer has one message.
            models.UniqueConstraint(
                fields=["advice", "n", "occasion", "target_name"],
                condition=~Q(occasion="answered"),
                name="notice_once",
            ),
            models.CheckConstraint(condition=Q(state__in=NoticeState.values), name="notice_state"),
            models.CheckConstraint(condition=Q(occasion__in=Occasion.values), name="notice_occasion"),
            models.CheckConstraint(
                condition=(~Q(occasion="answered") & Q(outcome__isnull=True, comment__isnull=True))
                | (
                    Q(occasion="answered", target__isnull=True)
                    & ~Q(state="undeliverable")
                    & (
                        Q(outcome__isnull=False, comment__isnull=True)
                        | Q(outcome__isnull=True, comment__isnull=False)
                    )
                ),
                name="notice_answered",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.advice_id} step {self.n} to {self.target_name}: {self.state}"
