"""Strict reading of what comes with a request: query parameters, preferences, ids."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from ecp_project.api.pagination import declared_parameters
from ecp_project.kernel.clock import parse_time
from ecp_project.kernel.errors import BadRequest, NotFound

if TYPE_CHECKING:
    from rest_framework.request import Request

MAX_WAIT_S = 30
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,15}")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_WAIT = re.compile(r"wait=([1-9][0-9]?)")
_SHORT_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9:.]{8,15}(Z|\+00:00))?")


def parameters(request: Request, *allowed: str) -> dict[str, str]:
    """Declared parameters, each once; anything else is refused by name."""
    return declared_parameters(request.META, allowed)


def integer(values: dict[str, str], name: str, default: int | None = None) -> int | None:
    if name not in values:
        return default
    if not _DECIMAL.fullmatch(values[name]):
        raise BadRequest("bad_value", f"{name} must be a whole number without sign or leading zeros")
    return int(values[name])


def required(values: dict[str, str], name: str) -> int:
    value = integer(values, name)
    if value is None:
        raise BadRequest("missing_field", f"query parameter {name} is missing")
    return value


def instant(values: dict[str, str], name: str) -> datetime | None:
    """RFC 3339 in UTC, or a date."""
    text = values.get(name)
    if text is None:
        return None
    try:
        if not _SHORT_TIME.fullmatch(text):
            raise ValueError(text)  # noqa: TRY301 - joins the failures of the parser below
        if len(text) == 10:  # noqa: PLR2004 - YYYY-MM-DD
            return parse_time(f"{text}T00:00:00.000000Z")
        return datetime.fromisoformat(text)
    except ValueError:
        raise BadRequest("bad_value", f"{name} must be YYYY-MM-DD or an RFC 3339 time in UTC") from None


def uid_of(text: str) -> UUID:
    if not _UUID.fullmatch(text):
        raise NotFound("not_found", "there is no such record")
    return UUID(text)


def wait_seconds(request: Request) -> int:
    """N of `Prefer: wait=N`, 0 without."""
    match = _WAIT.search(request.META.get("HTTP_PREFER", ""))
    return min(int(match[1]), MAX_WAIT_S) if match else 0
