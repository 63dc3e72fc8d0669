"""Sample data of friction: rules in force, advice, bypasses and steps that wait for somebody."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from advisory.friction.selectors.rulesets import has_rules
from advisory.friction.services.demo import demo_load
from ecp_project.kernel.clock import utc_now
from ledger.models import Log


class Command(BaseCommand):
    help = "Add advice and bypasses to the sample data; called by demo_load."

    def handle(self, *args: Any, **options: Any) -> None:
        del args, options
        log = Log.objects.select_related("organisation").order_by("id").first()
        if log is None:
            raise CommandError("there is no log yet; run demo_load")
        if has_rules(organisation_id=log.organisation_id):
            raise CommandError("there are rules already; the sample data goes into a fresh installation only")
        given = demo_load(log=log, clock=utc_now)
        self.stdout.write(f"{given} pieces of advice given.")
