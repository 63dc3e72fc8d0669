"""Charts on one page, each with its table, for a chosen range (CONSOLE section 11)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _

from ecp_project.api.problems import refusal
from ecp_project.console import dashboard
from ecp_project.console.figures import agents_figure, flow_figure
from ecp_project.console.views.desk import FULL, desk_of, parts_of
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import EcpError
from ecp_project.kernel.panels import Slot
from ledger.changelist import request_viewer

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


def page(request: HttpRequest) -> HttpResponse:
    try:
        desk = desk_of(request, request_viewer(request), utc_now(), FULL)
        figures: dict[str, Any] = {}
        if desk:
            about: dict[str, Any] = {"scope": desk.scope, "log": desk.log, "within": desk.within}
            figures["flow"] = flow_figure(dashboard.decision_flow(**about), desk.log)
            figures["charts"] = parts_of(request, desk, Slot.OVERVIEW_CHART)
            figures["activity"] = agents_figure(dashboard.agent_activity(**about), desk.log)
    except EcpError as problem:
        return refusal(request, problem)
    context = admin.site.each_context(request) | {"title": _("Analytics"), "desk": desk, **figures}
    return TemplateResponse(request, "console/analytics.html", context)
