"""The live feed's addresses: who may listen, and the same news for browsers that cannot (CONSOLE section 10).

Both answer machines: a browser's script asks, so a stranger gets 401 and never the sign-in page.
"""

from __future__ import annotations

import re
from functools import wraps
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib import admin
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse

from ecp_project.api.metrics import THROTTLED
from ecp_project.api.problems import as_problem, response_of
from ecp_project.console.sse import DOOR, State
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import (
    BadRequest,
    MethodNotAllowed,
    NotAuthenticated,
    PermissionDenied,
    RateLimited,
)
from ledger.changelist import request_viewer
from ledger.listpage import parameters_of
from ledger.selectors.console import log_state
from ledger.selectors.lists import fresh

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

    from ecp_project.console.sse import Door
    from ledger.selectors.console import LogState

_SIZE = re.compile(r"[0-9]{1,16}")
LISTS = {"decision": True, "entry": False}


def _for_scripts(
    view: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Only for signed-in members, and every refusal as a problem document."""

    @wraps(view)
    def answer(request: HttpRequest) -> HttpResponseBase:
        response: HttpResponseBase
        try:
            _admit(request)
            response = view(request)
        except Exception as error:  # noqa: BLE001 - the outermost edge of an address for machines
            problem = as_problem(error, {})
            if isinstance(problem, RateLimited):
                THROTTLED.labels(scope="stream").inc()
            response = response_of(problem, request)
        return _with_cors(request, response)

    return answer


def _admit(request: HttpRequest) -> None:
    request.get_host()  # refuses a host that is not ours, as pages do
    if not request.user.is_authenticated:
        raise NotAuthenticated("credentials_missing", "Sign in to the console.")
    if not admin.site.has_permission(request):
        raise PermissionDenied("role_missing")
    if request.method != "GET":
        raise MethodNotAllowed("method_not_allowed", "This address takes GET.")


def _with_cors(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Let pages of the console, and no others, read a stream on a port of its own, with their cookies."""
    if settings.ECP_STREAM_URL:
        response.headers["Vary"] = "Origin, Cookie"
        if request.headers.get("Origin") == settings.ECP_BASE_URL:
            response.headers["Access-Control-Allow-Origin"] = settings.ECP_BASE_URL
            response.headers["Access-Control-Allow-Credentials"] = "true"
    return response


def _asked(request: HttpRequest, *names: str) -> dict[str, str]:
    given = parameters_of(request)
    if unknown := sorted(set(given) - set(names)):
        raise BadRequest("unknown_key", f"{unknown[0][:64]} is no parameter of this address.")
    return given


def _size(text: str) -> int:
    if not _SIZE.fullmatch(text):
        raise BadRequest("invalid_cursor", "after is no size of a log.")
    return int(text)


def _log(request: HttpRequest, given: dict[str, str]) -> LogState:
    return log_state(request_viewer(request), given.get("log", ""))


@_for_scripts
def stream(request: HttpRequest) -> HttpResponseBase:
    """Let the client in, where there is a door; a web process has none."""
    given = _asked(request, "log", "after")
    known = [_size(text) for text in (given.get("after"), request.headers.get("Last-Event-ID")) if text]
    found = _log(request, given)
    door: Door | None = getattr(request, "scope", {}).get(DOOR)
    if door is None:
        return HttpResponse(status=204)  # tells an EventSource to give up; the page asks by polling then
    door.let_in(
        user=int(request.user.pk or 0),
        log_id=found.log.pk,
        log=found.log.slug,
        state=State(found.log.head.size, found.signed_size, found.log.mode),
        after=max(known, default=None),
    )
    return StreamingHttpResponse(  # what follows the head is not the view's to say
        (),
        content_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


@_for_scripts
def poll(request: HttpRequest) -> HttpResponse:
    """How far the log is; with `list`, how many of the new entries a list with this `q` would show."""
    given = _asked(request, "log", "after", "list", "q")
    found = _log(request, given)
    size, mode = found.log.head.size, found.log.mode
    after = min(size, _size(given.get("after") or str(size)))
    tag = f'"{size}"' if mode == "active" else f'"{size}-{mode}"'
    document: dict[str, Any] = {"size": size, "added": size - after, "mode": mode}
    if "list" not in given:
        if request.headers.get("If-None-Match") == tag:
            return HttpResponse(status=304, headers={"ETag": tag})
        return JsonResponse(document, headers={"ETag": tag})
    if given["list"] not in LISTS:
        raise BadRequest("bad_value", f"list takes: {', '.join(LISTS)}.")
    matching = fresh(
        viewer=request_viewer(request),
        parameters={"log": found.log.slug, "q": given.get("q", "")},
        only_decisions=LISTS[given["list"]],
        after=after,
        now=utc_now(),
    )
    return JsonResponse(document | {"matching": matching.count, "behind": matching.behind})
