"""The one admin site of ECP, mounted at `/console/`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.admin import AdminSite
from django.utils.translation import gettext_lazy as _

from ledger.changelist import request_viewer
from ledger.selectors.console import logs_for

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.template.response import TemplateResponse

# What people come for first; everything that is not named follows by name.
MENU = (
    "Decision", "Entry", "Log", "ErasureRequest", "Agent", "AgentKey", "ApiKey", "Organisation", "Membership",
)  # fmt: skip


class ConsoleSite(AdminSite):
    site_title = _("ECP console")
    site_header = _("ECP console")
    index_title = _("Overview")
    site_url = None  # there is no other front end to go to
    empty_value_display = "-"

    def has_permission(self, request: HttpRequest) -> bool:
        """Active staff with a membership.

        A superuser too acts only inside organisations he is a member of.
        """
        user: Any = request.user
        return bool(user.is_active and user.is_staff and request_viewer(request).roles)

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        states = logs_for(request_viewer(request))
        return super().index(request, {"states": states, **(extra_context or {})})

    def get_urls(self) -> list[Any]:
        from ecp_project.console.urls import hand_over_urls  # noqa: PLC0415 - its views register with this site

        return [*hand_over_urls(self), *super().get_urls()]

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        apps = super().get_app_list(request, app_label)
        for app in apps:
            for item in app["models"]:
                item["name"] = getattr(self._registry[item["model"]], "title", "") or item["name"]
            app["models"].sort(key=lambda item: _place(item["object_name"]))
        return sorted(apps, key=lambda app: app["app_label"] != "ledger")


def _place(object_name: str) -> int:
    return MENU.index(object_name) if object_name in MENU else len(MENU)
