"""The console is the Django admin with a site of its own; apps register with plain `@admin.register`."""

from __future__ import annotations

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import autodiscover_modules

from ecp_project.kernel import privacy
from ecp_project.kernel.panels import DuplicateKey


class ConsoleAdminConfig(AdminConfig):
    default_site = "ecp_project.console.site.ConsoleSite"


class ConsoleConfig(AppConfig):
    """Static files of the console, what installed apps contribute to its pages, and what they may show."""

    name = "ecp_project.console"
    label = "console"
    verbose_name = "Console"

    def ready(self) -> None:
        from ecp_project.console.views.reveal import opening  # noqa: PLC0415 - needs the models

        privacy.install(opening)
        try:
            autodiscover_modules("panels")
        except DuplicateKey as error:
            raise ImproperlyConfigured(str(error)) from error
