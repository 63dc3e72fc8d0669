"""Clients with a queue of their own, closed before whatever they talk to goes away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ecp_client import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# The form of an API key, and none of any ledger; the same in every worker, as it stands in names of tests.
KEY = f"ecp_{'a' * 8}_{'B' * 43}"
NOBODY = "http://127.0.0.1:9"  # the discard port, on which nothing answers
PLAIN: dict[str, Any] = {
    "action": "price.change",
    "explanation": "Stock is older than 90 days, so the lamp is 5 % cheaper.",
}


@pytest.fixture
def make_ledger(tmp_path: Path) -> Iterator[Callable[..., Ledger]]:
    made: list[Ledger] = []

    def make(url: str = NOBODY, key: str = KEY, **options: Any) -> Ledger:
        chosen: dict[str, Any] = {
            "agent": "pricing-bot",
            "queue_dir": tmp_path / "queue",
            "flush_at_exit_s": 0.0,
        } | options
        made.append(Ledger(url, key, **chosen))
        return made[-1]

    yield make
    for ledger in made:
        ledger.close()
