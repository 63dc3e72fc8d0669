"""Which request led to what: a request id of ours and, if the caller sent one, a W3C trace id.

Both travel in the log lines of a request, in the headers of the tasks that it hands to the worker and of the
requests that it makes elsewhere (OPERATIONS section 9; W3C Trace Context, section 3.2).
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

REQUEST_ID_HEADER = "X-Request-ID"
TRACEPARENT_HEADER = "traceparent"
_REQUEST_ID_RE = re.compile(r"[A-Za-z0-9._-]{8,64}\Z")
_TRACEPARENT_RE = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}\Z")


def is_request_id(text: str) -> bool:
    return _REQUEST_ID_RE.match(text) is not None


def trace_id_of(traceparent: str) -> str | None:
    """Trace id of a `traceparent` header; None when the text is none, all zeros included."""
    match = _TRACEPARENT_RE.match(traceparent)
    return match[1] if match else None


def traceparent(trace_id: str) -> str:
    """Header for a call that we make: the caller's trace, and a span of our own."""
    return f"00-{trace_id}-{secrets.token_hex(8)}-01"


def headers_of(context: Mapping[str, Any]) -> dict[str, str]:
    """Headers for whatever the work with this log context starts elsewhere."""
    headers = {}
    if request_id := context.get("request_id"):
        headers[REQUEST_ID_HEADER] = str(request_id)
    if trace_id := context.get("trace_id"):
        headers[TRACEPARENT_HEADER] = traceparent(str(trace_id))
    return headers


def context_of(headers: Mapping[str, Any]) -> dict[str, str]:
    """Log context out of such headers; what is malformed is left out."""
    context = {}
    request_id = headers.get(REQUEST_ID_HEADER)
    if isinstance(request_id, str) and is_request_id(request_id):
        context["request_id"] = request_id
    given = headers.get(TRACEPARENT_HEADER)
    if isinstance(given, str) and (trace_id := trace_id_of(given)):
        context["trace_id"] = trace_id
    return context
