"""Who calls: API keys of machines and sessions of staff (SECURITY sections 3 and 4).

The ledger keeps the keys and memberships and the API may not import it, so `KeyAuthentication` and
`StaffSessionAuthentication` leave one look-up open that a subclass in `ledger.api.authentication` fills in.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from rest_framework.authentication import BaseAuthentication, SessionAuthentication

from ecp_project.api.metrics import AUTH_FAILURES
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import NotAuthenticated, PermissionDenied

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from django.contrib.auth.models import AbstractBaseUser
    from rest_framework.request import Request

Kind = Literal["agent", "staff", "partner", "system"]

_PREFIX_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_PREFIX_LENGTH = 8
_KEY_RE = re.compile(r"ecp_([a-z0-9]{8})_[A-Za-z0-9_-]{43}\Z")
_DUMMY_DIGEST = hashlib.sha256(b"ecp: no such key").digest()
PRINCIPAL = "ecp.principal"  # key of request.META that the request log reads


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller, as far as permissions, selectors and logs need to know it."""

    kind: Kind
    organisation_id: int | None
    agent_id: int | None = None
    agent_slug: str | None = None
    agent_status: str | None = None
    scopes: frozenset[str] = frozenset()
    key_prefix: str = ""
    require_signature: bool = False
    user_id: int | None = None
    roles: frozenset[str] = frozenset()
    pseudonym: UUID | None = None

    @property
    def throttle_key(self) -> str:
        return self.key_prefix or f"{self.kind}-{self.user_id}"

    @property
    def role_label(self) -> str:
        """For metrics: the kind of a machine, the roles of a person."""
        return "+".join(sorted(self.roles)) or self.kind

    def via(self) -> dict[str, str]:
        """How a statement came in, as the entry tells it: a key prefix or a pseudonym, never a name."""
        if self.key_prefix:
            return {"method": "api_key", "id": self.key_prefix}
        if self.pseudonym is not None:
            return {"method": "session", "id": str(self.pseudonym)}
        return {"method": "system", "id": "ecp"}

    def log_members(self) -> dict[str, Any]:
        actor = self.key_prefix or str(self.pseudonym or "")
        return {"org": self.organisation_id, "actor": actor, "actor_type": self.kind}


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What is kept of an API key, and whom it speaks for."""

    digest: bytes
    expires_at: datetime
    revoked_at: datetime | None
    principal: Principal


def generate_key() -> tuple[str, str, bytes]:
    """Make a key: its text (shown once), its prefix and its digest (both stored)."""
    prefix = "".join(secrets.choice(_PREFIX_LETTERS) for _ in range(_PREFIX_LENGTH))
    secret = base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()
    text = f"ecp_{prefix}_{secret}"
    return text, prefix, key_digest(text)


def key_digest(text: str) -> bytes:
    """Hash the whole text; a fast hash is right, since the secret holds 256 bits."""
    return hashlib.sha256(text.encode()).digest()


def refused(reason: str) -> NotAuthenticated:
    """Give the one answer for an unknown, malformed, expired or revoked key; the metric tells them apart."""
    AUTH_FAILURES.labels(method="api_key", reason=reason).inc()
    return NotAuthenticated("credentials_invalid")


def parse_header(value: str) -> tuple[str, str]:
    """Key text and prefix out of an `Authorization` header."""
    scheme, _, text = value.partition(" ")
    match = _KEY_RE.match(text.strip(" ")) if scheme.lower() == "bearer" else None
    if match is None:
        raise refused("malformed")
    return match[0], match[1]


def judged(text: str, stored: StoredKey | None, *, now: datetime) -> Principal:
    """Compare in constant time, also when nothing is stored under the prefix."""
    expected = stored.digest if stored is not None else _DUMMY_DIGEST
    matches = hmac.compare_digest(key_digest(text), expected)
    if stored is None or not matches:
        raise refused("unknown")
    if stored.revoked_at is not None and stored.revoked_at <= now:
        raise refused("revoked")
    if stored.expires_at <= now:
        raise refused("expired")
    return stored.principal


def is_revoked_key(text: str, stored: StoredKey, *, now: datetime) -> bool:
    """Whether this is the whole text of a key that was revoked, and not only its prefix."""
    is_same = hmac.compare_digest(key_digest(text), stored.digest)
    return is_same and stored.revoked_at is not None and stored.revoked_at <= now


class KeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer <key>`; query strings, cookies and Basic authenticate no machine."""

    def look_up(self, prefix: str) -> StoredKey | None:
        raise NotImplementedError

    def used(self, stored: StoredKey, request: Request, now: datetime) -> None:
        """Note the use of an accepted key."""

    def used_after_revocation(self, stored: StoredKey, now: datetime) -> None:
        """Note that somebody still holds a revoked key."""

    def authenticate(self, request: Request) -> tuple[None, Principal] | None:
        header = request.META.get("HTTP_AUTHORIZATION")
        if header is None:
            return None
        text, prefix = parse_header(header)
        now = utc_now()
        stored = self.look_up(prefix)
        try:
            principal = judged(text, stored, now=now)
        except NotAuthenticated:
            if stored is not None and is_revoked_key(text, stored, now=now):
                self.used_after_revocation(stored, now)
            raise
        request.META[PRINCIPAL] = principal
        if stored is not None:
            self.used(stored, request, now)
        return None, principal

    def authenticate_header(self, request: Request) -> str:  # noqa: ARG002 - DRF's signature
        return 'Bearer realm="ecp"'


class StaffSessionAuthentication(SessionAuthentication):
    """A signed-in person, with CSRF protection on every act."""

    def principal(self, user: AbstractBaseUser, request: Request) -> Principal:  # noqa: ARG002 - the subclass needs it
        """Describe a person; without a membership there is neither role nor organisation."""
        return Principal(kind="staff", organisation_id=None, user_id=user.pk)

    def authenticate(self, request: Request) -> Any:
        signed_in = super().authenticate(request)
        if signed_in is None:
            return None
        user, _ = signed_in
        principal = self.principal(user, request)
        request.META[PRINCIPAL] = principal
        return user, principal

    def enforce_csrf(self, request: Any) -> None:
        from rest_framework.exceptions import PermissionDenied as CsrfRefused  # noqa: PLC0415 - its only use

        try:
            # the plain request: asking DRF's for POST would parse, and so use up, a JSON body
            super().enforce_csrf(request._request)  # noqa: SLF001 - DRF offers no other way to it
        except CsrfRefused as error:
            raise PermissionDenied("csrf_failed") from error
