"""Django application of opinion polls; nothing else needs it."""

from __future__ import annotations

from django.apps import AppConfig


class PollsConfig(AppConfig):
    name = "advisory.polls"
    label = "polls"
    verbose_name = "Polls"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from advisory.polls.core import statements  # noqa: F401, PLC0415 - the kinds register themselves
