"""The public transparency page: for strangers, without cookie, session or script (CONSOLE section 13)."""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.http import HttpResponse
from django.template.loader import render_to_string
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from ecp_project.api.problems import refusal
from ecp_project.api.throttling import client_network, take
from ecp_project.console.months import months_of
from ecp_project.console.rollups import counted_size
from ecp_project.kernel.errors import EcpError
from ledger.core.entry import EntrySyntax, parse_entry
from ledger.keys import verifiers
from ledger.selectors.assurance import events_of
from ledger.selectors.console import headline, kind_in_words
from ledger.selectors.entries import published_log
from ledger.selectors.facets import ZONES
from ledger.selectors.integrity import entry_verdict
from ledger.selectors.proofs import newest_checkpoint, proof_text
from ledger.selectors.public import public_entry, public_logs, signed_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest

    from ledger.models import Entry, Log

CACHE = "public, max-age=60"


def _open(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Limits strangers as the static log does, and answers refusals as pages."""

    @wraps(view)
    def answer(request: HttpRequest, **names: Any) -> HttpResponse:
        try:
            take("static", client_network(request.META))
            found = view(request, **names)
        except EcpError as problem:
            return refusal(request, problem)
        if found.status_code == 200:  # noqa: PLR2004 - OK
            found.headers["Cache-Control"] = CACHE
        return found

    return require_safe(answer)


def _page(template: str, context: dict[str, Any], status: int = 200) -> HttpResponse:
    # Without the request: its context processors would open the session.
    return HttpResponse(render_to_string(template, context), status=status)


@_open
def logs(request: HttpRequest) -> HttpResponse:
    del request
    rows = [(log, newest_checkpoint(log.pk)) for log in public_logs()]
    return _page("public/logs.html", {"title": _("Public logs"), "logs": rows})


@_open
def log(request: HttpRequest, slug: str) -> HttpResponse:
    found = published_log(slug, None)
    text = request.GET.get("q", "").strip()
    record, problem = None, None
    if text:
        try:
            record = _record(public_entry(log=found, text=text))
        except EcpError as error:
            problem = error
    signed, zones = newest_checkpoint(found.pk), (*ZONES, "")
    context = {
        "title": found.organisation.title,
        "log": found,
        "signed": signed,
        "signed_at": signed and signed_at(log_id=found.pk, size=signed.size),
        "vkeys": [key.vkey for key in verifiers(settings.ECP_LOG_PUBLIC_KEYS, found.origin)],
        "zones": ZONES,
        "months": months_of(log=found, zones=zones),
        "counted": counted_size(found.pk),
        "events": events_of(log=found),
        "prefix": f"{settings.ECP_BASE_URL}/log/{found.slug}",
        "q": text,
        "record": record,
        "problem": problem,
    }
    return _page("public/log.html", context, problem.status if problem else 200)


@_open
def entry(request: HttpRequest, slug: str, seq: int) -> HttpResponse:
    del request
    found = published_log(slug, None)
    raw = bytes(public_entry(log=found, text=str(seq)).entry)
    return _file(found, seq, "entry.json", raw)


@_open
def proof(request: HttpRequest, slug: str, seq: int) -> HttpResponse:
    del request
    found = published_log(slug, None)
    public_entry(log=found, text=str(seq))
    return _file(found, seq, "tlog-proof", proof_text(log=found, seq=seq).encode())


def _file(found: Log, seq: int, ending: str, data: bytes) -> HttpResponse:
    answer = HttpResponse(data, content_type="application/octet-stream")
    answer.headers["Content-Disposition"] = f'attachment; filename="{found.slug}-{seq}.{ending}"'
    return answer


def _record(found: Entry) -> dict[str, Any]:
    """The public side of an entry: what the log shows to everybody, in words."""
    try:
        stmt = parse_entry(bytes(found.entry)).stmt
    except EntrySyntax:
        stmt = {}
    return {
        "entry": found,
        "what": kind_in_words(found.kind, stmt),
        "text": headline(stmt),
        "verdict": entry_verdict(found),
    }
