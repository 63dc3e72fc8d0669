"""What the endpoints of the ledger and of the apps above it share: callers, answers, the id of a request."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, cast

import orjson
from django.conf import settings
from django.http import HttpResponse

from ecp_project.api.parsers import (
    JSON,
    NDJSON,
)
from ecp_project.api.views import ApiView
from ecp_project.kernel.errors import BadRequest, EcpError, NotFound
from ledger import sequencer
from ledger.api.authentication import (
    ApiKeyAuthentication,
    SessionAuthentication,
    scope_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase
    from rest_framework.request import Request

    from ecp_project.api.authentication import Principal
    from ledger.selectors.entries import OrgScope
    from ledger.sequencer import Outcome, Stored

TEXT = "text/plain"
READERS = ("viewer", "auditor", "operator", "manufacturer", "admin")
# Requests that wait for something may together hold a quarter of a process's threads (LEDGER section 9).
waiting = threading.BoundedSemaphore(max(1, settings.ECP_WEB_THREADS // 4))


class LedgerView(ApiView):
    """A view whose callers are machines with a key or staff with a session."""

    authentication_classes = [ApiKeyAuthentication, SessionAuthentication]

    def appends_one(self, request: HttpRequest) -> bool:  # noqa: ARG002 - for those that do
        """Whether it brings the batcher one work, which shares its commit with those of other requests."""
        return False

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not self.appends_one(request):
            return super().dispatch(request, *args, **kwargs)
        # Told before anything else is done: the sooner the batcher knows, the more share one commit.
        with sequencer.batcher.building():
            return super().dispatch(request, *args, **kwargs)

    def principal(self, request: Request) -> Principal:
        found: Principal = cast("Principal", request.auth)
        if found.organisation_id is None:
            raise NotFound("not_found", "you are a member of no organisation")
        return found

    def scope(self, request: Request) -> OrgScope:
        return scope_of(self.principal(request))


def json_answer(document: Any, status: int = 200) -> HttpResponse:
    return HttpResponse(orjson.dumps(document), status=status, content_type=JSON)


def receipt_answer(document: dict[str, Any], stored: Stored) -> HttpResponse:
    told = {"warnings": stored.warnings} if stored.warnings else {}
    response = json_answer(document | told, 200 if stored.is_replay else 201)
    if stored.is_replay:
        response.headers["Idempotency-Replayed"] = "true"
    response.headers["Location"] = document["entry_url"]
    return response


def batch_answer(outcomes: Sequence[Outcome]) -> HttpResponse:
    """One line per line, in order; 207 as soon as one of them failed."""
    lines, failed = [], False
    for number, outcome in enumerate(outcomes, start=1):
        if isinstance(outcome, EcpError):
            failed = True
            document = {"line": number} | outcome.document()
        else:
            document = {
                "line": number,
                "status": 200 if outcome.is_replay else 201,
                "id": str(outcome.uid),
                "seq": outcome.seq,
                "leaf_hash": outcome.leaf_hash.hex(),
                "stmt_digest": outcome.stmt_digest,
            }
            if outcome.is_replay:
                document["replayed"] = True
            if outcome.warnings:
                document["warnings"] = outcome.warnings
        lines.append(orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE))
    return HttpResponse(b"".join(lines), status=207 if failed else 200, content_type=NDJSON)


def idempotency_key(request: Request) -> str | None:
    """Value of the header, which some clients put into quotes."""
    key: str | None = request.META.get("HTTP_IDEMPOTENCY_KEY")
    return None if key is None else key.removeprefix('"').removesuffix('"')


def with_idempotency_key(request: Request, document: dict[str, Any]) -> dict[str, Any]:
    """The header's UUID becomes the id of a record that has none; two different ones are refused."""
    key = idempotency_key(request)
    if key is None:
        return document
    if "id" in document and document["id"] != key:
        raise BadRequest("idempotency_mismatch", "Idempotency-Key and id differ", pointer="/id")
    return document | {"id": key}


def actor_of(principal: Principal) -> str:
    if principal.agent_slug is not None:
        return f"agent:{principal.agent_slug}"
    if principal.pseudonym is not None:
        return f"staff:{principal.pseudonym}"
    return f"system:{principal.key_prefix or 'ecp'}"
