"""The data-subject page: what is held about a person, a pack of it, erasure by two (CONSOLE section 3).

A handle comes by POST and goes back only inside a form of the answer: it stands in no address and no log
line.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.http import HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _

from ecp_project.api.problems import refusal
from ecp_project.console.access_pack import access_pack
from ecp_project.console.reveal import reason_checked
from ecp_project.console.views.reveal import READERS, begin, opened_for
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import BadRequest, Conflict, EcpError, PermissionDenied, Unavailable
from ledger.changelist import PAGE_LOG, PAGE_LOGS, request_viewer
from ledger.models import ErasureBasis, Role
from ledger.selectors.console import log_state
from ledger.selectors.subjects import MAX_RECORDS, erasure_of, erasure_page
from ledger.services.erasure import erasure_approve, erasure_request, erasure_withdraw
from ledger.services.subjects import handle_checked, subject_holding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.http import HttpRequest

    from ledger.models import ErasureRequest, Log
    from ledger.selectors.console import Viewer
    from ledger.selectors.subjects import Holding, Proposal

PROPOSERS = frozenset({Role.OPERATOR, Role.ADMIN})
PROPOSALS = 50
RECORDS_SHOWN = 200


@dataclass(slots=True)
class SubjectForm:
    """What was written into the page's forms, and what was wrong with it."""

    handle: str = ""
    reason: str = ""
    basis: str = ""
    erasure_reason: str = ""
    problem: EcpError | None = None
    at: str = ""  # the form that the problem belongs to: look, erase

    bases = tuple(ErasureBasis.choices)

    @classmethod
    def of(cls, request: HttpRequest) -> SubjectForm:
        given = {name: request.POST.get(name, "") for name in ("handle", "reason", "basis", "erasure_reason")}
        return cls(given["handle"], given["reason"], given["basis"], given["erasure_reason"])

    def told(self, at: str, pointer: str) -> EcpError | None:
        found = self.problem
        return found if found and self.at == at and found.pointer == pointer else None

    @property
    def handle_problem(self) -> EcpError | None:
        return self.told("look", "/handle")

    @property
    def reason_problem(self) -> EcpError | None:
        return self.told("look", "/reason")

    @property
    def erase_handle_problem(self) -> EcpError | None:
        return self.told("erase", "/handle")

    @property
    def erase_reason_problem(self) -> EcpError | None:
        return self.told("erase", "/erasure_reason")

    @property
    def basis_problem(self) -> EcpError | None:
        return self.told("erase", "/basis")

    @property
    def general_problem(self) -> EcpError | None:
        fields = {"/handle", "/reason", "/erasure_reason", "/basis"}
        return self.problem if self.problem and self.problem.pointer not in fields else None


@dataclass(frozen=True, slots=True)
class Place:
    """The log that the page is about, and what the person may do there."""

    log: Log
    viewer: Viewer = field(repr=False)

    @property
    def role(self) -> str:
        return self.viewer.roles[self.log.organisation_id]

    @property
    def may_look(self) -> bool:
        return self.viewer.may_open(self.log.organisation_id)

    @property
    def may_propose(self) -> bool:
        return self.role in PROPOSERS

    @property
    def may_approve(self) -> bool:
        return self.role == Role.ADMIN

    @property
    def actor(self) -> str:
        return f"staff:{self.viewer.pseudonyms[self.log.organisation_id]}"


def page(request: HttpRequest) -> HttpResponse:
    """GET: the forms and what is proposed. POST: what is held about the person whose handle is given."""
    try:
        place = _place(request)
        if request.method != "POST":
            return _page(request, place, SubjectForm())
        _demand(may=place.may_look, who=_("Auditors and operators look up data subjects."))
    except EcpError as problem:
        return refusal(request, problem)
    form = SubjectForm.of(request)
    try:
        handle = handle_checked(form.handle)
        if opened_for(request, place.log) is None:
            begin(request, place.log, form.reason)
        holding = subject_holding(organisation=place.log.organisation, handle=handle, now=utc_now())
    except (BadRequest, Unavailable) as problem:
        form.problem, form.at = problem, "look"
        return _page(request, place, form)
    return _page(request, place, form, holding)


def pack(request: HttpRequest) -> HttpResponse:
    form = SubjectForm.of(request)
    try:
        place = _place(request)
        _demand(may=place.may_look, who=_("Auditors and operators take access packs."))
        opened = opened_for(request, place.log)
        if opened is None:
            raise Conflict("reveal_needed")
        made = access_pack(log=place.log, opened=opened, handle=form.handle, now=utc_now())
    except EcpError as problem:
        return refusal(request, problem)
    answer = HttpResponse(made.data, content_type="application/zip")
    answer.headers["Content-Disposition"] = f'attachment; filename="access-{made.digest[:16]}.zip"'
    return answer


