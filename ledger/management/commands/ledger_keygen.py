"""Make the ledger's signing key."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from ecp_project.kernel.signing import kid_of, public_from_seed
from ledger.keys import SEED_BYTES, add_public_key, write_signing_key

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    help = "Make the Ed25519 key that signs checkpoints (mode 0400) and publish its public half."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--if-missing", action="store_true", help="do nothing when there is a key")

    def handle(self, *args: Any, **options: Any) -> None:
        del args
        path = Path(settings.ECP_SIGNING_KEY_FILE)
        if path.exists():
            if options["if_missing"]:
                return
            raise CommandError("there is a signing key already; rotation is described in docs/SECURITY.md")
        seed = os.urandom(SEED_BYTES)
        write_signing_key(path, seed)
        add_public_key(Path(settings.ECP_LOG_PUBLIC_KEYS), seed)
        self.stdout.write(
            f"Signing key {kid_of(public_from_seed(seed))} is ready; only the checkpointer needs it."
        )
