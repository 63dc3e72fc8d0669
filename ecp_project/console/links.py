"""Addresses of lists, in one place: from a figure to the decisions that it counts."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from django.urls import reverse

from ledger.core.columns import DECISION

if TYPE_CHECKING:
    from datetime import datetime

    from ledger.models import Entry, Log


def decisions_url(
    log: Log, *, since: datetime | None = None, until: datetime | None = None, agent: str = ""
) -> str:
    given = {
        "log": log.slug,
        "agent": agent,
        "since": f"{since:%Y-%m-%dT%H:%MZ}" if since else "",
        "until": f"{until:%Y-%m-%dT%H:%MZ}" if until else "",
    }
    query = urlencode({name: value for name, value in given.items() if value})
    return f"{reverse('admin:ledger_decision_changelist')}?{query}"


def ledger_url(log: Log) -> str:
    """Where the state of a log is told in full: mode, checkpoints, verification."""
    return f"{reverse('admin:ledger_log_changelist')}#{log.slug}"


def record_url(entry: Entry) -> str:
    page = "decision" if entry.kind == DECISION else "entry"
    return reverse(f"admin:ledger_{page}_change", args=[entry.pk])
