"""The figures behind the charts as JSON, `ecp.dashboard/1` (CONSOLE section 11)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema

from ecp_project.api.permissions import ROLES, allow
from ecp_project.console.dashboard import chart_document, dashboard_log, summary
from ecp_project.console.ranges import range_given
from ecp_project.kernel.clock import utc_now
from ledger.api import requests
from ledger.api.base import LedgerView, json_answer

if TYPE_CHECKING:
    from django.http import HttpResponse
    from rest_framework.request import Request

PARAMETERS = [
    OpenApiParameter("log", description="Slug of a log; default: the organisation's first."),
    OpenApiParameter(
        "since", description="Start: RFC 3339, a day, now, or now-24h (m, h, d, w). Default: now-24h."
    ),
    OpenApiParameter("until", description="End, in the same forms. Default: now."),
]


class DashboardView(LedgerView):
    permission_classes = [allow(scope="decisions:read", read=ROLES)]

    def given(self, request: Request) -> dict[str, Any]:
        """Scope, log and range of the request."""
        values = requests.parameters(request, "log", "since", "until")
        scope = self.scope(request)
        within = range_given(values, utc_now())
        return {"scope": scope, "log": dashboard_log(scope=scope, slug=values.get("log")), "within": within}


class DashboardSummary(DashboardView):
    @extend_schema(
        operation_id="dashboard_summary", parameters=PARAMETERS, responses={200: OpenApiTypes.OBJECT}
    )
    def get(self, request: Request) -> HttpResponse:
        return json_answer(summary(**self.given(request)).document())


class DashboardChart(DashboardView):
    @extend_schema(
        operation_id="dashboard_chart", parameters=PARAMETERS, responses={200: OpenApiTypes.OBJECT}
    )
    def get(self, request: Request, chart: str) -> HttpResponse:
        return json_answer(chart_document(**self.given(request), name=chart, now=utc_now()))
