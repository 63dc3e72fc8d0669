"""The outermost layer of a request: its id, its log line, and the security headers of its answer."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

import structlog
from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from structlog.contextvars import bind_contextvars, clear_contextvars

from ecp_project.kernel.tracing import is_request_id, trace_id_of
from ecp_project.observability.logging import REQUEST
from ecp_project.observability.requests import RequestMetrics

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponseBase

REQUEST_ID = "ecp.request_id"  # keys of request.META; the API reads and fills them by the same names
PRINCIPAL = "ecp.principal"

API_CSP = "default-src 'none'; frame-ancestors 'none'"
PERMISSIONS_POLICY = ", ".join(
    f"{feature}=()"
    for feature in (
        "accelerometer", "autoplay", "camera", "display-capture", "encrypted-media", "fullscreen",
        "geolocation", "gyroscope", "magnetometer", "microphone", "midi", "payment", "picture-in-picture",
        "publickey-credentials-get", "screen-wake-lock", "usb", "xr-spatial-tracking",
    )
)  # fmt: skip
_DOCS = "/api/docs/"
_HEALTH = frozenset({"/livez", "/readyz", "/startupz"})
_log = structlog.get_logger("ecp.request")


def policy_header(directives: dict[str, str]) -> str:
    return "; ".join(f"{name} {value}" for name, value in directives.items())


def kept_or_new_request_id(given: str) -> str:
    return given if is_request_id(given) else uuid.uuid4().hex


class RequestMiddleware:
    """Stands first, so that every answer, refusals of later layers included, has its id, line and headers."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        self.get_response = get_response
        self.metrics = RequestMetrics.get_instance()
        self.page_csp = policy_header(settings.SECURE_CSP)
        # Swagger UI writes style attributes; scripts stay ours (CONSOLE section 16)
        self.docs_csp = policy_header(settings.SECURE_CSP | {"style-src": "'self' 'unsafe-inline'"})
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:
        if self.is_async:
            return self._answer_later(request)
        started = time.perf_counter()
        request_id = self._begin(request)
        return self._finish(request, self.get_response(request), request_id, started)

    async def _answer_later(self, request: HttpRequest) -> HttpResponseBase:
        started = time.perf_counter()
        request_id = self._begin(request)
        return self._finish(request, await self.get_response(request), request_id, started)

    def _begin(self, request: HttpRequest) -> str:
        request_id = kept_or_new_request_id(request.META.get("HTTP_X_REQUEST_ID", ""))
        request.META[REQUEST_ID] = request_id
        clear_contextvars()
        bind_contextvars(request_id=request_id)
        if (parent := request.META.get("HTTP_TRACEPARENT")) and (trace_id := trace_id_of(parent)):
            bind_contextvars(trace_id=trace_id)
        return request_id

    def _finish(
        self, request: HttpRequest, response: HttpResponseBase, request_id: str, started: float
    ) -> HttpResponseBase:
        headers = response.headers
        headers["X-Request-ID"] = request_id
        is_page = headers.get("Content-Type", "").startswith("text/html")
        if "Content-Security-Policy" not in headers:
            headers["Content-Security-Policy"] = self._policy(request.path) if is_page else API_CSP
        if "Cache-Control" not in headers:
            headers["Cache-Control"] = "no-store"
        headers["Permissions-Policy"] = PERMISSIONS_POLICY
        if request.path not in _HEALTH:
            seconds = time.perf_counter() - started
            self.metrics.observe(request, response.status_code, seconds)
            self._log(request, response, seconds)
        clear_contextvars()  # what the thread logs between two requests belongs to neither
        return response

    def _policy(self, path: str) -> str:
        return self.docs_csp if path.startswith(_DOCS) else self.page_csp

    def _log(self, request: HttpRequest, response: HttpResponseBase, seconds: float) -> None:
        # The route, not the path: paths and queries hold identifiers and search words.
        match = request.resolver_match
        members: dict[str, Any] = {
            "method": request.method,
            "route": match.route if match else "",
            "status": response.status_code,
            "duration_ms": round(seconds * 1000, 2),
        }
        principal = request.META.get(PRINCIPAL)
        if principal is not None:
            members |= principal.log_members()
        _log.info(REQUEST, **members)
