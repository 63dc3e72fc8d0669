"""Decisions: recorded singly or in batches, listed, proved, annotated, erased (LEDGER sections 9, 13)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema

from ecp_project.api.pagination import CursorSeal, page_size
from ecp_project.api.parsers import (
    JSON,
    NDJSON,
    read_document,
    read_lines,
)
from ecp_project.api.permissions import allow
from ecp_project.api.renderers import serves
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import BadRequest, NotFound
from ledger.api import requests
from ledger.api.authentication import (
    default_log_of,
)
from ledger.api.base import (
    READERS,
    TEXT,
    LedgerView,
    actor_of,
    batch_answer,
    json_answer,
    receipt_answer,
    waiting,
    with_idempotency_key,
)
from ledger.core.decision import PRIVATE_MEMBERS, DecisionRecord
from ledger.models import ErasureBasis
from ledger.selectors import entries
from ledger.selectors.entries import EntryFilter
from ledger.services.annotations import annotation_add
from ledger.services.erasure import erasure_request
from ledger.services.ledger import TransparencyLedger

if TYPE_CHECKING:
    from django.http import HttpRequest
    from rest_framework.request import Request


class DecisionList(LedgerView):
    """Record one decision, or list what was decided."""

    def appends_one(self, request: HttpRequest) -> bool:
        return request.method == "POST"

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
