"""Public or private: what that means for a log, and the form that decides it (SECURITY section 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin, messages
from django.http import HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _

from ecp_project.api.problems import refusal
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import BadRequest, EcpError, PermissionDenied, Unavailable
from ledger.changelist import PAGE_LOG, request_viewer
from ledger.models import Role
from ledger.selectors.console import log_state
from ledger.services.publication import log_publish

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from ledger.models import Log

MAY_READ = frozenset({Role.AUDITOR, Role.OPERATOR, Role.ADMIN})


def publication(request: HttpRequest) -> HttpResponse:
    """GET tells what a change would mean; POST makes it."""
    try:
        log = _log(request)
        if request.method != "POST":
            return _page(request, log, "", None)
        return _change(request, log)
    except EcpError as problem:
        return refusal(request, problem)


def _log(request: HttpRequest) -> Log:
    viewer = request_viewer(request)
    given = request.POST if request.method == "POST" else request.GET
    log = log_state(viewer, given.get("log", "")).log
    allowed = {Role.ADMIN} if request.method == "POST" else MAY_READ
    if viewer.roles[log.organisation_id] not in allowed:
        raise PermissionDenied(
            "role_missing", _("Admins of the organisation decide whether its log is public.")
        )
    request.META[PAGE_LOG] = log.slug
    return log


def _change(request: HttpRequest, log: Log) -> HttpResponse:
    viewer, reason = request_viewer(request), request.POST.get("reason", "").strip()
    wanted = request.POST.get("public", "")
    if wanted not in {"yes", "no"}:
        raise BadRequest("bad_value", _("public is yes or no"))
    try:
        log_publish(
            log=log,
            is_public=wanted == "yes",
            reason=reason,
            actor=f"staff:{viewer.pseudonyms[log.organisation_id]}",
            now=utc_now(),
        )
    except (BadRequest, Unavailable) as problem:
        return _page(request, log, reason, problem)
    said = _("The log is public now.") if wanted == "yes" else _("The log is private now.")
    messages.success(request, said)
    return HttpResponseRedirect(f"{reverse('admin:integrity')}?log={log.slug}")


def _page(request: HttpRequest, log: Log, reason: str, problem: EcpError | None) -> HttpResponse:
    may_change = request_viewer(request).roles[log.organisation_id] == Role.ADMIN
    context = admin.site.each_context(request) | {
        "title": _("Make the log private again") if log.is_public else _("Make the log public"),
        "log": log,
        "reason": reason,
        "problem": problem,
        "may_change": may_change,
    }
    return TemplateResponse(
        request, "console/publication.html", context, status=problem.status if problem else 200
    )
