"""The project itself as a Django application: it registers system checks and parts of the OpenAPI schema."""

from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig


class ProjectConfig(AppConfig):
    name = "ecp_project"
    label = "ecp_project"
    verbose_name = "ECP"

    def ready(self) -> None:
        import_module("ecp_project.checks")
        import_module("ecp_project.api.schema")
