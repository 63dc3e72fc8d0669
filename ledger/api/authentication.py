"""The look-ups that `ecp_project.api.authentication` leaves open: API keys and memberships."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from ecp_project.api.authentication import KeyAuthentication, Principal, StaffSessionAuthentication, StoredKey
from ledger.models import ApiKey, Membership
from ledger.selectors.entries import OrgScope
from ledger.selectors.hot import hot_row

if TYPE_CHECKING:
    from datetime import datetime

    from django.contrib.auth.models import AbstractBaseUser
    from rest_framework.request import Request

LAST_USED_EVERY = timedelta(minutes=1)
KEY_SQL = """
SELECT k.id, k.digest, k.expires_at, k.revoked_at, k.last_used_at, k.organisation_id, k.scopes,
    k.require_signature, k.agent_id, a.slug
FROM ledger_apikey k LEFT JOIN ledger_agent a ON a.id = k.agent_id
WHERE k.prefix = %s
"""


class ApiKeyAuthentication(KeyAuthentication):
    """One query for each request; `last used` is written at most once a minute."""

    def look_up(self, prefix: str) -> StoredKey | None:
        row = hot_row(KEY_SQL, (prefix,))
        if row is None:
            return None
        (self._id, digest, expires_at, revoked_at, self._last_used_at, organisation_id, scopes,
         require_signature, agent_id, agent_slug) = row  # fmt: skip
        principal = Principal(
            kind="agent" if agent_id else "system",
            organisation_id=organisation_id,
            agent_id=agent_id,
            agent_slug=agent_slug,
            scopes=frozenset(scopes),
            key_prefix=prefix,
            require_signature=require_signature,
        )
        return StoredKey(bytes(digest), expires_at, revoked_at, principal)

    def used(self, stored: StoredKey, request: Request, now: datetime) -> None:  # noqa: ARG002 - the base's signature
        if self._last_used_at is None or now - self._last_used_at >= LAST_USED_EVERY:
            ApiKey.objects.filter(pk=self._id).update(
                last_used_at=now, last_used_network=request.META.get("REMOTE_ADDR") or None
            )


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
