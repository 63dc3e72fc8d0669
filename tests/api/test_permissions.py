"""Permissions are data; a view that names none is closed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from django.urls import URLPattern, URLResolver, get_resolver  # noqa: F401 - as intended
from rest_framework.views import APIView

from ecp_project.api.authentication import Principal
from ecp_project.api.permissions import ROLES, SCOPES, Deny, Public, allow
from ecp_project.kernel.errors import NotAuthenticated, PermissionDenied

pytestmark = pytest.mark.unit

READER = allow(scope="decisions:read", read=("viewer", "auditor"), write=("operator",))
PERSON_ONLY = allow(scope=None, write=("admin",))


def asks(permission: type[Any], principal: Principal | None, method: str = "GET") -> bool:
    request: Any = SimpleNamespace(auth=principal, method=method)
    allowed: bool = permission().has_permission(request, APIView())
    return allowed


def machine(*scopes: str) -> Principal:
    return Principal(kind="agent", organisation_id=1, agent_id=1, scopes=frozenset(scopes), key_prefix="k")


def person(*roles: str) -> Principal:
    return Principal(kind="staff", organisation_id=1, user_id=1, roles=frozenset(roles))


@pytest.mark.parametrize("permission", [Deny, READER, PERSON_ONLY])
def test_stranger_is_asked_to_sign_in(permission: type[Any]) -> None:
    with pytest.raises(NotAuthenticated) as caught:
        asks(permission, None)
    assert caught.value.code == "credentials_missing"


def test_view_without_a_permission_is_closed_for_everybody_who_signed_in() -> None:
    assert not asks(Deny, machine(*SCOPES))
    assert not asks(Deny, person(*ROLES))


def test_public_view_is_open() -> None:
    assert asks(Public, None)


def test_machine_needs_the_scope() -> None:
    assert asks(READER, machine("decisions:read"), "POST")
    with pytest.raises(PermissionDenied) as caught:
        asks(READER, machine("decisions:write", "export"))
    assert caught.value.code == "scope_missing"
    assert "decisions:read" in caught.value.detail


@pytest.mark.parametrize(
    ("role", "method", "passes"),
    [
        ("viewer", "GET", True), ("auditor", "HEAD", True), ("operator", "GET", False), ("admin", "GET", False),  # noqa: E501 - one sentence
        ("viewer", "POST", False), ("operator", "POST", True), ("operator", "DELETE", True),
    ],
)  # fmt: skip
def test_person_needs_a_role_for_reading_or_for_acting(role: str, method: str, passes: bool) -> None:  # noqa: FBT001 - a parameter of the table
    if passes:
        assert asks(READER, person(role), method)
        return
    with pytest.raises(PermissionDenied) as caught:
        asks(READER, person(role), method)
    assert caught.value.code == "role_missing"


def test_person_without_membership_has_no_role() -> None:
    with pytest.raises(PermissionDenied):
        asks(READER, Principal(kind="staff", organisation_id=None, user_id=1))


def test_act_of_persons_takes_no_key_whatever_its_scopes() -> None:
    with pytest.raises(PermissionDenied) as caught:
        asks(PERSON_ONLY, machine(*SCOPES), "POST")
    assert caught.value.code == "role_missing"


def test_scope_or_role_that_does_not_exist_is_found_when_the_view_is_written() -> None:
    with pytest.raises(AssertionError):
        allow(scope="decisions:delete")
    with pytest.raises(AssertionError):
        allow(scope=None, read=("superuser",))


def api_views(resolver: URLResolver | None = None, prefix: str = "") -> dict[str, type[APIView]]:
    found: dict[str, type[APIView]] = {}
    for item in (resolver or get_resolver()).url_patterns:
        route = prefix + str(item.pattern)
        if isinstance(item, URLResolver):
            found |= api_views(item, route)
        elif issubclass(getattr(item.callback, "cls", object), APIView):
            found[route] = item.callback.cls  # type: ignore[attr-defined]  # set by DRF's as_view
    return found


def test_every_api_view_names_its_permission_itself() -> None:
    views = api_views()
    assert views
    silent = [
        route
        for route, view in views.items()
        if view.permission_classes == APIView.permission_classes
        and view.get_permissions is APIView.get_permissions
    ]
    assert silent == []
