"""The look-ups that `ecp_project.api.authentication` leaves open: API keys and memberships."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import InternalError
from psycopg.errors import ReadOnlySqlTransaction

from ecp_project.api.authentication import KeyAuthentication, Principal, StaffSessionAuthentication, StoredKey
from ledger.models import ApiKey, Membership
from ledger.selectors import entries
from ledger.selectors.entries import OrgScope
from ledger.selectors.hot import hot_row
from ledger.services.identities import apikey_misuse_record

if TYPE_CHECKING:
    from datetime import datetime

    from django.contrib.auth.models import AbstractBaseUser
    from rest_framework.request import Request

    from ledger.models import Log

LAST_USED_EVERY = timedelta(minutes=1)
KEY_SQL = """
SELECT k.id, k.digest, k.expires_at, k.revoked_at, k.last_used_at, k.organisation_id, k.scopes,
    k.require_signature, k.agent_id, a.slug, a.status,
    l.id, l.slug, l.origin, o.id, o.slug, o.context_policy::text
FROM ledger_apikey k
JOIN ledger_organisation o ON o.id = k.organisation_id
LEFT JOIN ledger_agent a ON a.id = k.agent_id
LEFT JOIN LATERAL (
    SELECT id, slug, origin FROM ledger_log WHERE organisation_id = k.organisation_id
    ORDER BY epoch DESC, id LIMIT 1
) l ON true
WHERE k.prefix = $1
"""


@dataclass(frozen=True, slots=True)
class KeyPrincipal(Principal):
    """A machine, and what the same row says of the log that takes its decisions."""

    log_row: tuple[Any, ...] = ()


def default_log_of(principal: Principal) -> Log:
    """The log that takes what this caller appends."""
    if isinstance(principal, KeyPrincipal) and principal.log_row[0] is not None:
        return entries.log_from_row(principal.log_row)
    return entries.default_log(scope=OrgScope(principal.organisation_id or 0))


class ApiKeyAuthentication(KeyAuthentication):
    """One query for each request; `last used` is written at most once a minute."""

    def look_up(self, prefix: str) -> StoredKey | None:
        row = hot_row(KEY_SQL, (prefix,))
        if row is None:
            return None
        (self._id, digest, expires_at, revoked_at, self._last_used_at, organisation_id, scopes,
         require_signature, agent_id, agent_slug, agent_status) = row[:11]  # fmt: skip
        principal = KeyPrincipal(
            kind="agent" if agent_id else "system",
            organisation_id=organisation_id,
            agent_id=agent_id,
            agent_slug=agent_slug,
            agent_status=agent_status,
            scopes=frozenset(scopes),
            key_prefix=prefix,
            require_signature=require_signature,
            log_row=row[11:],
        )
        return StoredKey(bytes(digest), expires_at, revoked_at, principal)

    def used_after_revocation(self, stored: StoredKey, now: datetime) -> None:  # noqa: ARG002 - the base's signature
        apikey_misuse_record(key_id=self._id, now=now)

    def used(self, stored: StoredKey, request: Request, now: datetime) -> None:  # noqa: ARG002 - the base's signature
        if self._last_used_at is None or now - self._last_used_at >= LAST_USED_EVERY:
            try:
                ApiKey.objects.filter(pk=self._id).update(
                    last_used_at=now, last_used_network=request.META.get("REMOTE_ADDR") or None
                )
            except InternalError as error:  # a database that takes no writes can still be read
                if not isinstance(error.__cause__, ReadOnlySqlTransaction):
                    raise


class SessionAuthentication(StaffSessionAuthentication):
    """A person acts in one organisation at a time.

    The one named by `organisation`, else the first membership.
    """

    def principal(self, user: AbstractBaseUser, request: Request) -> Principal:
        memberships = Membership.objects.filter(user_id=user.pk).select_related("organisation").order_by("id")
        named = request.META.get("HTTP_ECP_ORGANISATION")
        if named:
            memberships = memberships.filter(organisation__slug=named)
        membership = memberships.first()
        if membership is None:
            return Principal(kind="staff", organisation_id=None, user_id=user.pk)
        return Principal(
            kind="staff",
            organisation_id=membership.organisation_id,
            user_id=user.pk,
            roles=frozenset({membership.role}),
            pseudonym=membership.pseudonym,
        )


def scope_of(principal: Principal) -> OrgScope:
    """What this caller may read.

    An agent's key its own decisions, a manufacturer the agents assigned to it.
    """
    assert principal.organisation_id is not None, (
        "a caller without an organisation passed the permission check"
    )
    if principal.agent_slug is not None:
        return OrgScope(principal.organisation_id, frozenset({principal.agent_slug}))
    if "manufacturer" in principal.roles:
        assigned = Membership.objects.filter(
            user_id=principal.user_id or 0, organisation_id=principal.organisation_id
        ).values_list("agents__slug", flat=True)
        return OrgScope(principal.organisation_id, frozenset(slug for slug in assigned if slug))
    return OrgScope(principal.organisation_id)
