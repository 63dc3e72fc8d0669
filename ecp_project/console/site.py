"""The one admin site of ECP, mounted at `/console/`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.admin import AdminSite
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django.http import HttpRequest


class ConsoleSite(AdminSite):
    site_title = _("ECP console")
    site_header = _("ECP console")
    index_title = _("Overview")
    empty_value_display = "-"

    def has_permission(self, request: HttpRequest) -> bool:
        """Active staff with a membership.

        A superuser too acts only inside organisations he is a member of.
        """
        user: Any = request.user
        return bool(user.is_active and user.is_staff and user.memberships.exists())
