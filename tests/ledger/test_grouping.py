"""Works of many requests share one commit: the batcher waits for those it has been told of alone."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest
from django.db import connection, connections

from ledger import sequencer
from ledger.services.ledger import TransparencyLedger
from tests.ledger.test_beside import work

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.test import Client

    from tests.people import People

pytestmark = pytest.mark.db
LONG_S = 4.0  # nobody waits so long unless something is wrong; a submit gives up after five


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sequencer, "FLUSH_DELAY_S", LONG_S)


def elsewhere(act: Callable[[], object]) -> threading.Thread:
    def run() -> None:
        try:
            act()
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def commits(people: People) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(DISTINCT xmin::text) FROM ledger_entry WHERE log_id = %s AND kind = 'ecp.staff/1'",
            (people.log.id,),
        )
        return int(cursor.fetchone()[0])


def test_whoever_is_coming_is_waited_for_and_shares_the_commit(people: People) -> None:
    ledger = TransparencyLedger(people.log)
    one, other = work(people, "beside.one"), work(people, "beside.other")
    started = time.monotonic()
    with sequencer.batcher.building():
        first = elsewhere(lambda: ledger.append_together([one]))
        first.join(0.3)
        assert first.is_alive()
        with sequencer.batcher.building():  # as a service does inside a request that has told it
            pass
        ledger.append_together([other])
    first.join()
    assert commits(people) == 1
    assert time.monotonic() - started < LONG_S


def test_whoever_does_not_come_after_all_holds_nobody_up(people: People) -> None:
    ledger, started = TransparencyLedger(people.log), time.monotonic()
    with sequencer.batcher.building():
        thread = elsewhere(lambda: ledger.append_together([work(people, "beside.one")]))
        thread.join(0.2)
        assert thread.is_alive()
    thread.join()
    assert time.monotonic() - started < LONG_S


def test_a_refused_request_leaves_nothing_to_wait_for(client: Client, people: People) -> None:
    for body in (b"{", b"{}"):
        assert client.post("/api/v1/decisions/", body, content_type="application/json").status_code == 401
        told = people.ada_agent.headers
        answer = client.post("/api/v1/decisions/", body, content_type="application/json", **told)
        assert answer.status_code == 400
    started = time.monotonic()
    TransparencyLedger(people.log).append_together([work(people, "beside.one")])
    assert time.monotonic() - started < LONG_S
