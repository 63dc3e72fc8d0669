"""Django application of the transparency ledger, the one mandatory layer."""

from __future__ import annotations

from django.apps import AppConfig


class LedgerConfig(AppConfig):
    name = "ledger"
    verbose_name = "Ledger"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from ecp_project.kernel.clock import utc_now  # noqa: PLC0415 - models are not loaded any earlier
        from ecp_project.observability import health, metrics  # noqa: PLC0415 - as above
        from ledger import checks, modes  # noqa: F401, PLC0415 - checks register themselves
        from ledger.probe import ledger_probe  # noqa: PLC0415 - as above
        from ledger.services import operations  # noqa: PLC0415 - as above

        health.register("ledger", ledger_probe, on_error="degraded")
        operations.start(now=utc_now())
        metrics.at_start.append(modes.process.show)
