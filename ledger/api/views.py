"""REST endpoints of the ledger.

A view parses, calls one service or selector, and renders (LEDGER sections 9, 13).
"""

from __future__ import annotations

import hashlib
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, cast

import orjson
from django.conf import settings
from django.http import HttpResponse, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema

from ecp_project.api.pagination import CursorSeal, page_size
from ecp_project.api.parsers import (
    JSON,
    MAX_DOCUMENT,
    NDJSON,
    check_media_type,
    read_body,
    read_document,
    read_lines,
)
from ecp_project.api.permissions import Public, allow
from ecp_project.api.renderers import serves
from ecp_project.api.throttling import running
from ecp_project.api.views import ApiView
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import BadRequest, EcpError, NotFound
from ledger.api import requests
from ledger.api.authentication import (
    ApiKeyAuthentication,
    SessionAuthentication,
    default_log_of,
    scope_of,
)
from ledger.core.decision import PRIVATE_MEMBERS, DecisionRecord
from ledger.core.merkle import ProofInvalid
from ledger.core.tiles import parse_tile_path
from ledger.keys import verifiers
from ledger.models import ErasureBasis, Log
from ledger.selectors import entries, proofs
from ledger.selectors.entries import EntryFilter, OrgScope
from ledger.services import identities
from ledger.services.agentkeys import signed_append
from ledger.services.annotations import annotation_add
from ledger.services.erasure import erasure_request
from ledger.services.ledger import TransparencyLedger

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from django.http.response import HttpResponseBase
    from rest_framework.request import Request

    from ecp_project.api.authentication import Principal
    from ledger.sequencer import Outcome, Stored

TEXT = "text/plain"
BYTES = "application/octet-stream"
READERS = ("viewer", "auditor", "operator", "manufacturer", "admin")
EXPORTERS = ("auditor", "operator", "admin")
AGENT_READERS = ("auditor", "operator", "admin")
MAX_RANGE = 1_000

