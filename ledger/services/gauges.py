"""Gauges of what only the database knows: verification runs and its own guards (OPERATIONS section 8)."""

from __future__ import annotations

from ledger.services.audit import database_audit
from ledger.services.verification_runs import verification_metrics


def gauges_refresh() -> None:
    """Read them anew: a worker that has just started has seen no run, and triggers go without a word."""
    verification_metrics()
    database_audit()
