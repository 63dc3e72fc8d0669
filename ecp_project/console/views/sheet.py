"""The print sheet of a record: what it says, what happened since, and how it was checked, on paper."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.http import Http404, HttpResponse
from django.template.response import TemplateResponse

from ecp_project.api.problems import refusal
from ecp_project.console.views.evidence import MAX_ID_DIGITS
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import EcpError
from ledger.changelist import request_viewer
from ledger.recordpage import record_url, told
from ledger.selectors.integrity import entry_verdict
from ledger.selectors.records import record_of

if TYPE_CHECKING:
    from django.http import HttpRequest


def sheet(request: HttpRequest, entry_id: str, *, only_decisions: bool) -> HttpResponse:
    if not (entry_id.isascii() and entry_id.isdecimal() and len(entry_id) <= MAX_ID_DIGITS):
        raise Http404
    try:
        record = record_of(
            viewer=request_viewer(request), entry_id=int(entry_id), only_decisions=only_decisions
        )
    except EcpError as problem:
        return refusal(request, problem)
    context = admin.site.each_context(request) | {
        "title": record.what,
        "record": record,
        "timeline": told(record),
        "verdict": entry_verdict(record.entry),
        "leaf_hash": bytes(record.entry.leaf_hash).hex(),
        "address": request.build_absolute_uri(record_url(record.entry)),
        "now": utc_now(),
    }
    return TemplateResponse(request, "print/record.html", context)
