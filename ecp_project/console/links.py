"""Addresses of lists, in one place: from a figure to the decisions that it counts."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.urls import reverse

from ledger.selectors.query import LedgerQuery, Term

if TYPE_CHECKING:
    from datetime import datetime

    from ledger.models import Log


def decisions_url(
    log: Log, *, since: datetime | None = None, until: datetime | None = None, agent: str = ""
) -> str:
    given = {
        "agent": agent,
        "since": f"{since:%Y-%m-%dT%H:%M:%SZ}" if since else "",
        "until": f"{until:%Y-%m-%dT%H:%M:%SZ}" if until else "",
    }
    terms = LedgerQuery(tuple(Term(key, (value,)) for key, value in given.items() if value))
    query = urlencode({"log": log.slug} | ({"q": str(terms)} if terms.terms else {}))
    return f"{reverse('admin:ledger_decision_changelist')}?{query}"


def ledger_url(log: Log) -> str:
    """Where the state of a log is told in full: mode, checkpoints, verification."""
    return f"{reverse('admin:integrity')}?{urlencode({'log': log.slug})}"
