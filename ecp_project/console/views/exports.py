"""Exports: asked for on a list's own address, found again under `exports/`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _

from ecp_project.api.problems import refusal
from ecp_project.console import export, handover
from ecp_project.console.evidence import ids_of_list
from ecp_project.console.models import Export, State
from ecp_project.console.views.evidence import chosen_ids, hand_over_page, pack_answer
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import BadRequest, EcpError, NotFound
from ledger.changelist import request_viewer
from ledger.listpage import parameters_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

EVIDENCE = "evidence"


def list_post(request: HttpRequest, *, only_decisions: bool) -> HttpResponseBase:
    """A POST on a list: its rows as a file, or an evidence pack of chosen rows or of all that it shows."""
    viewer = request_viewer(request)
    try:
        given = without_page(parameters_of(request))
        if request.POST["format"] == EVIDENCE:
            ids = chosen_ids(request) or ids_of_list(
                viewer=viewer, parameters=given, only_decisions=only_decisions, now=utc_now()
            )
            return pack_answer(request, ids)
        return export_answer(request, request.POST["format"], given, only_decisions=only_decisions)
    except EcpError as problem:
        return refusal(request, problem)


def nothing_asked(request: HttpRequest) -> HttpResponse:
    """A form that names neither a format nor an action; who may take nothing out is told that first."""
    try:
        handover.refuse_unless_some_taker(request_viewer(request))
        raise BadRequest("bad_value", _("Choose a format, or one of the actions of the menu."))
    except EcpError as problem:
        return refusal(request, problem)


def export_answer(
    request: HttpRequest,
    format_: str,
    parameters: dict[str, str],
    *,
    only_decisions: bool,
    entry_ids: Sequence[int] = (),
) -> HttpResponseBase:
    """The file, or the page that says where it will be; of the list at these parameters or of some of it."""
    row, stream = export.export_request(
        viewer=request_viewer(request),
        user=request.user,
        parameters=parameters,
        only_decisions=only_decisions,
        format_=format_,
        columns=request.POST.get("cols", ""),
        now=utc_now(),
        entry_ids=entry_ids,
    )
    if stream is None:
        return _accepted(request, row)
    answer = StreamingHttpResponse(stream, content_type=export.SHAPES[row.format].media_type)
    answer.headers["Content-Disposition"] = f'attachment; filename="{file_name(row)}"'
    return _described(answer, row)


def _described(answer: HttpResponseBase, row: Export) -> HttpResponseBase:
    place = reverse("admin:console_export_manifest", args=[row.pk])
    answer.headers["Link"] = f'<{place}>; rel="describedby"; type="application/json"'
    return answer


def without_page(given: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in given.items() if name not in {"before", "after"}}


def file_name(row: Export) -> str:
    kind = "decisions" if row.only_decisions else "entries"
    return f"{row.log.slug}-{kind}-{row.as_of}.{row.format}"


def _accepted(request: HttpRequest, row: Any) -> HttpResponse:
    context = admin.site.each_context(request) | {"title": _("The export is being made"), "row": row}
    answer = TemplateResponse(request, "console/export_accepted.html", context, status=202)
    answer.headers["Location"] = reverse("admin:console_exports")
    return answer


def export_list(request: HttpRequest) -> HttpResponse:
    try:
        return hand_over_page(request, Export, _("Exports"), "console/exports.html")
    except EcpError as problem:
        return refusal(request, problem)


def export_file(request: HttpRequest, id_: UUID) -> HttpResponseBase:
    try:
        row = handover.one(Export, request_viewer(request), request.user.pk, id_)
        if row.state != State.COMPLETE or not row.has_file:
            raise NotFound("not_found", "there is no such file")
        stream = handover.opened(row)
    except EcpError as problem:
        return refusal(request, problem)
    answer = FileResponse(
        stream,
        as_attachment=True,
        filename=file_name(row),
        content_type=export.SHAPES[row.format].media_type,
    )
    return _described(answer, row)


def export_manifest(request: HttpRequest, id_: UUID) -> HttpResponse:
    try:
        row = handover.one(Export, request_viewer(request), request.user.pk, id_)
        if not row.manifest:
            raise NotFound("not_found", "this export has no manifest: it is not complete")
    except EcpError as problem:
        return refusal(request, problem)
    return HttpResponse(f"{row.manifest}\n", content_type="application/json")
