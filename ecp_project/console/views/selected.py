"""What the menu above a list's rows does with those that are marked (CONSOLE section 4.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from ecp_project.api.problems import refusal
from ecp_project.console.export import SHAPES
from ecp_project.console.views.evidence import chosen_ids, pack_answer
from ecp_project.console.views.exports import export_answer, without_page
from ecp_project.kernel.errors import BadRequest, EcpError, NotFound
from ledger.changelist import request_viewer
from ledger.listpage import parameters_of
from ledger.models import Entry
from ledger.recordpage import record_url
from ledger.selectors.console import visible
from ledger.selectors.integrity import entry_verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

MOST = 100


def act(request: HttpRequest, *, only_decisions: bool) -> HttpResponseBase:
    try:
        ids = _marked(request)
        action = request.POST["action"]
        if action == "verify":
            return verified(request, ids)
        if action == "evidence":
            return pack_answer(request, ids)
        if action in SHAPES:
            given = without_page(parameters_of(request))
            return export_answer(request, action, given, only_decisions=only_decisions, entry_ids=ids)
        raise BadRequest("bad_value", _("Choose one of the actions of the menu."))
    except EcpError as problem:
        return refusal(request, problem)


def _marked(request: HttpRequest) -> list[int]:
    ids = chosen_ids(request)
    if not ids:
        raise BadRequest("bad_value", _("Mark at least one row, then choose what to do with it."))
    if len(ids) > MOST:
        raise BadRequest("bad_value", _("Mark at most %(most)d rows at a time.") % {"most": MOST})
    return ids


def verified(request: HttpRequest, ids: Sequence[int]) -> HttpResponseBase:
    """A line of ticks for each record, computed from the stored bytes."""
    rows = visible(request_viewer(request), Entry.objects.filter(id__in=ids)).select_related("log")
    entries = list(rows.order_by("id"))
    if len(entries) != len(ids):
        raise NotFound("not_found", _("There is no such record."))
    verdicts = [(entry, record_url(entry), entry_verdict(entry)) for entry in entries]
    context = admin.site.each_context(request) | {
        "title": _("Verified records"),
        "verdicts": verdicts,
        "failed": sum(verdict.verdict == "failed" for _entry, _url, verdict in verdicts),
        "pending": sum(verdict.verdict == "pending" for _entry, _url, verdict in verdicts),
        "back": request.get_full_path(),
    }
    return TemplateResponse(request, "console/verified.html", context)
