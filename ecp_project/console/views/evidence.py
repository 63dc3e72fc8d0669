"""Evidence packs: asked for on a record or a list, found again under `evidence/`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin, messages
from django.http import FileResponse, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _

from ecp_project.api.problems import refusal
from ecp_project.console import evidence, handover
from ecp_project.console.models import EvidencePack, State
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import BadRequest, EcpError, NotFound
from ledger.changelist import request_viewer

if TYPE_CHECKING:
    from uuid import UUID

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

    from ecp_project.console.models import HandOver

MAX_ID_DIGITS = 18


def evidence_page(request: HttpRequest) -> HttpResponseBase:
    """GET: packs so far. POST: one of the records that the form names."""
    try:
        if request.method == "POST":
            handover.refuse_unless_some_taker(request_viewer(request))
            return pack_answer(request, chosen_ids(request))
        return hand_over_page(request, EvidencePack, _("Evidence packs"), "console/evidence.html")
    except EcpError as problem:
        return refusal(request, problem)


def hand_over_page(request: HttpRequest, model: type[HandOver], title: str, template: str) -> HttpResponse:
    """What people took out so far: exports or packs."""
    rows = handover.taken(model, request_viewer(request), request.user.pk)
    is_moving = any(row.state in handover.MOVING for row in rows)
    context = {"title": title, "rows": rows, "is_moving": is_moving}
    return TemplateResponse(request, template, admin.site.each_context(request) | context)


def chosen_ids(request: HttpRequest) -> list[int]:
    given = request.POST.getlist("entry")
    if any(not (text.isascii() and text.isdecimal() and len(text) <= MAX_ID_DIGITS) for text in given):
        raise BadRequest("bad_value", "entry is the id of a record")
    return sorted({int(text) for text in given})


def pack_answer(request: HttpRequest, ids: list[int]) -> HttpResponseBase:
    """The pack of these records, or the page on which it appears."""
    viewer = request_viewer(request)
    row = evidence.pack_request(viewer=viewer, user=request.user, entry_ids=ids, now=utc_now())
    if row.state == State.COMPLETE:
        return _download(row)
    messages.info(request, _("The pack is being made; it appears here."))
    return HttpResponseRedirect(reverse("admin:console_evidence"))


def evidence_file(request: HttpRequest, id_: UUID) -> HttpResponseBase:
    try:
        row = handover.one(EvidencePack, request_viewer(request), request.user.pk, id_)
        if row.state != State.COMPLETE:
            raise NotFound("not_found", "there is no such file")
        return _download(row)
    except EcpError as problem:
        return refusal(request, problem)


def _download(row: HandOver) -> HttpResponse | FileResponse:
    return FileResponse(
        handover.opened(row),
        as_attachment=True,
        filename=f"{row.log.slug}-evidence-{row.pk}.zip",
        content_type="application/zip",
    )
