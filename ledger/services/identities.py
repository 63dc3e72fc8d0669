"""Organisations with their log, agents with their keys, and API keys (SECURITY section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction

from ecp_project.api.authentication import generate_key
from ecp_project.api.permissions import SCOPES
from ecp_project.kernel import outbound
from ecp_project.kernel.errors import BadRequest, Conflict, Invalid
from ecp_project.kernel.signing import key_is_registrable, kid_of
from ledger.core.entry import genesis
from ledger.models import Agent, AgentKey, AgentStatus, ApiKey, Log, Organisation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DEFAULT_LIFE = timedelta(days=90)
MAX_LIFE = timedelta(days=400)
MAX_KEYS_PER_AGENT = 10


def _clean(instance: Any) -> None:
    """Field rules of the model as one problem that names the field."""
    try:
        instance.full_clean(validate_unique=False, validate_constraints=False)
    except ValidationError as error:
        name, messages = next(iter(error.message_dict.items()))
        raise Invalid(
            "validation_failed", f"{name}: {messages[0]}", pointer=f"/{name}", reason="identifier"
        ) from error


def organisation_create(*, slug: str, title: str, now: datetime) -> tuple[Organisation, Log]:
    """A new organisation and its first log, whose origin is `<host>/log/<slug>`."""
    organisation = Organisation(slug=slug, title=title or slug)
    _clean(organisation)
    try:
        with transaction.atomic():
            organisation.save(force_insert=True)
            log = Log.objects.create(
                slug=slug, origin=f"{settings.ECP_ORIGIN_HOST}/log/{slug}", organisation=organisation
            )
            with connection.cursor() as cursor:
                cursor.execute(
                    "INSERT INTO ledger_head (log_id, size, tip, last_rcvd) VALUES (%s, 0, %s, %s)",
                    (log.id, genesis(log.origin), now),
                )
    except IntegrityError as error:
        raise Conflict("id_reused", f"an organisation or log named {slug} exists already") from error
    return organisation, log


def agent_create(
    *,
    organisation: Organisation,
    slug: str,
    title: str = "",
    owner: str = "",
    labels: Mapping[str, str] | None = None,
    endpoint: str = "",
    accepts_polls: bool = False,
) -> Agent:
    """Register an agent. A delivery address is checked by its text alone; the name need not resolve yet."""
    if endpoint:
        try:
            outbound.check_url(
                endpoint,
                allowed_ports=settings.ECP_AGENT_ALLOWED_PORTS,
                allowed_networks=settings.ECP_AGENT_ALLOWED_NETS,
            )
        except outbound.Refused as error:
            raise BadRequest("endpoint_forbidden", str(error), pointer="/endpoint") from error
    agent = Agent(
        organisation=organisation,
        slug=slug,
        title=title or slug,
        owner=owner,
        labels=dict(labels or {}),
        endpoint=endpoint,
        accepts_polls=accepts_polls,
        status=AgentStatus.ACTIVE,
    )
    _clean(agent)
    try:
        with transaction.atomic():
            agent.save(force_insert=True)
    except IntegrityError as error:
        raise Conflict("id_reused", f"an agent named {slug} exists in this organisation") from error
    return agent


def agent_key_add(
    *, agent: Agent, public_key: bytes, valid_from: datetime, valid_until: datetime | None
) -> AgentKey:
    if not key_is_registrable(public_key):
        raise BadRequest(
            "key_weak", "this is no sound Ed25519 public key of prime order", pointer="/public_key"
        )
    if valid_until is not None and valid_until <= valid_from:
        raise BadRequest("bad_value", "valid_until must be after valid_from", pointer="/valid_until")
    try:
        with transaction.atomic():
            return AgentKey.objects.create(
                agent=agent,
                kid=kid_of(public_key),
                public_key=public_key,
                valid_from=valid_from,
                valid_until=valid_until,
            )
    except IntegrityError as error:
        raise Conflict("id_reused", "this public key is registered already") from error


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A new API key; `text` is shown this once and stored nowhere."""

    text: str
    row: ApiKey


def apikey_create(
    *,
    organisation: Organisation,
    agent: Agent | None,
    scopes: Sequence[str],
    now: datetime,
    title: str = "",
    life: timedelta = DEFAULT_LIFE,
    require_signature: bool = False,
) -> IssuedKey:
    unknown = sorted(set(scopes) - set(SCOPES))
    if unknown or not scopes:
        raise Invalid(
            "validation_failed",
            f"unknown scope {unknown[0]}" if unknown else "name at least one scope",
            pointer="/scopes",
        )
    if not timedelta(0) < life <= MAX_LIFE:
        raise Invalid("validation_failed", "a key lives 1 to 400 days", pointer="/expires_at")
    if agent is not None and agent.organisation_id != organisation.id:
        raise Invalid("validation_failed", "the agent belongs to another organisation", pointer="/agent")
    if agent is not None:
        active = ApiKey.objects.filter(agent=agent, revoked_at__isnull=True, expires_at__gt=now).count()
        if active >= MAX_KEYS_PER_AGENT:
            raise Conflict("id_reused", f"{agent} has {active} active keys; revoke one first")
    text, prefix, digest = generate_key()
    row = ApiKey.objects.create(
        prefix=prefix,
        digest=digest,
        organisation=organisation,
        agent=agent,
        title=title,
        scopes=sorted(set(scopes)),
        require_signature=require_signature,
        created_at=now,
        expires_at=now + life,
    )
    return IssuedKey(text, row)


def apikey_revoke(*, key: ApiKey, now: datetime) -> None:
    """Takes effect with the next request; revoking twice changes nothing."""
    ApiKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(revoked_at=now)
