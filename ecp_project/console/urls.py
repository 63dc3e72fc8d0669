"""Addresses beside the admin's own: the dashboard API, and what leaves the console.

A list is exported by POST on its own address; files, packs and print sheets have addresses of theirs.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from django.urls import path

from ecp_project.console.dashboard_api import DashboardChart, DashboardSummary
from ecp_project.console.views import evidence, exports, selected
from ecp_project.console.views.sheet import sheet
from ledger.models import Decision, Entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.admin import AdminSite
    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

urlpatterns = [
    path("api/v1/dashboard/summary/", DashboardSummary.as_view(), name="dashboard-summary"),
    path("api/v1/dashboard/<str:chart>/", DashboardChart.as_view(), name="dashboard-chart"),
]
LISTS: dict[str, type[Entry]] = {"decision": Decision, "entry": Entry}


def hand_over_urls(site: AdminSite) -> list[Any]:
    view = site.admin_view
    found = []
    for name, model in LISTS.items():
        only = model is Decision
        found += [
            path(f"ledger/{name}/", view(_list_or_export(site, model)), name=f"ledger_{name}_changelist"),
            path(
                f"ledger/{name}/<entry_id>/print/",
                view(partial(sheet, only_decisions=only)),
                name=f"ledger_{name}_print",
            ),
        ]
    return [
        *found,
        path("exports/", view(exports.export_list), name="console_exports"),
        path("exports/<uuid:id_>/file/", view(exports.export_file), name="console_export_file"),
        path(
            "exports/<uuid:id_>/manifest.json", view(exports.export_manifest), name="console_export_manifest"
        ),
        path("evidence/", view(evidence.evidence_page), name="console_evidence"),
        path("evidence/<uuid:id_>/file/", view(evidence.evidence_file), name="console_evidence_file"),
    ]


def _list_or_export(site: AdminSite, model: type[Entry]) -> Callable[[HttpRequest], HttpResponseBase]:
    """The list of the ledger's own admin, which knows nothing of what the console hands over."""

    def answer(request: HttpRequest) -> HttpResponseBase:
        if request.method == "POST" and "format" in request.POST:
            return exports.list_post(request, only_decisions=model is Decision)
        if request.method == "POST" and "action" in request.POST:
            return selected.act(request, only_decisions=model is Decision)
        return site.get_model_admin(model).changelist_view(request)

    return answer
