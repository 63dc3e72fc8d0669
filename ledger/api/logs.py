"""Logs: their state, entries as bytes, proofs and the export (LEDGER sections 9, 13)."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import orjson
from django.conf import settings
from django.http import HttpResponse, StreamingHttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema

from ecp_project.api.parsers import (
    JSON,
    MAX_DOCUMENT,
    NDJSON,
    check_media_type,
    read_body,
    read_lines,
)
from ecp_project.api.permissions import allow
from ecp_project.api.renderers import serves
from ecp_project.api.throttling import running
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import BadRequest
from ledger.api import requests
from ledger.api.base import READERS, LedgerView, batch_answer, idempotency_key, json_answer, receipt_answer
from ledger.keys import verifiers
from ledger.selectors import entries, proofs
from ledger.selectors.entries import OrgScope
from ledger.services.agentkeys import signed_append
from ledger.services.ledger import TransparencyLedger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.http import HttpRequest
    from django.http.response import HttpResponseBase
    from rest_framework.request import Request

    from ledger.models import Log


EXPORTERS = ("auditor", "operator", "admin")
MAX_RANGE = 1_000


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


def is_ndjson(request: HttpRequest | Request) -> bool:
    return str(request.META.get("CONTENT_TYPE", "")).startswith(NDJSON)


def vkeys(origin: str) -> list[str]:
    return [verifier.vkey for verifier in verifiers(settings.ECP_LOG_PUBLIC_KEYS, origin)]


class LogEntries(LedgerView):
    renderer_classes = serves(NDJSON)

    def get_permissions(self) -> list[Any]:
        if self.request.method == "POST":
            return [allow(scope="decisions:write")()]
        return [allow(scope="ledger:read", read=READERS)()]

    def rate_scope(self, request: Request) -> str:
        return "append_batch" if is_ndjson(request) else super().rate_scope(request)

    def appends_one(self, request: HttpRequest) -> bool:
        return request.method == "POST" and not is_ndjson(request)

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
        if is_ndjson(request):
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
