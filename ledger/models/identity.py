"""Who acts: organisations, their agents and keys, API keys, and staff memberships (LEDGER section 8)."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q

SLUG_PATTERN = r"^[a-z0-9][a-z0-9._-]{1,63}\Z"
slug_validator = RegexValidator(
    SLUG_PATTERN,
    "Use 2 to 64 characters: a-z, 0-9, point, underscore and hyphen; start with a letter or digit.",
)


class Role(models.TextChoices):
    """Staff roles of SECURITY section 2; a role counts within the organisation of its membership."""

    VIEWER = "viewer", "Viewer"
    AUDITOR = "auditor", "Auditor"
    OPERATOR = "operator", "Operator"
    MANUFACTURER = "manufacturer", "Manufacturer"
    ADMIN = "admin", "Admin"


class Organisation(models.Model):
    slug = models.CharField(max_length=64, unique=True, validators=[slug_validator])
    title = models.CharField(max_length=200)
    context_policy = models.JSONField(
        default=dict,
        blank=True,
        help_text="Context policy by action: {action or '*': policy name@version}. Empty: default@1.",
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(slug__regex=SLUG_PATTERN.replace(r"\Z", "$")), name="organisation_slug"
            )
        ]

    def __str__(self) -> str:
        return self.title or self.slug


class AgentStatus(models.TextChoices):
    ACTIVE = "active", "Active"
    SUSPENDED = "suspended", "Suspended"
    RETIRED = "retired", "Retired"


class Agent(models.Model):
    organisation = models.ForeignKey(Organisation, on_delete=models.PROTECT, related_name="agents")
    slug = models.CharField(max_length=64, validators=[slug_validator])
    title = models.CharField(max_length=200)
    status = models.CharField(max_length=16, choices=AgentStatus, default=AgentStatus.ACTIVE)
    owner = models.CharField(
        max_length=200, blank=True, help_text="The person or team that answers for this agent."
    )
    labels = models.JSONField(
        default=dict,
        blank=True,
        help_text="Names and values, such as role and base_model; polls use them as strata.",
    )
    endpoint = models.CharField(
        max_length=2048,
        blank=True,
        help_text="Public https address for deliveries to this agent, if it has one.",
    )
    accepts_polls = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organisation", "slug"], name="agent_slug_once"),
            models.CheckConstraint(
                condition=Q(slug__regex=SLUG_PATTERN.replace(r"\Z", "$")), name="agent_slug"
            ),
            models.CheckConstraint(condition=Q(status__in=AgentStatus.values), name="agent_status"),
        ]

    def __str__(self) -> str:
        return self.slug


class AgentKey(models.Model):
    """Public half of an agent's Ed25519 key; announced on the log by `ecp.key/1`."""

    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, related_name="keys")
    kid = models.CharField(max_length=22, unique=True)
    public_key = models.BinaryField(max_length=32)
    valid_from = models.DateTimeField()
    valid_until = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    revoked_reason = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(valid_until__isnull=True) | Q(valid_until__gt=models.F("valid_from")),
                name="agentkey_interval",
            ),
        ]

    def __str__(self) -> str:
        return self.kid


class ApiKey(models.Model):
    """An API key: only its prefix and SHA-256 are stored (SECURITY section 3)."""

    prefix = models.CharField(max_length=8, unique=True)
    digest = models.BinaryField(max_length=32)
    organisation = models.ForeignKey(Organisation, on_delete=models.PROTECT, related_name="api_keys")
    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, null=True, blank=True, related_name="api_keys")
    title = models.CharField(max_length=200, blank=True)
    scopes = ArrayField(models.CharField(max_length=32))
    require_signature = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True, blank=True)
    last_used_network = models.GenericIPAddressField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "API key"
        verbose_name_plural = "API keys"

    def __str__(self) -> str:
        return self.prefix


class Membership(models.Model):
    """A person's role in one organisation; the pseudonym stands for the person on the log."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="memberships")
    organisation = models.ForeignKey(Organisation, on_delete=models.PROTECT, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role)
    pseudonym = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    agents = models.ManyToManyField(
        Agent, blank=True, help_text="Only for manufacturers: the agents they may see.", related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "organisation"], name="membership_once"),
            models.CheckConstraint(condition=Q(role__in=Role.values), name="membership_role"),
        ]

    def __str__(self) -> str:
        return f"{self.user} ({self.role}, {self.organisation})"
