"""Take an agent's signing key out of use."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import EcpError
from ledger.models import AgentKey
from ledger.services.agentkeys import agent_key_revoke

if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Sequence

_DASHED_KID = re.compile(r"-[A-Za-z0-9_-]{21}")


class Command(BaseCommand):
    help = "Revoke an agent's signing key from now on. What it signed before stays valid."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("kid", help="key id")
        parser.add_argument("--reason", required=True)

    def run_from_argv(self, argv: Sequence[str]) -> None:
        """Of 64 key ids one begins with a dash: it goes where argparse takes no word for an option."""
        dashed = [word for word in argv[2:] if _DASHED_KID.fullmatch(word)]
        if dashed and "--" not in argv:
            argv = [*(word for word in argv if word not in dashed), "--", *dashed]
        super().run_from_argv(list(argv))

    def handle(self, *args: Any, **options: Any) -> None:
        del args
        key = AgentKey.objects.filter(kid=options["kid"]).select_related("agent__organisation").first()
        if key is None:
            raise CommandError(f"there is no key {options['kid']}")
        try:
            receipt = agent_key_revoke(key=key, actor="system:shell", reason=options["reason"], now=utc_now())
        except EcpError as problem:
            raise CommandError(problem.detail) from problem
        if receipt is None:
            self.stdout.write(f"{key.kid} was revoked before; nothing was recorded.")
        else:
            self.stdout.write(f"{key.kid} is revoked; recorded at position {receipt.stored.seq:,}.")
