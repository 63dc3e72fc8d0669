"""Organisations with their log, agents, and API keys (SECURITY section 3).

With an `actor` an act is recorded as `ecp.staff/1` in the same transaction, once the log takes entries.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import F, Q

from ecp_project.api.authentication import generate_key
from ecp_project.api.permissions import SCOPES
from ecp_project.kernel import outbound
from ecp_project.kernel.clock import format_time
from ecp_project.kernel.errors import BadRequest, Conflict, Invalid, Unavailable
from ledger.core.entry import genesis
from ledger.models import Agent, AgentStatus, ApiKey, Log, Organisation
from ledger.services.staff import act_record

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
    actor: str | None = None,
    now: datetime | None = None,
) -> Agent:
    """Register an agent. A delivery address is checked by its text alone; the name need not resolve yet.

    `actor` and `now` go together: the act is recorded.
    """
    if endpoint:
        try:
            outbound.check_url(
                endpoint,
                allowed_ports=settings.ECP_AGENT_ALLOWED_PORTS,
                allowed_networks=settings.ECP_AGENT_ALLOWED_NETS,
                allow_loopback_http=settings.ECP_OUTBOUND_LOOPBACK,
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
            if now is not None:
                act_record(
                    organisation=organisation,
                    actor=actor,
                    action="agent.register",
                    object_=f"agent:{slug}",
                    now=now,
                )
    except IntegrityError as error:
        raise Conflict("id_reused", f"an agent named {slug} exists in this organisation") from error
    return agent


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
    actor: str | None = None,
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
    text, prefix, digest = generate_key()
    row = ApiKey(
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
    with transaction.atomic():
        if agent is not None:
            _refuse_too_many(agent, now)
        row.save(force_insert=True)
        _key_act(row, "apikey.create", actor=actor, now=now)
    return IssuedKey(text, row)


def _refuse_too_many(agent: Agent, now: datetime) -> None:
    # Two at once would both count nine: the agent's row makes the second one wait.
    Agent.objects.select_for_update().get(pk=agent.pk)
    active = ApiKey.objects.filter(agent=agent, revoked_at__isnull=True, expires_at__gt=now).count()
    if active >= MAX_KEYS_PER_AGENT:
        raise Conflict("id_reused", f"{agent} has {active} active keys; revoke one first")


def apikey_revoke(*, key: ApiKey, now: datetime, actor: str | None = None) -> None:
    """Takes effect with the next request; revoking twice changes nothing."""
    with transaction.atomic():
        is_new = ApiKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(revoked_at=now) == 1
        if is_new:
            _key_act(key, "apikey.revoke", actor=actor, now=now)


def apikey_misuse_record(*, key_id: int, now: datetime) -> None:
    """The first use of a key after its revocation is recorded; later ones only count in the metrics.

    The caller is refused in any case, also when nothing can be stored; then the next use is recorded.
    """
    unused = Q(last_used_at__isnull=True) | Q(last_used_at__lt=F("revoked_at"))
    with suppress(Unavailable, DatabaseError), transaction.atomic():
        if ApiKey.objects.filter(unused, pk=key_id, revoked_at__isnull=False).update(last_used_at=now):
            key = ApiKey.objects.select_related("organisation", "agent").get(pk=key_id)
            _key_act(key, "apikey.use_after_revocation", actor="system:ledger", now=now)


def _key_act(key: ApiKey, action: str, *, actor: str | None, now: datetime) -> None:
    act_record(
        organisation=key.organisation,
        actor=actor,
        action=action,
        object_=f"apikey:{key.prefix}",
        now=now,
        detail={
            "agent": key.agent.slug if key.agent else "",
            "scopes": " ".join(key.scopes),
            "expires_at": format_time(key.expires_at),
        },
    )
