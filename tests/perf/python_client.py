"""The Python client: what `record` costs in the agent's thread, and how fast many threads' decisions arrive.

The sender delivers in the background meanwhile, on the same cores as the servers. With `durable` off, as by
default: a line is in the system's cache when `record` returns.
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
from typing import TYPE_CHECKING, Any

from ecp_client import Ledger
from tests.perf import records
from tests.perf.client import new_id

if TYPE_CHECKING:
    from collections.abc import Callable

THREADS = 8
PATIENCE_S = 300.0


def measured(url: str, key: str, *, rounds: int, calls: int) -> dict[str, Any]:
    public, private = (json.loads(line % new_id()) for line in (records.PUBLIC, records.PRIVATE))
    for fields in (public, private):
        del fields["id"]
    with tempfile.TemporaryDirectory() as folder, Ledger(url, key, queue_dir=folder) as ledger:
        costs = [_costs(ledger, lambda: ledger.record(**private), calls) for _ in range(rounds)]
        rates = [_rate(ledger, lambda: ledger.record(**public), calls) for _ in range(rounds)]
        stats = ledger.stats()
    if stats.rejected or stats.dropped or stats.refused:
        raise RuntimeError(f"decisions were lost: {stats}")
    return {
        "calls": calls, "threads": THREADS,
        "p50_us": [cost[len(cost) // 2] for cost in costs],
        "p99_us": [cost[len(cost) * 99 // 100] for cost in costs],
        "per_second": rates,
    }  # fmt: skip


def _costs(ledger: Ledger, record: Callable[[], object], calls: int) -> list[float]:
    """Microseconds of each call, in ascending order; starts with an empty queue."""
    _drain(ledger)
    costs = []
    for _ in range(calls):
        started = time.perf_counter_ns()
        record()
        costs.append((time.perf_counter_ns() - started) / 1000)
    return sorted(costs)


def _rate(ledger: Ledger, record: Callable[[], object], calls: int) -> float:
    """Decisions a second from the first call to the last delivery."""
    _drain(ledger)

    def work() -> None:
        for _ in range(calls):
            record()

    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    _drain(ledger)
    return THREADS * calls / (time.perf_counter() - started)


def _drain(ledger: Ledger) -> None:
    if not ledger.flush(PATIENCE_S):
        raise RuntimeError(f"the decisions do not arrive: {ledger.stats()}")
