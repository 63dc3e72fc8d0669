"""What requests cost a log of each size, side by side.

Minutes lie between the sizes of one log that grows, and timings on shared hardware wander by more than the
bar in that time. So installations of the smaller sizes run beside the one that has grown, each with servers
of its own, and a request is asked of all of them in turns that follow each other at once.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from ecp_project.embedded.servers import EmbeddedServers
from tests.perf import records
from tests.perf.client import load, request
from tests.perf.rig import Rig
from tests.perf.turns import BATCH_CLIENTS, fill, median, say, settle, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

WARM_S = 0.5
# A turn of batches is short and comes last, since it is what makes the small logs larger.
BATCHES, BATCHES_S = "append of 500", 0.5


@contextmanager
def installation(home: Path) -> Iterator[Rig]:
    """One with durable servers of its own."""
    with EmbeddedServers(home, throwaway=True), Rig(home) as rig:
        yield rig


def measured(grown: Rig, sizes: Sequence[int], *, rounds: int, seconds: float) -> dict[str, Any]:
    """Milliseconds between two answers for each request and size, and the largest against the smallest."""
    with ExitStack() as stack:
        rigs = [stack.enter_context(installation(grown.home / f"beside-{size}")) for size in sizes]
        for rig, size in zip(rigs, sizes, strict=True):
            fill(rig, size)
        rigs.append(grown)
        entries = [rig.head() for rig in rigs]
        asked = [_requests(rig) for rig in rigs]
        costs = {}
        for name in sorted(asked[0], key=lambda name: name == BATCHES):
            turn_s = min(seconds, BATCHES_S) if name == BATCHES else seconds
            makes = [requests[name] for requests in asked]
            costs[name] = _side_by_side(rigs, makes, rounds=rounds, seconds=turn_s)
            of_least = costs[name]["of_least"]
            say(f"  {name}: {of_least['median']:.2f} ({of_least['min']:.2f} to {of_least['max']:.2f})")
        return {"entries": entries, "at_last": [rig.head() for rig in rigs], "costs": costs}


def _side_by_side(
    rigs: Sequence[Rig], makes: Sequence[Callable[[], bytes]], *, rounds: int, seconds: float
) -> dict[str, Any]:
    taken: list[list[float]] = [[] for _ in rigs]
    order = list(range(len(rigs)))
    for number in range(-1, rounds):  # what is read first is warmed first, and the first round does not count
        for place in order[:: 1 if number % 2 else -1]:
            for rig in rigs:
                settle(rig)
            turn_s = seconds if number >= 0 else min(seconds, WARM_S)
            run = load(rigs[place].port, makes[place], clients=BATCH_CLIENTS, seconds=turn_s).expect(200, 201)
            if number >= 0:
                taken[place].append(1000 / run.rate)
    ratios = [large / small for small, large in zip(taken[0], taken[-1], strict=True)]
    return {"ms": [median(one) for one in taken], "of_least": spread(ratios)}


def _requests(rig: Rig) -> dict[str, Callable[[], bytes]]:
    (uid,), entries = rig.newest_of("load-bot", "uid"), rig.head()
    get = {
        "list page of 50": "/api/v1/decisions/?page_size=50",
        "list page, filtered": "/api/v1/decisions/?page_size=50&agent=load-bot&action=price.update",
        "receipt with proof": f"/api/v1/decisions/{uid}/receipt/",
        "inclusion proof": f"/api/v1/logs/bench/proof/inclusion/?index={entries // 3}",
    }
    return {
        "append": partial(records.single, rig.key),
        BATCHES: partial(records.batch, rig.key),
        **{name: partial(request, "GET", path, rig.key) for name, path in get.items()},
    }
