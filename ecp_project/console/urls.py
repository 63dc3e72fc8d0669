"""Addresses beside the admin's own: the dashboard API, what leaves the console, and private values.

A list is exported by POST on its own address; files, packs and print sheets have addresses of theirs. Record
pages are the ledger's, with the private values that a working session has opened put in by the console.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from django.urls import path

from ecp_project.api.methods import takes
from ecp_project.console.dashboard_api import DashboardChart, DashboardSummary
from ecp_project.console.views import context_policy, data_subjects, evidence, exports, reveal, selected
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
    view, read = site.admin_view, _reading(site)
    found = []
    for name, model in LISTS.items():
        only = model is Decision
        found += [
            path(f"ledger/{name}/", view(_list_or_export(site, model)), name=f"ledger_{name}_changelist"),
            path(
                f"ledger/{name}/<entry_id>/print/",
                read(partial(sheet, only_decisions=only)),
                name=f"ledger_{name}_print",
            ),
        ]
    return [
        *found,
        path("exports/", read(exports.export_list), name="console_exports"),
        path("exports/<uuid:id_>/file/", read(exports.export_file), name="console_export_file"),
        path(
            "exports/<uuid:id_>/manifest.json", read(exports.export_manifest), name="console_export_manifest"
        ),
        path("evidence/", view(takes("GET", "POST")(evidence.evidence_page)), name="console_evidence"),
        path("evidence/<uuid:id_>/file/", read(evidence.evidence_file), name="console_evidence_file"),
    ]


def _reading(site: AdminSite) -> Callable[[Any], Any]:
    return lambda page: site.admin_view(takes("GET")(page))


def people_urls(site: AdminSite) -> list[Any]:
    """Private values, the people they are about, and what the policy lets everybody see."""
    both, read, sent = takes("GET", "POST"), _reading(site), takes("POST")
    view = site.admin_view
    records = []
    for name, model in LISTS.items():
        entries = site.get_model_admin(model)
        for part, page in (("change", entries.change_view), ("annotate", entries.annotate_view)):  # type: ignore[attr-defined]  # the ledger's own class
            records.append(
                path(
                    f"ledger/{name}/<path:object_id>/{part}/",
                    view(partial(reveal.record_page, page=page)),
                    name=f"ledger_{name}_{part}",
                )
            )
    return [
        *records,
        path("reveal/", view(both(reveal.sessions)), name="reveal"),
        path("reveal/end/", view(sent(reveal.end)), name="reveal_end"),
        path("reveal/<uuid:session_id>/list/", read(reveal.records), name="reveal_list"),
        path("data-subjects/", view(both(data_subjects.page)), name="data_subjects"),
        path("data-subjects/pack/", view(sent(data_subjects.pack)), name="data_subject_pack"),
        path("data-subjects/erasures/", view(sent(data_subjects.propose)), name="erasure_propose"),
        path("data-subjects/erasures/<int:pk>/", view(sent(data_subjects.decide)), name="erasure_decide"),
        path("context-policy/", view(both(context_policy.page)), name="context_policy"),
    ]


def _list_or_export(site: AdminSite, model: type[Entry]) -> Callable[[HttpRequest], HttpResponseBase]:
    """The list of the ledger's own admin, which knows nothing of what the console hands over."""

    def answer(request: HttpRequest) -> HttpResponseBase:
        if request.method == "POST" and "format" in request.POST:
            return exports.list_post(request, only_decisions=model is Decision)
        if request.method == "POST" and "action" in request.POST:
            return selected.act(request, only_decisions=model is Decision)
        if request.method == "POST":
            return exports.nothing_asked(request)
        return site.get_model_admin(model).changelist_view(request)

    return answer
