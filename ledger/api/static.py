"""The static log of C2SP tlog-tiles, and the well-known keys: bytes that any proxy may keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema

from ecp_project.api.permissions import Public
from ecp_project.api.renderers import serves
from ecp_project.kernel.errors import NotFound
from ledger.api.base import TEXT, LedgerView, json_answer
from ledger.api.logs import vkeys
from ledger.core.merkle import ProofInvalid
from ledger.core.tiles import parse_tile_path
from ledger.selectors import entries, proofs
from ledger.selectors.entries import OrgScope

if TYPE_CHECKING:
    from rest_framework.request import Request

    from ecp_project.api.authentication import Principal
    from ledger.models import Log

BYTES = "application/octet-stream"


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
