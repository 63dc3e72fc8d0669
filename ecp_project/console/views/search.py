"""The look-up box of the header, and short addresses of records (CONSOLE sections 3 and 4.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.http import Http404, HttpResponseRedirect
from django.urls import reverse

from ecp_project.api.problems import refusal
from ecp_project.kernel.errors import BadRequest, EcpError
from ledger.changelist import request_viewer
from ledger.listpage import parameters_of
from ledger.recordpage import record_url
from ledger.selectors.lookup import Found, entry_at, entry_named, hash_found, record_found

if TYPE_CHECKING:
    from uuid import UUID

    from django.http import HttpRequest, HttpResponse


def look_up(request: HttpRequest) -> HttpResponse:
    """To the record that the text names; any other text becomes the query of the decision log."""
    try:
        given = parameters_of(request)
        if unknown := sorted(set(given) - {"q", "log"}):
            raise BadRequest("unknown_key", f"{unknown[0][:64]} is no parameter of the look-up.")
        text, slug = given.get("q", "").strip(), given.get("log", "")
        found = record_found(viewer=request_viewer(request), text=text, slug=slug)
    except EcpError as problem:
        return refusal(request, problem)
    if target := _address_of(found):
        return HttpResponseRedirect(target)
    query = urlencode({name: value for name, value in (("log", slug), ("q", text)) if value})
    target = reverse("admin:ledger_decision_changelist")
    return HttpResponseRedirect(f"{target}?{query}" if query else target)


def record(request: HttpRequest, uid: UUID) -> HttpResponse:
    return _to(Found(entry_named(viewer=request_viewer(request), uid=uid)))


def position(request: HttpRequest, log: str, seq: int) -> HttpResponse:
    return _to(Found(entry_at(viewer=request_viewer(request), slug=log, seq=seq)))


def by_hash(request: HttpRequest, digest: str) -> HttpResponse:
    try:
        return _to(hash_found(viewer=request_viewer(request), digest=bytes.fromhex(digest)))
    except EcpError as problem:
        return refusal(request, problem)


def _to(found: Found) -> HttpResponse:
    target = _address_of(found)
    if not target:
        raise Http404
    return HttpResponseRedirect(target)


def _address_of(found: Found) -> str:
    if found.entry is not None:
        return record_url(found.entry)
    if found.checkpoint_log is not None:
        return f"{reverse('admin:integrity')}?log={found.checkpoint_log.slug}"
    return ""
