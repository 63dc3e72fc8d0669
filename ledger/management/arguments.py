"""What several commands share: finding a log by its slug, speaking of problems, a progress line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from django.core.management.base import CommandError

from ledger.models import Agent, Log, Organisation

if TYPE_CHECKING:
    from collections.abc import Callable


def log_named(slug: str | None) -> Log:
    """The log of that slug; without one, the only log there is."""
    rows = Log.objects.select_related("organisation", "head").order_by("id")
    if slug is not None:
        rows = rows.filter(slug=slug)
    found = list(rows[:2])
    if len(found) == 1:
        return found[0]
    names = ", ".join(Log.objects.order_by("id").values_list("slug", flat=True)[:20])
    if not names:
        raise CommandError("there is no log yet; make one with `manage.py org_create SLUG`")
    raise CommandError(f"name one of these logs with --log: {names}")


def organisation_named(slug: str) -> Organisation:
    found = Organisation.objects.filter(slug=slug).first()
    if found is None:
        raise CommandError(f"there is no organisation {slug}; make it with `manage.py org_create {slug}`")
    return found


def agent_named(organisation: str, slug: str) -> Agent:
    agents = Agent.objects.filter(organisation=organisation_named(organisation), slug=slug)
    found = agents.select_related("organisation").first()
    if found is None:
        raise CommandError(f"{organisation} has no agent {slug}")
    return found


def progress_line(noun: str) -> Callable[[int, int], None]:
    """A line that counts, on a terminal only."""
    if not sys.stderr.isatty():
        return lambda _done, _all: None

    def show(done: int, total: int) -> None:
        share = f" of {total:,}" if total else ""
        sys.stderr.write(f"\r{done:,}{share} {noun}")
        if total and done >= total:
            sys.stderr.write("\n")
        sys.stderr.flush()

    return show
