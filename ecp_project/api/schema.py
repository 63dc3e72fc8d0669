"""What drf-spectacular cannot see by itself: how callers authenticate, and the one shape of every failure."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension

from ecp_project.api.problems import MEDIA_TYPE
from ecp_project.kernel.errors import PROBLEMS

_METHODS = frozenset({"get", "post", "put", "patch", "delete"})
PROBLEM = {
    "type": "object",
    "description": "RFC 9457 problem document; some codes add members.",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string", "description": "urn:ecp:problem:<code>"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "enum": sorted(PROBLEMS)},
        "detail": {"type": "string"},
        "pointer": {"type": "string", "description": "RFC 6901 pointer into the request document"},
        "reason": {"type": "string"},
        "request_id": {"type": "string"},
    },
}


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # untyped in the library
    target_class = "ecp_project.api.authentication.KeyAuthentication"
    name = "api_key"
    match_subclasses = True

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:  # noqa: ARG002 - the library's signature
        return {"type": "http", "scheme": "bearer", "bearerFormat": "ecp_<prefix>_<secret>"}


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # untyped in the library
    target_class = "ecp_project.api.authentication.StaffSessionAuthentication"
    name = "session"
    match_subclasses = True
    priority = 1  # before the library's own for Django sessions

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:  # noqa: ARG002 - the framework's signature
        return {"type": "apiKey", "in": "cookie", "name": "sessionid"}


def add_problems(result: dict[str, Any], **_kwargs: Any) -> dict[str, Any]:
    """Give every operation its failures; drf-spectacular calls this last."""
    result.setdefault("components", {}).setdefault("schemas", {})["Problem"] = PROBLEM
    failure = {
        "description": "A failure; `code` tells which.",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for path in result["paths"].values():
        for method in _METHODS & path.keys():
            path[method]["responses"]["default"] = failure
    return result
