"""Agents of an organisation: listed and registered (LEDGER section 13)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema

from ecp_project.api.parsers import (
    read_document,
)
from ecp_project.api.permissions import allow
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import BadRequest
from ledger.api import requests
from ledger.api.base import LedgerView, actor_of, json_answer
from ledger.selectors import entries
from ledger.services import identities

if TYPE_CHECKING:
    from django.http import HttpResponse
    from rest_framework.request import Request


AGENT_READERS = ("auditor", "operator", "admin")


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
