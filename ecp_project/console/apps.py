"""The console is the Django admin with a site of its own; apps register with plain `@admin.register`."""

from __future__ import annotations

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class ConsoleAdminConfig(AdminConfig):
    default_site = "ecp_project.console.site.ConsoleSite"


class ConsoleConfig(AppConfig):
    """Static files of the console; its tables come with the pages that need them."""

    name = "ecp_project.console"
    label = "console"
    verbose_name = "Console"
