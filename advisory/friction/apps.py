"""Django application of the friction calculator; optional, and absent where `ECP_FRICTION` is 0."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class FrictionConfig(AppConfig):
    name = "advisory.friction"
    label = "friction"
    verbose_name = _("Friction")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from advisory.friction import acts, console_calibration  # noqa: F401, PLC0415 - they register themselves
        from advisory.friction.core import statements  # noqa: F401, PLC0415 - its kinds register themselves
        from advisory.friction.services import demo  # noqa: F401, PLC0415 - adds itself to the sample data
