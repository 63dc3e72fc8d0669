"""Register an agent."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.core.management.base import BaseCommand, CommandError

from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import EcpError
from ledger.management.arguments import organisation_named
from ledger.services.identities import agent_create

if TYPE_CHECKING:
    from argparse import ArgumentParser


class Command(BaseCommand):
    help = "Register an agent that may record decisions."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("slug")
        parser.add_argument("--org", required=True, help="slug of the organisation")
        parser.add_argument("--title", default="", help="name for people; default: the slug")
        parser.add_argument("--endpoint", default="", help="public https address for deliveries")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        del args
        try:
            agent = agent_create(
                organisation=organisation_named(options["org"]),
                slug=options["slug"],
                title=options["title"],
                endpoint=options["endpoint"],
                actor="system:shell",
                now=utc_now(),
            )
        except EcpError as problem:
            raise CommandError(problem.detail) from problem
        if options["json"]:
            self.stdout.write(json.dumps({"agent": agent.slug, "organisation": options["org"]}))
        else:
            self.stdout.write(
                f"Agent {agent.slug} may record decisions. Give it a key: manage.py apikey_create"
            )
