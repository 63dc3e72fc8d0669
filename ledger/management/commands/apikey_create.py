"""Issue an API key; it is printed once."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import EcpError
from ledger.management.arguments import agent_named, organisation_named
from ledger.services.identities import apikey_create

if TYPE_CHECKING:
    from argparse import ArgumentParser

DEFAULT_SCOPES = "decisions:write,decisions:read,ledger:read"


class Command(BaseCommand):
    help = "Issue an API key. Its text is shown once and stored nowhere."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--org", required=True, help="slug of the organisation")
        parser.add_argument("--agent", help="slug of the one agent this key speaks for; default: any of them")
        parser.add_argument(
            "--scopes", default=DEFAULT_SCOPES, help=f"comma-separated; default {DEFAULT_SCOPES}"
        )
        parser.add_argument("--days", type=int, default=90, help="life in days, 1 to 400; default 90")
        parser.add_argument("--require-signature", action="store_true", help="take signed statements only")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        del args
        organisation = organisation_named(options["org"])
        agent = agent_named(options["org"], options["agent"]) if options["agent"] else None
        try:
            issued = apikey_create(
                organisation=organisation,
                agent=agent,
                scopes=[scope.strip() for scope in options["scopes"].split(",") if scope.strip()],
                now=utc_now(),
                life=timedelta(days=options["days"]),
                require_signature=options["require_signature"],
                actor="system:shell",
            )
        except EcpError as problem:
            raise CommandError(problem.detail) from problem
        if options["json"]:
            expires = issued.row.expires_at.isoformat()
            self.stdout.write(
                json.dumps({"key": issued.text, "prefix": issued.row.prefix, "expires_at": expires})
            )
        else:
            self.stdout.write(issued.text)
            self.stderr.write(f"Shown once. It expires on {issued.row.expires_at:%Y-%m-%d}.")
