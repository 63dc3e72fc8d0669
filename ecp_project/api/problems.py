"""The one error shape: RFC 9457 `application/problem+json` (STYLE section 5).

Every failure becomes an `EcpError` and is rendered here once: those of views by `exception_handler`, those
before a view (unknown address, bad Host, CSRF) by the handlers that `ecp_project.urls` names. Addresses of
the API and of the static log never answer HTML; people get a plain page that names the same code.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import orjson
import psycopg
import structlog
from django.core.exceptions import PermissionDenied as DjangoPermissionDenied
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation, TooManyFieldsSent
from django.db import InterfaceError, InternalError, OperationalError
from django.http import Http404, HttpResponse
from django.template.loader import render_to_string
from rest_framework import exceptions as drf

from ecp_project.api.metrics import AUTHZ_DENIED
from ecp_project.kernel.errors import (
    PROBLEMS,
    BadRequest,
    EcpError,
    MethodNotAllowed,
    NotAcceptable,
    NotAuthenticated,
    NotFound,
    PermissionDenied,
    RateLimited,
    TooLarge,
    Unavailable,
    UnsupportedMediaType,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.http import HttpRequest

MEDIA_TYPE = "application/problem+json"
UNHANDLED = "unhandled_exception"
DATABASE_DOWN = "database_unavailable"
DATABASE_RETRY_S = 5
PAGE_RETRY_S = 10
CHALLENGE = 'Bearer realm="ecp"'
_MACHINE_PATHS = (
    "/api/", "/log/", "/lsp/", "/witness/", "/.well-known/", "/console/stream/",
    "/livez", "/readyz", "/startupz",
)  # fmt: skip
# Raw psycopg errors too: the ledger uses its cursors where Django's cannot carry binary values.
_DATABASE_DOWN = (OperationalError, InterfaceError, psycopg.OperationalError, psycopg.InterfaceError)
# Internal errors by their class: the server takes no writes, as after a failover, or it ended a transaction
# that stood idle.
_DATABASE_DOWN_STATES = frozenset({"25006", "25P03"})
_log = structlog.get_logger("ecp.api")


class _InternalError(EcpError):
    status = 500


def _method_not_allowed(_error: Exception, context: Mapping[str, Any]) -> EcpError:
    view = context.get("view")
    allowed = ", ".join(view.allowed_methods) if view is not None else ""
    return MethodNotAllowed("method_not_allowed", f"This address takes {allowed}." if allowed else "")


def _too_large(_error: Exception, _context: Mapping[str, Any]) -> EcpError:
    return TooLarge("body_too_large")


_DRF: tuple[tuple[type[Exception], Any], ...] = (
    (drf.MethodNotAllowed, _method_not_allowed),
    (drf.NotAuthenticated, lambda _e, _c: NotAuthenticated("credentials_missing")),
    (drf.AuthenticationFailed, lambda _e, _c: NotAuthenticated("credentials_invalid")),
    (drf.PermissionDenied, lambda _e, _c: PermissionDenied("role_missing")),
    (DjangoPermissionDenied, lambda _e, _c: PermissionDenied("role_missing")),
    (drf.NotFound, lambda _e, _c: NotFound("not_found")),
    (Http404, lambda _e, _c: NotFound("not_found")),
    (drf.NotAcceptable, lambda _e, _c: NotAcceptable("not_acceptable")),
    (drf.UnsupportedMediaType, lambda _e, _c: UnsupportedMediaType("unsupported_media_type")),
    (drf.Throttled, lambda e, _c: RateLimited("rate_limited", retry_after=max(1, int(e.wait or 1)))),
    (drf.ParseError, lambda _e, _c: BadRequest("malformed_json")),
    (RequestDataTooBig, _too_large),
    (TooManyFieldsSent, lambda _e, _c: BadRequest("bad_value", "Too many form fields.")),
    (SuspiciousOperation, lambda _e, _c: BadRequest("bad_value", "The request cannot be read.")),
)


def _is_database_down(error: Exception) -> bool:
    cause = error.__cause__ if isinstance(error, InternalError) else error
    return isinstance(error, _DATABASE_DOWN) or getattr(cause, "sqlstate", None) in _DATABASE_DOWN_STATES


def database_unavailable(error: Exception) -> EcpError:
    """OPERATIONS section 5.4: no connection, a full pool or a server that goes down is a 503, never a 500."""
    _log.error(DATABASE_DOWN, exc_info=error)
    return Unavailable("database_unavailable", retry_after=DATABASE_RETRY_S)


def as_problem(error: Exception, context: Mapping[str, Any]) -> EcpError:
    """Translate `error`; whatever nobody expected is a 500 without detail."""
    if isinstance(error, EcpError):
        return error
    if _is_database_down(error):
        return database_unavailable(error)
    for kind, translate in _DRF:
        if isinstance(error, kind):
            translated: EcpError = translate(error, context)
            return translated
    _log.error(UNHANDLED, exc_info=error)
    return _InternalError("internal_error")


def response_of(problem: EcpError, request: HttpRequest) -> HttpResponse:
    document = problem.document() | {"request_id": request.META.get("ecp.request_id", "")}
    response = HttpResponse(orjson.dumps(document), status=problem.status, content_type=MEDIA_TYPE)
    if problem.retry_after is not None:
        response.headers["Retry-After"] = str(problem.retry_after)
    if isinstance(problem, NotAuthenticated):
        response.headers["WWW-Authenticate"] = CHALLENGE
    return response


def exception_handler(error: Exception, context: Mapping[str, Any]) -> HttpResponse:
    """DRF's `EXCEPTION_HANDLER`."""
    problem = as_problem(error, context)
    request = context["request"]._request  # noqa: SLF001 - DRF offers no other way to the Django request
    if isinstance(problem, PermissionDenied):
        principal = request.META.get("ecp.principal")
        AUTHZ_DENIED.labels(role=principal.role_label if principal else "anonymous").inc()
    return response_of(problem, request)


