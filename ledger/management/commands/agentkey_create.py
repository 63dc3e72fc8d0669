"""Make a signing key for an agent, register and announce it."""

from __future__ import annotations

import os
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import EcpError
from ecp_project.kernel.signing import b64url, public_from_seed, sign
from ledger.management.arguments import agent_named
from ledger.services.agentkeys import agent_key_add
from ledger.services.ingest import when_open

if TYPE_CHECKING:
    from argparse import ArgumentParser

SEED_BYTES = 32


class Command(BaseCommand):
    help = "Make an agent's first Ed25519 key. The log announces it; signed statements may use it at once."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--org", required=True, help="slug of the organisation")
        parser.add_argument("--agent", required=True, help="slug of the agent")
        parser.add_argument("--to", required=True, type=Path, help="new file for the private key (mode 0400)")
        parser.add_argument("--days", type=int, default=365, help="life in days; default 365")

    def handle(self, *args: Any, **options: Any) -> None:
        del args
        agent = agent_named(options["org"], options["agent"])
        seed, now = os.urandom(SEED_BYTES), utc_now()
        try:
            # First the file: a registered key whose private half is lost would be of no use.
            descriptor = os.open(options["to"], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
        except OSError as error:
            raise CommandError(f"{options['to']} cannot be made: {error.strerror}") from error
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(f"{b64url(seed)}\n")
        add = partial(
            agent_key_add,
            agent=agent,
            public_key=public_from_seed(seed),
            valid_from=now,
            valid_until=now + timedelta(days=options["days"]),
            actor="system:shell",
            prove=lambda message: sign(seed, message),
        )
        try:
            key = when_open(lambda: add(now=utc_now()))
        except EcpError as problem:
            options["to"].unlink()
            raise CommandError(problem.detail) from problem
        self.stdout.write(f"Key {key.kid} of {agent.slug} is announced; its seed is in {options['to']}.")
