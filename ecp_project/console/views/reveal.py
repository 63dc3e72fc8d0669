"""Private values on record pages, and the working session that opens them (CONSOLE sections 2 and 5.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.http import HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _

from ecp_project.api.problems import refusal
from ecp_project.console.models import EndedBy
from ecp_project.console.reveal import (
    reveal_begin,
    reveal_end_own,
    reveal_list,
    reveal_open,
    reveal_page,
    reveal_records,
    sign_in_of,
)
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import BadRequest, EcpError, PermissionDenied, Unavailable
from ecp_project.kernel.privacy import SEALED, Opening
from ledger.changelist import PAGE_LOG, PAGE_LOGS, request_viewer
from ledger.models import Entry, Role
from ledger.recordpage import private_parts
from ledger.selectors.console import OPENERS, log_state

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from uuid import UUID

    from django.http import HttpRequest

    from ecp_project.console.reveal import Opened
    from ledger.models import Log
    from ledger.selectors.records import Record

READERS = frozenset({Role.AUDITOR, Role.OPERATOR, Role.ADMIN})


@dataclass(slots=True)
class ReasonForm:
    """The one question before private values are shown; what was written comes back when it is not enough."""

    log: str
    next_: str
    reason: str = ""
    problem: EcpError | None = None

    @property
    def reason_problem(self) -> EcpError | None:
        return self.problem if self.problem and self.problem.pointer == "/reason" else None


@dataclass(frozen=True, slots=True)
class Private:
    """Private values as the record page shows them: sealed, opened in a session, or not for this reader."""

    may_open: bool
    parts: Sequence[tuple[str, str, str | None, Any]]  # pointer, commitment, value, time of erasure
    opened: Opened | None
    form: ReasonForm | None


def opened_for(request: HttpRequest, log: Log, entry_id: int = 0) -> Opened | None:
    user: Any = request.user
    return reveal_open(
        person=user,
        sign_in=sign_in_of(request.session.session_key),
        organisation_id=log.organisation_id,
        now=utc_now(),
        entry_id=entry_id,
    )


def begin(request: HttpRequest, log: Log, reason: str) -> None:
    user: Any = request.user
    reveal_begin(
        viewer=request_viewer(request),
        person=user,
        sign_in=sign_in_of(request.session.session_key),
        log=log,
        reason=reason,
        now=utc_now(),
    )


# --- a record's page


def record_page(
    request: HttpRequest, object_id: str, *, page: Callable[[HttpRequest, str], HttpResponse]
) -> HttpResponse:
    """The ledger's page of a record; it is drawn after this, so the private values can still join it."""
    answer = page(request, object_id)
    context = getattr(answer, "context_data", None) or {}
    record: Record | None = context.get("record")
    if record is not None and record.sealed:
        context["private"] = _private(request, record)
    return answer


def _private(request: HttpRequest, record: Record) -> Private:
    log = record.entry.log
    may_open = request_viewer(request).may_open(log.organisation_id)
    opened = opened_for(request, log, record.entry.pk) if may_open else None
    is_held = any(ptr not in record.erased for ptr in record.sealed)
    if opened is not None and is_held and not opened.has_this:
        opened = reveal_records(opened=opened, entries=[record.entry], now=utc_now())
    commitments = {part["ptr"]: part["c"] for part in (record.stmt or {}).get("sealed", [])}
    shown = (
        private_parts(record)
        if opened is not None
        else [(ptr, None, record.erased.get(ptr)) for ptr in record.sealed]
    )
    parts = [(ptr, commitments.get(ptr, ""), value, erased_at) for ptr, value, erased_at in shown]
    asks = may_open and opened is None and is_held
    form = ReasonForm(log.slug, f"{record_address(record)}#private") if asks else None
    return Private(may_open, parts, opened, form)


def record_address(record: Record) -> str:
    return reverse(
        f"admin:ledger_{'decision' if record.entry.action else 'entry'}_change", args=[record.entry.pk]
    )