def is_machine_path(path: str) -> bool:
    return path.startswith(_MACHINE_PATHS)


def refusal(request: HttpRequest, problem: EcpError) -> HttpResponse:
    """Answer a failure outside any API view: problem+json for machines, a page for people."""
    if is_machine_path(request.path):
        return response_of(problem, request)
    # without the request: context processors would ask a database that may be what failed
    tries_again = problem.code == DATABASE_DOWN and request.method == "GET"
    context = {
        "problem": problem,
        # the advice of a code speaks to programs
        "detail": problem.detail if problem.detail != PROBLEMS[problem.code].advice else "",
        "request_id": request.META.get("ecp.request_id", ""),
        "tries_again": tries_again,
    }
    page = HttpResponse(render_to_string("errors/problem.html", context), status=problem.status)
    if problem.retry_after is not None:
        page.headers["Retry-After"] = str(problem.retry_after)
    if tries_again:
        page.headers["Refresh"] = str(PAGE_RETRY_S)
    return page


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return refusal(request, as_problem(exception, {}))


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001 - Django's signature
    return refusal(request, PermissionDenied("role_missing"))


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:  # noqa: ARG001 - Django's signature
    return refusal(request, NotFound("not_found"))


def server_error(request: HttpRequest) -> HttpResponse:
    """Django calls this inside its `except` block, so the exception is at hand."""
    error = sys.exc_info()[1]
    problem = as_problem(error, {}) if isinstance(error, Exception) else _InternalError("internal_error")
    return refusal(request, problem)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:  # noqa: ARG001 - Django's signature
    return refusal(request, PermissionDenied("csrf_failed"))


def unknown_route(request: HttpRequest) -> HttpResponse:
    """Catches what no route under `/api/` takes, before APPEND_SLASH can answer with a redirect."""
    return response_of(NotFound("not_found"), request)
