"""Who may do what: roles and scopes of SECURITY sections 2 and 3 as data, and permission classes over them.

A view names its permission; without one `Deny` refuses. Organisations are not judged here: selectors take the
caller's scope and another organisation's object is 404.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from rest_framework.permissions import BasePermission

from ecp_project.kernel.errors import NotAuthenticated, PermissionDenied

if TYPE_CHECKING:
    from rest_framework.request import Request
    from rest_framework.views import APIView

    from ecp_project.api.authentication import Principal

SCOPES: dict[str, str] = {
    "decisions:write": "append decisions, annotations and signed statements; rotate the agent's own key",
    "decisions:read": "read decisions and agents of the organisation",
    "ledger:read": "read log entries, checkpoints and proofs",
    "advice": "ask for friction advice and answer it",
    "polls:read": "read polls",
    "polls:write": "create polls",
    "polls:answer": "answer polls to which the agent is invited",
    "zones:read": "read liability zones",
    "zones:write": "ask for a zone classification",
    "zones:contest": "contest a zone",
    "zones:export": "export evidence of zones",
    "consortium:read": "read shared lessons",
    "consortium:contribute": "propose lessons",
    "consortium:write": "manage consortium peers",
    "lessons:push": "push signed lessons to this installation",
    "export": "export the log",
}
ROLES: tuple[str, ...] = ("viewer", "auditor", "operator", "manufacturer", "admin")


def principal_of(request: Request) -> Principal:
    """Name the caller, or answer 401 when nobody signed in."""
    principal: Principal | None = request.auth  # type: ignore[assignment]  # our authenticators give no Token
    if principal is None:
        raise NotAuthenticated("credentials_missing")
    return principal


class Deny(BasePermission):
    """Default of every view that forgot to name its permission."""

    def has_permission(self, request: Request, view: APIView) -> bool:  # noqa: ARG002 - DRF's signature
        principal_of(request)
        return False


class Public(BasePermission):
    """Open to everybody, and said so."""

    def has_permission(self, request: Request, view: APIView) -> bool:  # noqa: ARG002 - the framework's signature
        return True


class _Allows(BasePermission):
    scope: str | None = None
    safe_roles: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()

    def has_permission(self, request: Request, view: APIView) -> bool:  # noqa: ARG002 - the framework's signature
        principal = principal_of(request)
        if principal.kind == "staff":
            wanted = self.safe_roles if request.method in {"GET", "HEAD", "OPTIONS"} else self.roles
            if principal.roles.isdisjoint(wanted):
                names = ", ".join(sorted(wanted)) or "none"
                raise PermissionDenied("role_missing", f"One of these roles is needed: {names}.")
            return True
        if self.scope is None:
            raise PermissionDenied("role_missing", "This act needs a signed-in person.")
        if self.scope not in principal.scopes:
            raise PermissionDenied("scope_missing", f"The scope {self.scope} is needed.")
        return True


@lru_cache  # some views choose by method, so at each request, and a class is dear to make
def allow(*, scope: str | None, read: tuple[str, ...] = (), write: tuple[str, ...] = ()) -> type[Any]:
    """Make a permission: machines need `scope`, people a role of `read` or, to act, of `write`."""
    assert scope is None or scope in SCOPES, scope
    assert set(read + write) <= set(ROLES), (read, write)
    name = f"Allow_{(scope or 'staff').replace(':', '_')}"
    return type(name, (_Allows,), {"scope": scope, "safe_roles": frozenset(read), "roles": frozenset(write)})


def HasScope(scope: str) -> type[Any]:  # noqa: N802 - reads as the class that it returns
    """Permission class for machines alone."""
    return allow(scope=scope)
