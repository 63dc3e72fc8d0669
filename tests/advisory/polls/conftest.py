"""Polls last for minutes and more, so their tests set the clock forward instead of waiting."""

from __future__ import annotations

import pytest

from ledger import modes


@pytest.fixture(autouse=True)
def _patient_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger would halt when the clock of a caller runs away from that of the database."""
    monkeypatch.setattr(modes, "MAX_CLOCK_SKEW_S", 10**9)
