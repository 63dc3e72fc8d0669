"""`manage.py delivery_keygen`: the key by which agents know who asks them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from ecp_project.api import delivery
from ecp_project.kernel.clock import utc_now

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    help = "Make the Ed25519 key that signs deliveries to agents (mode 0400) and publish its public half."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--if-missing", action="store_true", help="do nothing when there is a key")

    def handle(self, *args: Any, **options: Any) -> None:
        del args
        if Path(settings.ECP_DELIVERY_KEY_FILE).exists():
            if options["if_missing"]:
                return
            raise CommandError("there is a delivery key already; move it away to make a new one")
        self.stdout.write(
            f"Delivery key {delivery.make_key(now=utc_now())} is ready; only the worker needs it."
        )