# --- pages and panels of apps


def opening(request: object, *, organisation_id: int, uid: UUID) -> Opening:
    """What an app is told before it shows private values; those of an entry that is open are on the list."""
    asked = cast("HttpRequest", request)
    if not request_viewer(asked).may_open(organisation_id):
        return SEALED
    rows = Entry.objects.filter(uid=uid, log__organisation_id=organisation_id)
    entry = rows.select_related("log").order_by("-pk").first()
    if entry is None:
        return SEALED
    opened = opened_for(asked, entry.log, entry.pk)
    if opened is not None and not opened.has_this:
        opened = reveal_records(opened=opened, entries=[entry], now=utc_now())
    query = urlencode({"log": entry.log.slug, "next": asked.get_full_path()})
    return Opening(opened is not None, f"{reverse('admin:reveal')}?{query}")


# --- the session


def sessions(request: HttpRequest) -> HttpResponse:
    """GET: sessions so far, and the form. POST: begin one and go where the reason was asked for."""
    viewer = request_viewer(request)
    try:
        if not viewer.organisations_as(*READERS):
            raise PermissionDenied("role_missing", _("Auditors, operators and admins see this page."))
        given = request.POST if request.method == "POST" else request.GET
        state = log_state(viewer, given.get("log", ""))
        request.META[PAGE_LOG], request.META[PAGE_LOGS] = state.log.slug, state.logs
    except EcpError as problem:
        return refusal(request, problem)
    form = ReasonForm(state.log.slug, _own_address(request, given.get("next", "")), given.get("reason", ""))
    if request.method == "POST":
        try:
            begin(request, state.log, form.reason)
        except (BadRequest, Unavailable) as problem:
            form.problem = problem
        except EcpError as problem:
            return refusal(request, problem)
        else:
            messages.success(
                request, _("Your reason is on record. Private values are shown until you end this.")
            )
            return HttpResponseRedirect(form.next_)
    may_open = viewer.may_open(state.log.organisation_id)
    user: Any = request.user
    context = admin.site.each_context(request) | {
        "title": _("Private values: who read them, and why"),
        "log": state.log,
        "opened": opened_for(request, state.log) if may_open else None,
        "form": form if may_open else None,
        "may_open": may_open,
        "rows": reveal_page(viewer=viewer, person=user),
    }
    return TemplateResponse(
        request, "console/reveal.html", context, status=form.problem.status if form.problem else 200
    )


def end(request: HttpRequest) -> HttpResponse:
    user: Any = request.user
    if not request_viewer(request).organisations_as(*OPENERS):
        return refusal(
            request, PermissionDenied("role_missing", _("Auditors and operators open private values."))
        )
    sign_in = sign_in_of(request.session.session_key)
    if reveal_end_own(person=user, sign_in=sign_in, ended_by=EndedBy.PERSON, now=utc_now()):
        messages.success(request, _("Ended. Private values are sealed again."))
    return HttpResponseRedirect(_own_address(request, request.POST.get("next", "")))


def records(request: HttpRequest, session_id: UUID) -> HttpResponse:
    """The list whose SHA-256 stands on the log."""
    user: Any = request.user
    try:
        found = reveal_list(viewer=request_viewer(request), person=user, session_id=session_id)
    except EcpError as problem:
        return refusal(request, problem)
    answer = HttpResponse(found, content_type="text/plain; charset=utf-8")
    answer.headers["Content-Disposition"] = f'attachment; filename="reveal-{session_id}.txt"'
    return answer


def _own_address(request: HttpRequest, text: str) -> str:
    """Where to go on; another site's address, or one outside the console, leads to the sessions instead."""
    home = reverse("admin:index")
    is_ours = url_has_allowed_host_and_scheme(text, allowed_hosts=None, require_https=request.is_secure())
    return text if is_ours and text.startswith(home) else reverse("admin:reveal")
