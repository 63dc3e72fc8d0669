"""Django application of opinion polls; nothing else needs it."""

from __future__ import annotations

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class PollsConfig(AppConfig):
    name = "advisory.polls"
    label = "polls"
    verbose_name = _("Polls")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Each adds itself where it belongs: names of acts, kinds of statements, keys to rotate, sample data.
        from advisory.polls import acts  # noqa: F401, PLC0415 - see above
        from advisory.polls.core import statements  # noqa: F401, PLC0415 - see above
        from advisory.polls.services import demo, keys  # noqa: F401, PLC0415 - see above
