"""The overview: what waits, what is happening now, what happened last (CONSOLE section 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _

from ecp_project.api.problems import refusal
from ecp_project.console import dashboard, recent
from ecp_project.console.attention import attention
from ecp_project.console.figures import agents_figure, flow_figure
from ecp_project.console.links import ledger_url
from ecp_project.console.views.desk import FULL, desk_of, parts_of
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import EcpError
from ecp_project.kernel.panels import Slot
from ledger.changelist import request_viewer

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from ecp_project.console.views.desk import Desk

DECISIONS, ACTS, TOP_AGENTS = 10, 5, 8


def page(request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
    viewer = request_viewer(request)
    now = utc_now()
    try:
        desk = desk_of(request, viewer, now, FULL)
        figures = _figures(request, desk) if desk else {}
    except EcpError as problem:
        return refusal(request, problem)
    context = admin.site.each_context(request) | {
        "title": _("Overview"),
        "desk": desk,
        "items": attention(viewer=viewer, states=desk.states if desk else [], now=now),
        "agents_offered": desk.state.agents if desk else [],
        **figures,
        **(extra_context or {}),
    }
    return TemplateResponse(request, "console/overview.html", context)


def _figures(request: HttpRequest, desk: Desk) -> dict[str, Any]:
    waiting = {"waiting": parts_of(request, desk, Slot.ATTENTION)}
    if not desk.log.head.size:
        return waiting | {"parts": waiting["waiting"], "is_empty": True}
    tiles = parts_of(request, desk, Slot.OVERVIEW_TILE)
    charts = parts_of(request, desk, Slot.OVERVIEW_CHART)
    about: dict[str, Any] = {"scope": desk.scope, "log": desk.log}
    agents = agents_figure(dashboard.agent_activity(**about, within=desk.within), desk.log)
    return waiting | {
        "ledger_url": ledger_url(desk.log),
        "tiles": tiles,
        "charts": charts,
        "parts": [*waiting["waiting"], *tiles, *charts],
        "totals": {row.name: row.total for row in dashboard.summary(**about, within=desk.within).series},
        "pace": recent.pace(**about, now=desk.now),
        "proof": recent.proof_of(log=desk.log),
        "flow": flow_figure(dashboard.decision_flow(**about, within=desk.within), desk.log),
        "activity": agents,
        "shown_agents": agents.rows[:TOP_AGENTS],
        "decisions": recent.last_decisions(**about, number=DECISIONS),
        "acts": recent.last_staff_acts(**about, number=ACTS),
    }
