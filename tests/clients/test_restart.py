"""Many decisions from several threads while the web server is killed and started again: each arrives once."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from ledger.models import Entry
from tests.clients.conftest import PLAIN
from tests.served import settle

if TYPE_CHECKING:
    from collections.abc import Callable

    from ecp_client import Ledger
    from tests.served import Processes

THREADS = 8
PATIENCE_S = 240.0


def order_in_the_log() -> dict[str, int]:
    rows = Entry.objects.filter(kind="ecp.decision/1").order_by("seq").values_list("uid", "seq")
    return {str(uid): seq for uid, seq in rows}


@pytest.mark.parametrize(
    ("each", "kills"),
    [pytest.param(300, 1, marks=pytest.mark.e2e), pytest.param(12_500, 5, marks=pytest.mark.fault)],
)
def test_every_decision_arrives_once_and_in_the_order_of_its_thread(
    processes: Processes, make_ledger: Callable[..., Ledger], each: int, kills: int
) -> None:
    key = settle(processes.surroundings, "acme")["KEY"]
    ledger = make_ledger(processes.url, key, max_queued=THREADS * each)
    made: list[list[str]] = [[] for _ in range(THREADS)]

    def work(ids: list[str]) -> None:
        for number in range(each):
            context = {"number": number} if number % 10 == 0 else None
            ids.append(ledger.record(**PLAIN, context=context).id)
            if number % 100 == 99:  # spread over the kills
                time.sleep(0.01)

    threads = [threading.Thread(target=work, args=(ids,)) for ids in made]
    for thread in threads:
        thread.start()
    total = THREADS * each
    for number in range(kills):
        deadline = time.monotonic() + PATIENCE_S
        while ledger.stats().delivered < total * (number + 1) // (kills + 2):
            assert time.monotonic() < deadline, ledger.stats()
            time.sleep(0.001)
        processes.kill("web")
        time.sleep(0.5)
        processes.start("web")
    for thread in threads:
        thread.join()
    assert ledger.flush(PATIENCE_S), ledger.stats()
    places = order_in_the_log()
    assert len(places) == total
    assert {uid for ids in made for uid in ids} == places.keys()
    for ids in made:
        assert [places[uid] for uid in ids] == sorted(places[uid] for uid in ids)
    stats = ledger.stats()
    assert (stats.delivered, stats.rejected, stats.dropped) == (total, 0, 0)
    assert stats.retries >= kills