def propose(request: HttpRequest) -> HttpResponse:
    form = SubjectForm.of(request)
    try:
        place = _place(request)
        _demand(may=place.may_propose, who=_("Operators and admins propose an erasure."))
    except EcpError as problem:
        return refusal(request, problem)
    try:
        _propose(form, place)
    except (BadRequest, Unavailable) as problem:
        form.problem, form.at = problem, "erase"
        return _page(request, place, form)
    messages.success(request, _("Proposed. An admin other than you decides; nothing is erased before that."))
    return _back(place)


def _propose(form: SubjectForm, place: Place) -> None:
    handle = handle_checked(form.handle)
    if form.basis not in ErasureBasis.values:
        raise BadRequest("bad_value", _("Choose on what basis."), pointer="/basis")
    try:
        reason = reason_checked(form.erasure_reason)
    except BadRequest as problem:
        problem.pointer = "/erasure_reason"
        raise
    erasure_request(
        log=place.log,
        handle=handle,
        basis=form.basis,
        reason=reason,
        requested_by=place.actor,
        now=utc_now(),
    )


def decide(request: HttpRequest, pk: int) -> HttpResponse:
    """Approve a proposal, or withdraw it."""
    viewer = request_viewer(request)
    try:
        row = erasure_of(organisation_ids=viewer.roles, pk=pk)
        place = Place(row.log, viewer)
        _demand(may=place.may_propose, who=_("Operators and admins decide on erasures."))
        said = _decide(request, place, row)
    except EcpError as problem:
        return refusal(request, problem)
    messages.success(request, said)
    return _back(place)


def _decide(request: HttpRequest, place: Place, row: ErasureRequest) -> str:
    match request.POST.get("act", ""):
        case "approve":
            _demand(may=place.may_approve, who=_("Admins approve an erasure."))
            erasure_approve(request=row, approved_by=place.actor, now=utc_now())
            return _("Approved. The next daily run erases it; until then it can be withdrawn.")
        case "withdraw":
            own = row.requested_by == place.actor
            _demand(may=own or place.may_approve, who=_("Who proposed an erasure withdraws it, or an admin."))
            erasure_withdraw(request=row, withdrawn_by=place.actor, now=utc_now())
            return _("Withdrawn. Nothing was erased.")
        case _:
            raise BadRequest("bad_value", "act is one of: approve, withdraw.")


# --- the page


def _place(request: HttpRequest) -> Place:
    viewer = request_viewer(request)
    _demand(
        may=bool(viewer.organisations_as(*READERS)),
        who=_("Auditors, operators and admins see this page."),
    )
    given = request.POST if request.method == "POST" else request.GET
    state = log_state(viewer, given.get("log", ""))
    request.META[PAGE_LOG], request.META[PAGE_LOGS] = state.log.slug, state.logs
    place = Place(state.log, viewer)
    _demand(may=place.role in READERS, who=_("Auditors, operators and admins see this page."))
    return place


def _demand(*, may: bool, who: str) -> None:
    if not may:
        raise PermissionDenied("role_missing", who)


def _page(
    request: HttpRequest, place: Place, form: SubjectForm, holding: Holding | None = None
) -> HttpResponse:
    proposals: Sequence[Proposal] = []
    if place.may_propose:
        own = place.viewer.organisations_as(*PROPOSERS) & {place.log.organisation_id}
        proposals = erasure_page(organisation_ids=own, size=PROPOSALS)
    context: dict[str, Any] = admin.site.each_context(request) | {
        "title": _("Data subjects"),
        "log": place.log,
        "place": place,
        "form": form,
        "opened": opened_for(request, place.log) if place.may_look else None,
        "holding": holding,
        "held": holding.records[:RECORDS_SHOWN] if holding else [],
        "is_too_many": holding is not None and len(holding.records) > MAX_RECORDS,
        "proposals": proposals,
    }
    status = form.problem.status if form.problem else 200
    answer = TemplateResponse(request, "console/data_subjects.html", context, status=status)
    if form.problem and form.problem.retry_after:
        answer.headers["Retry-After"] = str(form.problem.retry_after)
    return answer


def _back(place: Place) -> HttpResponse:
    return HttpResponseRedirect(f"{reverse('admin:data_subjects')}?log={place.log.slug}#erasures")
