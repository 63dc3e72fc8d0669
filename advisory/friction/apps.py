"""Django application of the friction calculator; optional, and absent where `ECP_FRICTION` is 0."""

from __future__ import annotations

from django.apps import AppConfig


class FrictionConfig(AppConfig):
    name = "advisory.friction"
    label = "friction"
    verbose_name = "Friction"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from advisory.friction import console_calibration  # noqa: F401, PLC0415 - its page registers itself
        from advisory.friction.core import statements  # noqa: F401, PLC0415 - its kinds register themselves
