"""The integrity page: what was verified and signed, and how to check it elsewhere (CONSOLE section 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib import admin, messages
from django.http import HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _

from ecp_project.api.problems import refusal
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import BadRequest, EcpError, PermissionDenied
from ledger.changelist import PAGE_LOG, PAGE_LOGS, request_viewer
from ledger.keys import verifiers
from ledger.models import Role
from ledger.selectors.assurance import COUNTED, assurance_of, consistency_of
from ledger.selectors.console import log_state
from ledger.selectors.proofs import newest_checkpoint
from ledger.services.verification_runs import verification_request

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from ledger.selectors.console import LogState

MAY_VERIFY = frozenset({Role.AUDITOR, Role.OPERATOR, Role.ADMIN})
MAX_DIGITS = 15


def integrity(request: HttpRequest) -> HttpResponse:
    try:
        state = log_state(request_viewer(request), request.GET.get("log", ""))
    except EcpError as problem:
        return refusal(request, problem)
    log = state.log
    context = _frame(request, _("Integrity"), state) | {
        "state": state,
        "signed": newest_checkpoint(log.pk),
        "about": assurance_of(log=log),
        "counted": COUNTED,
        "vkeys": [key.vkey for key in verifiers(settings.ECP_LOG_PUBLIC_KEYS, log.origin)],
        "may_verify": request_viewer(request).roles[log.organisation_id] in MAY_VERIFY,
        "log_url": f"{settings.ECP_BASE_URL}/log/{log.slug}",
    }
    return TemplateResponse(request, "console/integrity.html", context)


def consistency(request: HttpRequest) -> HttpResponse:
    """Are these two checkpoints consistent? Without sizes: the form."""
    given = {name: request.GET.get(name, "").strip() for name in ("old", "new")}
    found, problem = None, None
    try:
        state = log_state(request_viewer(request), request.GET.get("log", ""))
    except EcpError as error:
        return refusal(request, error)
    if any(given.values()):
        try:
            found = consistency_of(log=state.log, old=_size(given["old"]), new=_size(given["new"]))
        except BadRequest as error:
            problem = error
    context = _frame(request, _("Consistency of two checkpoints"), state) | {
        "given": given,
        "found": found,
        "compared": (found.old, found.new) if found else (),
        "problem": problem,
    }
    status = problem.status if problem else 200
    return TemplateResponse(request, "console/consistency.html", context, status=status)


def verify_everything(request: HttpRequest) -> HttpResponse:
    """Queue a full verification; while one runs, a second press leads to it."""
    try:
        state = log_state(request_viewer(request), request.POST.get("log", ""))
        log, now = state.log, utc_now()
        viewer = request_viewer(request)
        if viewer.roles[log.organisation_id] not in MAY_VERIFY:
            raise PermissionDenied("role_missing", _("Auditors, operators and admins start a verification."))
    except EcpError as problem:
        return refusal(request, problem)
    actor = f"staff:{viewer.pseudonyms[log.organisation_id]}"
    run = verification_request(log=log, requested_by=actor, now=now)
    if run.started_at == now:
        messages.success(request, _("Queued: every entry is read again, from the first to the last."))
    else:
        messages.info(request, _("A verification is running already; it is the one shown below."))
    return HttpResponseRedirect(f"{reverse('admin:integrity')}?log={log.slug}#runs")


def _frame(request: HttpRequest, title: str, state: LogState) -> dict[str, Any]:
    # Header and footer tell of the same log, and it was read with all that they need.
    request.META[PAGE_LOG], request.META[PAGE_LOGS] = state.log.slug, state.logs
    return admin.site.each_context(request) | {"title": title, "log": state.log}


def _size(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS):
        raise BadRequest("bad_value", _("give both sizes as plain numbers"))
    return int(text)
