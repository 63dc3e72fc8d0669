"""What waits for a person, a tab for each app that has such a thing (CONSOLE section 7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from ecp_project.api.problems import refusal
from ecp_project.console.views.desk import desk_of
from ecp_project.console.views.panels import failed_box, guarded, seen
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import EcpError, NotFound
from ecp_project.kernel.panels import Slot
from ledger.changelist import request_viewer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from django.http import HttpRequest, HttpResponse
    from django.utils.safestring import SafeString

    from ecp_project.kernel.panels import Panel, PanelContext

TAB = ("tab",)


@dataclass(frozen=True, slots=True)
class Tab:
    """`number` is None where the panel failed; `body` is drawn for the chosen tab alone."""

    key: str
    title: str
    number: int | None
    next_due_at: datetime | None
    body: SafeString


def page(request: HttpRequest) -> HttpResponse:
    try:
        viewer = request_viewer(request)
        desk = desk_of(request, viewer, utc_now(), TAB)
        panels = seen(Slot.REVIEW, {viewer.roles[desk.scope.organisation_id]}) if desk else []
        tabs = [_tab(request, panel, desk.about) for panel in panels if desk]
        tab = _chosen([tab for tab in tabs if tab], desk.own.get("tab", "") if desk else "")
    except EcpError as problem:
        return refusal(request, problem)
    context = admin.site.each_context(request) | {
        "title": _("Reviews"),
        "desk": desk,
        "tabs": [tab for tab in tabs if tab],
        "tab": tab,
    }
    return TemplateResponse(request, "console/reviews.html", context)


def _chosen(tabs: list[Tab], key: str) -> Tab | None:
    """The tab that is asked for, else the first in which something waits, else the first."""
    if key:
        found = next((tab for tab in tabs if tab.key == key), None)
        if found is None:
            raise NotFound("not_found", _("There is no such tab; the app that had it may be gone."))
        return found
    return next((tab for tab in tabs if tab.number), tabs[0] if tabs else None)


def _tab(request: HttpRequest, panel: Panel, about: PanelContext) -> Tab | None:
    def load() -> Tab | None:
        found: Any = panel.load(about)
        if found is None:
            return None
        items = sorted(found["items"], key=_due)
        shown: dict[str, Any] = dict(found) | {"items": items, "now": about.now}
        body = render_to_string(panel.template, shown, request)
        return Tab(panel.key, str(found["title"]), len(items), found.get("next_due_at"), body)

    failed: Tab | None = Tab(panel.key, panel.key, None, None, failed_box(request))
    return guarded(request, panel.key, load, failed)


def _due(item: Mapping[str, Any]) -> tuple[bool, Any]:
    """Oldest first; what is due at no time comes last."""
    due_at = item.get("due_at")
    return due_at is None, due_at.timestamp() if due_at else 0
