"""docs/API.md has every address with its parameters, scope and roles; no document has an invented one."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.urls import Resolver404, URLPattern, get_resolver, resolve
from rest_framework.test import APIRequestFactory

from ecp_project.api.permissions import ROLES
from tests.docs.documents import every_text, prose, read, sections, table

pytestmark = pytest.mark.unit
METHODS = ("get", "post", "put", "patch", "delete")
ENDPOINT = re.compile(r"(GET|POST|PUT|PATCH|DELETE) (/\S+)")


def routes() -> set[str]:
    """`METHOD /path/{name}` of every address, those inside the console excepted."""
    found: set[str] = set()
    for pattern in get_resolver().url_patterns:
        for leaf in getattr(pattern, "url_patterns", [pattern]):
            if not isinstance(leaf, URLPattern) or str(pattern.pattern) == "console/":
                continue
            if leaf.callback.__name__ == "unknown_route":
                continue
            path = "/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", str(leaf.pattern))
            view = getattr(leaf.callback, "cls", None)
            methods = [name for name in METHODS if hasattr(view, name)] if view else ["get"]
            found |= {f"{method.upper()} {path}" for method in methods}
    return found


def endpoint_sections() -> dict[str, str]:
    found = {row.title: row.text for row in sections(read("docs/API.md")) if ENDPOINT.fullmatch(row.title)}
    assert found
    return found


def test_api_md_has_a_section_for_each_address_and_no_other() -> None:
    assert set(endpoint_sections()) == routes()


def test_each_section_names_the_query_parameters_of_the_schema() -> None:
    schema = json.loads(read("schema/openapi.json"))
    for title, text in endpoint_sections().items():
        method, path = title.split()
        operation = schema["paths"].get(path, {}).get(method.lower())
        if operation is None:
            continue
        query = {row["name"] for row in operation.get("parameters", []) if row["in"] == "query"}
        told = re.search(r"Parameters: (.*?)\.(?:\s|\Z)", re.sub(r"\([^)]*\)", "", prose(text)), re.DOTALL)
        named = set(re.findall(r"`([a-z_]+)`", told[1])) if told else set()
        assert named == query, title


def test_every_address_in_the_documents_resolves() -> None:
    first = r"api|log|console|\.well-known|livez|readyz|startupz"
    form = re.compile(rf"(?<![\w.:/])(?<!prefix\": \")(/(?:{first})\b[^\s`\"'<>)|…]*)")
    for name, text in every_text():
        for address in set(form.findall(text)):
            path = re.sub(r"\{\w+\}|\$\w+", "x", address.split("?")[0]).rstrip(",.;:")
            assert leads_somewhere(path), (name, address)


def leads_somewhere(path: str) -> bool:
    if path.endswith("/") and any(route.split()[1].startswith(path) for route in routes()):
        return True  # a folder of addresses
    try:
        found = resolve(path)
    except Resolver404:
        return False
    return getattr(found.func, "__name__", "") != "unknown_route"


def permission_of(method: str, path: str) -> Any:
    """The one permission that a view asks of `METHOD path`."""
    view = resolve(re.sub(r"\{\w+\}", "x", path)).func.cls()  # type: ignore[attr-defined]  # set by DRF
    view.request = APIRequestFactory().generic(method, path)
    (permission,) = view.get_permissions()
    return permission


def may(permission: Any, method: str) -> frozenset[str]:
    roles: frozenset[str] = permission.safe_roles if method == "GET" else permission.roles
    return roles


@pytest.mark.parametrize("title", sorted(endpoint_sections()))
def test_each_section_tells_scope_and_roles_of_the_view(title: str) -> None:
    method, path = title.split()
    if not path.startswith("/api/v1/"):
        return
    permission = permission_of(method, path)
    told = endpoint_sections()[title].strip().partition(".")[0]
    scope = re.search(r"Scope `([a-z:]+)`", told)
    assert (scope[1] if scope else None) == permission.scope, told
    named = set(ROLES) if "every role" in told else set(re.findall("|".join(ROLES), told))
    assert named == may(permission, method), told
    assert ("machines only" in told) == (not named)
    assert ("no API key" in told) == (permission.scope is None)


# Rows of the table in docs/SECURITY.md, and the endpoint that each one is about.
ROLE_ROWS = {
    "read decisions, logs, proofs": "GET /api/v1/decisions/",
    "record a decision": "POST /api/v1/decisions/",
    "annotate": "POST /api/v1/decisions/{uid}/annotations/",
    "export the log": "GET /api/v1/logs/{slug}/export.ndjson",
    "ask for an erasure": "POST /api/v1/decisions/{uid}/erase/",
    "register agents": "POST /api/v1/agents/",
}


def test_security_md_gives_each_act_to_the_roles_of_the_endpoint() -> None:
    rows = {row[0]: row[1:] for row in table(read("docs/SECURITY.md"), "action")}
    assert {action for action, cells in rows.items() if any(cells)} == set(ROLE_ROWS)
    for action, title in ROLE_ROWS.items():
        method, path = title.split()
        permission = permission_of(method, path)
        allowed = {role for role, cell in zip(ROLES, rows[action], strict=False) if cell}
        assert allowed == may(permission, method), action
        assert bool(rows[action][-1]) == (permission.scope is not None), action
