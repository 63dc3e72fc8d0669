"""What all measurements of an installation share: filling it, letting it come to rest, figures of turns."""

from __future__ import annotations

import statistics
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

from tests.perf import records
from tests.perf.client import load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.perf.rig import Rig

BATCH_CLIENTS = 8
LAG_PATIENCE_S = 120


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def spread(values: list[float]) -> dict[str, float]:
    """Median, least and greatest of the rounds."""
    return {"median": median(values), "min": min(values), "max": max(values)}


def waited(done: Callable[[], bool], since: float, patience: float = LAG_PATIENCE_S) -> float:
    """Seconds from `since` until `done`; the patience when it never is."""
    while not done() and time.perf_counter() - since < patience:
        time.sleep(0.1)
    return time.perf_counter() - since


def settle(rig: Rig) -> None:
    """Let checkpointer and search catch up, so that no turn pays for what the one before left to do."""
    head = rig.head()
    waited(lambda: rig.signed() >= head and rig.projected() >= head, time.perf_counter(), patience=900)


def fill(rig: Rig, size: int) -> None:
    """Batches until the log holds `size` entries."""
    while (missing := size - rig.head()) > 0:
        make = partial(records.batch, rig.key, lines=min(records.LINES, missing))
        clients = min(BATCH_CLIENTS, 1 + missing // records.LINES)
        load(rig.port, make, clients=clients, seconds=min(5, missing / 20_000))
    settle(rig)