# Requests that wait for something may together hold a quarter of a process's threads (LEDGER section 9).
waiting = threading.BoundedSemaphore(max(1, settings.ECP_WEB_THREADS // 4))


class LedgerView(ApiView):
    """A view whose callers are machines with a key or staff with a session."""

    authentication_classes = [ApiKeyAuthentication, SessionAuthentication]

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


class DecisionList(LedgerView):
    """Record one decision, or list what was decided."""

    def get_permissions(self) -> list[Any]:
        if self.request.method == "POST":
            return [allow(scope="decisions:write", write=("operator",))()]
        return [allow(scope="decisions:read", read=READERS)()]

    @extend_schema(
        operation_id="decision_record",
        request=OpenApiTypes.OBJECT,
        responses={201: OpenApiTypes.OBJECT, 200: OpenApiTypes.OBJECT},
        parameters=[
            OpenApiParameter(
                "Idempotency-Key",
                location="header",
                description="UUIDv7 of the decision, when the body has no id.",
            ),
            OpenApiParameter(
                "Prefer",
                location="header",
                description="wait=N: wait up to N seconds for the signed receipt.",
            ),
        ],
    )
    def post(self, request: Request) -> HttpResponse:
        principal = self.principal(request)
        requests.parameters(request)
        document = read_document(request, private=PRIVATE_MEMBERS)
        record = DecisionRecord.from_document(with_idempotency_key(request, document))
        ledger = TransparencyLedger(default_log_of(principal))
        receipt = ledger.append(record, principal=principal, now=utc_now())
        seconds = requests.wait_seconds(request)
        if not seconds:
            return receipt_answer(receipt.document, receipt.stored)
        if not waiting.acquire(blocking=False):
            response = receipt_answer(receipt.document, receipt.stored)
            response.headers["Retry-After"] = "1"
            return response
        try:
            signed = ledger.wait_signed(receipt.stored, seconds)
        finally:
            waiting.release()
        response = receipt_answer(signed.document, receipt.stored)
        response.headers["Preference-Applied"] = f"wait={seconds}"
        return response

    @extend_schema(
        operation_id="decision_list",
        responses={200: OpenApiTypes.OBJECT},
        parameters=[
            OpenApiParameter(name, description=text)
            for name, text in (
                ("agent", "Agent slug."),
                ("organisation", "Organisation slug; others than your own find nothing."),
                ("action", "Exact action."),
                ("kind", "Statement kind; default ecp.decision/1."),
                ("zone", "Liability zone in force."),
                ("friction", "Advice level: low, medium or high."),
                ("since", "Received at or after (UTC)."),
                ("until", "Received before (UTC)."),
                ("q", "Words in action, explanation and context summary."),
                ("page_size", "1 to 200, default 50."),
                ("cursor", "From `next` of the page before."),
            )
        ],
    )
    def get(self, request: Request) -> HttpResponse:
        scope = self.scope(request)
        values = requests.parameters(
            request, "agent", "organisation", "action", "kind", "zone", "friction", "since", "until", "q",
            "page_size", "cursor",
        )  # fmt: skip
        size = page_size(values)
        seal = CursorSeal("decision-list", scope.organisation_id, values)
        filters = EntryFilter(
            agent=values.get("agent"),
            action=values.get("action"),
            kind=values.get("kind"),
            zone=values.get("zone"),
            friction=values.get("friction"),
            since=requests.instant(values, "since"),
            until=requests.instant(values, "until"),
            q=values.get("q"),
        )
        before = seal.read(values.get("cursor"))
        foreign = values.get("organisation") not in {None, entries.organisation(scope=scope).slug}
        page = [] if foreign else entries.entry_page(scope=scope, filters=filters, before=before, size=size)
        rows, more = page[:size], len(page) > size
        sizes = entries.signed_sizes([row.log_id for row in rows])
        return json_answer(
            {
                "results": [entries.entry_document(row, sizes[row.log_id]) for row in rows],
                "next": seal.write(rows[-1].id) if more else None,
            }
        )


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


class DecisionBatch(LedgerView):
    renderer_classes = serves(NDJSON)
    permission_classes = [allow(scope="decisions:write", write=("operator",))]

    def rate_scope(self, request: Request) -> str:
        return "append_batch" if request.method == "POST" else "read"

    @extend_schema(
        operation_id="decision_batch", request=OpenApiTypes.STR, responses={(200, NDJSON): OpenApiTypes.STR}
    )
    def post(self, request: Request) -> HttpResponse:
        principal = self.principal(request)
        lines = read_lines(request)
        ledger = TransparencyLedger(default_log_of(principal))
        return batch_answer(ledger.append_many(lines, principal=principal, now=utc_now()))


class DecisionDetail(LedgerView):
    permission_classes = [allow(scope="decisions:read", read=READERS)]

    @extend_schema(operation_id="decision_get", responses={200: OpenApiTypes.OBJECT})
    def get(self, request: Request, uid: str) -> HttpResponse:
        entry = entries.decision_of(scope=self.scope(request), uid=requests.uid_of(uid))
        size = entries.signed_sizes([entry.log_id])[entry.log_id]
        return json_answer(entries.entry_document(entry, size))


class DecisionPublic(LedgerView):
    """The entry's exact bytes: they hold no private value by construction."""

    permission_classes = [allow(scope="decisions:read", read=READERS)]

    @extend_schema(operation_id="decision_public", responses={200: OpenApiTypes.BINARY})
    def get(self, request: Request, uid: str) -> HttpResponse:
        entry = entries.decision_of(scope=self.scope(request), uid=requests.uid_of(uid))
        response = HttpResponse(bytes(entry.entry), content_type=JSON)
        response.headers["ETag"] = f'"{bytes(entry.leaf_hash).hex()}"'
        return response


class DecisionReceipt(LedgerView):
    renderer_classes = serves(TEXT)
    permission_classes = [allow(scope="decisions:read", read=READERS)]

    @extend_schema(operation_id="decision_receipt", responses={200: OpenApiTypes.OBJECT})
    def get(self, request: Request, uid: str) -> HttpResponse:
        entry = entries.entry_of(scope=self.scope(request), uid=requests.uid_of(uid))
        receipt = TransparencyLedger(entry.log).receipt(entry.uid)
        if "text/plain" not in request.META.get("HTTP_ACCEPT", ""):
            return json_answer(receipt.document)
        if "tlog_proof" not in receipt.document:
            raise NotFound("not_signed_yet", "the next checkpoint covers this entry", retry_after=1)
        return HttpResponse(receipt.document["tlog_proof"], content_type="text/plain; charset=utf-8")


class DecisionAnnotations(LedgerView):
    permission_classes = [allow(scope="decisions:read", read=READERS)]

    def get_permissions(self) -> list[Any]:
        if self.request.method == "POST":
            return [allow(scope="decisions:write", write=("auditor", "operator", "manufacturer"))()]
        return list(super().get_permissions())

    @extend_schema(operation_id="annotation_list", responses={200: OpenApiTypes.OBJECT})
    def get(self, request: Request, uid: str) -> HttpResponse:
        entry = entries.entry_of(scope=self.scope(request), uid=requests.uid_of(uid))
        size = entries.signed_sizes([entry.log_id])[entry.log_id]
        found = entries.annotations_of(log_id=entry.log_id, uid=entry.uid)
        return json_answer({"results": [entries.entry_document(row, size) for row in found]})

    @extend_schema(
        operation_id="annotation_add", request=OpenApiTypes.OBJECT, responses={201: OpenApiTypes.OBJECT}
    )
    def post(self, request: Request, uid: str) -> HttpResponse:
        principal = self.principal(request)
        document = with_idempotency_key(request, read_document(request))
        entry = entries.entry_of(scope=self.scope(request), uid=requests.uid_of(uid))
        receipt = annotation_add(
            entry=entry, document=document, principal=principal, actor=actor_of(principal), now=utc_now()
        )
        return receipt_answer(receipt.document, receipt.stored)


def actor_of(principal: Principal) -> str:
    if principal.agent_slug is not None:
        return f"agent:{principal.agent_slug}"
    if principal.pseudonym is not None:
        return f"staff:{principal.pseudonym}"
    return f"system:{principal.key_prefix or 'ecp'}"


class DecisionErase(LedgerView):
    permission_classes = [allow(scope=None, write=("operator", "admin"))]

    @extend_schema(
        operation_id="decision_erase", request=OpenApiTypes.OBJECT, responses={202: OpenApiTypes.OBJECT}
    )
    def post(self, request: Request, uid: str) -> HttpResponse:
        principal = self.principal(request)
        document = read_document(request)
        basis = document.get("basis")
        if set(document) - {"basis"} or basis not in ErasureBasis.values:
            raise BadRequest(
                "bad_value", f"basis must be one of {', '.join(ErasureBasis.values)}", pointer="/basis"
            )
        entry = entries.decision_of(scope=self.scope(request), uid=requests.uid_of(uid))
        stored = erasure_request(
            log=entry.log, uid=entry.uid, basis=basis, requested_by=actor_of(principal), now=utc_now()
        )
        return json_answer({"id": stored.pk, "status": "waiting for approval by another person"}, 202)


class LogList(LedgerView):
    permission_classes = [allow(scope="ledger:read", read=READERS)]

    @extend_schema(operation_id="log_list", responses={200: OpenApiTypes.OBJECT})
    def get(self, request: Request) -> HttpResponse:
        requests.parameters(request)
        return json_answer(
            {"results": [log_document(log) for log in entries.logs(scope=self.scope(request))]}
        )


class LogDetail(LedgerView):
    permission_classes = [allow(scope="ledger:read", read=READERS)]

    @extend_schema(operation_id="log_get", responses={200: OpenApiTypes.OBJECT})
    def get(self, request: Request, slug: str) -> HttpResponse:
        return json_answer(log_document(entries.log_of(scope=self.scope(request), slug=slug)))


def log_document(log: Log) -> dict[str, Any]:
    signed = proofs.newest_checkpoint(log.id)
    return {
        "slug": log.slug,
        "origin": log.origin,
        "size": log.head.size,
        "signed_size": signed.size if signed else 0,
        "root": signed.root.hex() if signed else None,
        "mode": log.mode,
        "is_public": log.is_public,
        "vkeys": vkeys(log.origin),
    }


def vkeys(origin: str) -> list[str]:
    return [verifier.vkey for verifier in verifiers(settings.ECP_LOG_PUBLIC_KEYS, origin)]


class LogEntries(LedgerView):
    renderer_classes = serves(NDJSON)

    def get_permissions(self) -> list[Any]:
        if self.request.method == "POST":
            return [allow(scope="decisions:write")()]
        return [allow(scope="ledger:read", read=READERS)()]

    def rate_scope(self, request: Request) -> str:
        is_batch = request.META.get("CONTENT_TYPE", "").startswith(NDJSON)
        return "append_batch" if is_batch else super().rate_scope(request)

    @extend_schema(
        operation_id="entry_range",
        parameters=[OpenApiParameter("start", int), OpenApiParameter("count", int)],
        responses={(200, NDJSON): OpenApiTypes.STR},
    )
    def get(self, request: Request, slug: str) -> HttpResponse:
        values = requests.parameters(request, "start", "count")
        log = entries.log_of(scope=self.scope(request), slug=slug)
        start = requests.integer(values, "start", 0) or 0
        count = requests.integer(values, "count", 100) or 0
        if not 1 <= count <= MAX_RANGE:
            raise BadRequest("bad_value", f"count must be from 1 to {MAX_RANGE}")
        signed = proofs.newest_checkpoint(log.id)
        body = b"".join(
            bytes(entry) + b"\n" for entry in entries.entry_range(log=log, start=start, count=count)
        )
        response = HttpResponse(body, content_type=NDJSON)
        response.headers["ECP-Signed-Size"] = str(signed.size if signed else 0)
        return response

    @extend_schema(
        operation_id="entry_append", request=OpenApiTypes.OBJECT, responses={201: OpenApiTypes.OBJECT}
    )
    def post(self, request: Request, slug: str) -> HttpResponse:
        principal, now = self.principal(request), utc_now()
        ledger = TransparencyLedger(entries.log_of(scope=OrgScope(principal.organisation_id or 0), slug=slug))
        if request.META.get("CONTENT_TYPE", "").startswith(NDJSON):
            return batch_answer(ledger.append_signed(read_lines(request), principal=principal, now=now))
        check_media_type(request, JSON)
        body = read_body(request, MAX_DOCUMENT, "body_too_large")
        receipt = signed_append(
            ledger=ledger, body=body, key=idempotency_key(request), principal=principal, now=now
        )
        return receipt_answer(receipt.document, receipt.stored)


class InclusionProof(LedgerView):
    permission_classes = [allow(scope="ledger:read", read=READERS)]

    @extend_schema(
        operation_id="proof_inclusion",
        parameters=[OpenApiParameter("index", int, required=True), OpenApiParameter("size", int)],
        responses={200: OpenApiTypes.OBJECT},
    )
    def get(self, request: Request, slug: str) -> HttpResponse:
        values = requests.parameters(request, "index", "size")
        log = entries.log_of(scope=self.scope(request), slug=slug)
        return json_answer(
            proofs.inclusion(
                log=log, index=requests.required(values, "index"), size=requests.integer(values, "size")
            )
        )


class ConsistencyProof(LedgerView):
    permission_classes = [allow(scope="ledger:read", read=READERS)]

    @extend_schema(
        operation_id="proof_consistency",
        parameters=[OpenApiParameter("old", int, required=True), OpenApiParameter("new", int)],
        responses={200: OpenApiTypes.OBJECT},
    )
    def get(self, request: Request, slug: str) -> HttpResponse:
        values = requests.parameters(request, "old", "new")
        log = entries.log_of(scope=self.scope(request), slug=slug)
        return json_answer(
            proofs.consistency(
                log=log, old=requests.required(values, "old"), new=requests.integer(values, "new")
            )
        )


class LogExport(LedgerView):
    renderer_classes = serves(NDJSON)
    permission_classes = [allow(scope="export", read=EXPORTERS)]

    @extend_schema(
        operation_id="log_export",
        parameters=[OpenApiParameter("start", int), OpenApiParameter("count", int)],
        responses={(200, NDJSON): OpenApiTypes.BINARY},
    )
    def get(self, request: Request, slug: str) -> HttpResponseBase:
        values = requests.parameters(request, "start", "count")
        log = entries.log_of(scope=self.scope(request), slug=slug)
        signed, size = proofs.signed_or_404(log.id, None)
        start = requests.integer(values, "start", 0) or 0
        count = requests.integer(values, "count", size - start)
        if start >= size or count is None or not 1 <= count <= size - start:
            raise BadRequest("bad_value", f"start and count must stay below the signed size {size}")
        lease = ExitStack()
        lease.enter_context(running("export", log.organisation_id))
        lines = held(lease, export_lines(log, start, count, signed.note))
        response = StreamingHttpResponse(lines, content_type=NDJSON)
        response.headers["Content-Disposition"] = f'attachment; filename="{log.slug}-{start}-{count}.ndjson"'
        return response


def held(lease: ExitStack, lines: Iterator[bytes]) -> Iterator[bytes]:
    """Give the lease back with the last line, or when the client goes away."""
    with lease:
        yield from lines


def export_lines(log: Log, start: int, count: int, note: str) -> Iterator[bytes]:
    """Entry lines, then the trailer: a stream without one is torn."""
    digest = hashlib.sha256()
    for first in range(start, start + count, MAX_RANGE):
        rows = entries.entry_range(log=log, start=first, count=min(MAX_RANGE, start + count - first))
        chunk = b"".join(bytes(entry) + b"\n" for entry in rows)
        digest.update(chunk)
        yield chunk
    trailer = {
        "checkpoint": note,
        "count": count,
        "first": start,
        "log": log.origin,
        "sha256": digest.hexdigest(),
        "v": "ecp.export/1",
    }
    yield orjson.dumps(trailer, option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE)


class AgentList(LedgerView):
    permission_classes = [allow(scope="decisions:read", read=AGENT_READERS)]
    MEMBERS = frozenset({"slug", "title", "owner", "labels", "endpoint", "accepts_polls"})

    def get_permissions(self) -> list[Any]:
        if self.request.method == "POST":
            return [allow(scope=None, write=("operator", "admin"))()]
        return list(super().get_permissions())

    @extend_schema(operation_id="agent_list", responses={200: OpenApiTypes.OBJECT})
    def get(self, request: Request) -> HttpResponse:
        requests.parameters(request)
        rows = entries.agents(scope=self.scope(request)).order_by("slug")[:1000]
        return json_answer({"results": [agent_document(row) for row in rows]})

    @extend_schema(
        operation_id="agent_register", request=OpenApiTypes.OBJECT, responses={201: OpenApiTypes.OBJECT}
    )
    def post(self, request: Request) -> HttpResponse:
        document = read_document(request)
        for name in document:
            if name not in self.MEMBERS:
                raise BadRequest("unknown_field", f"{name} is not a member of an agent", pointer=f"/{name}")
        if "slug" not in document:
            raise BadRequest("missing_field", "slug is missing", pointer="/slug")
        kinds: dict[str, type] = {"labels": dict, "accepts_polls": bool}
        for name, value in document.items():
            if type(value) is not kinds.get(name, str):
                raise BadRequest("wrong_type", f"{name} has the wrong type", pointer=f"/{name}")
        agent = identities.agent_create(
            organisation=entries.organisation(scope=self.scope(request)),
            **document,
            actor=actor_of(self.principal(request)),
            now=utc_now(),
        )
        return json_answer(agent_document(agent), 201)


class AgentDetail(LedgerView):
    permission_classes = [allow(scope="decisions:read", read=AGENT_READERS)]

    @extend_schema(operation_id="agent_get", responses={200: OpenApiTypes.OBJECT})
    def get(self, request: Request, slug: str) -> HttpResponse:
        return json_answer(agent_document(entries.agent_of(scope=self.scope(request), slug=slug)))


def agent_document(agent: Any) -> dict[str, Any]:
    return {
        "slug": agent.slug,
        "title": agent.title,
        "status": agent.status,
        "owner": agent.owner,
        "labels": agent.labels,
        "accepts_polls": agent.accepts_polls,
    }


class StaticLogView(LedgerView):
    """C2SP static files: public logs without a key, others with `ledger:read`."""

    permission_classes = [Public]

    def log(self, request: Request, slug: str) -> Log:
        principal = cast("Principal | None", request.auth)
        scope = None
        if (
            principal is not None
            and principal.organisation_id is not None
            and ("ledger:read" in principal.scopes or principal.roles)
        ):
            scope = OrgScope(principal.organisation_id)
        return entries.published_log(slug, scope)


class StaticCheckpoint(StaticLogView):
    renderer_classes = serves(TEXT)

    @extend_schema(exclude=True)
    def get(self, request: Request, slug: str) -> HttpResponse:
        signed = proofs.newest_checkpoint(self.log(request, slug).id)
        if signed is None:
            raise NotFound("not_signed_yet", "no checkpoint was signed yet", retry_after=1)
        response = HttpResponse(signed.note, content_type="text/plain; charset=utf-8")
        response.headers["Cache-Control"] = "max-age=1"
        response.headers["Access-Control-Allow-Origin"] = "*"
        return response


class StaticTile(StaticLogView):
    renderer_classes = serves(BYTES)

    @extend_schema(exclude=True)
    def get(self, request: Request, slug: str, path: str) -> HttpResponse:
        log = self.log(request, slug)
        try:
            level, index, width = parse_tile_path(f"tile/{path}")
        except ProofInvalid:
            raise NotFound("not_found", "there is no such tile") from None
        if level == "entries":
            data = proofs.bundle(log=log, index=index, width=width)
        else:
            data = proofs.tile(log=log, level=level, index=index, width=width)
        response = HttpResponse(data, content_type="application/octet-stream")
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        response.headers["Access-Control-Allow-Origin"] = "*"
        return response


class LogKeys(StaticLogView):
    """Convenience only: verifiers take their keys from elsewhere."""

    @extend_schema(exclude=True)
    def get(self, request: Request) -> HttpResponse:
        principal = cast("Principal | None", request.auth)
        scope = OrgScope(principal.organisation_id) if principal and principal.organisation_id else None
        logs = [
            {"slug": log.slug, "origin": log.origin, "prefix": f"/log/{log.slug}", "vkeys": vkeys(log.origin)}
            for log in entries.visible_logs(scope)
        ]
        return json_answer({"v": "ecp.log-keys/1", "logs": logs})
