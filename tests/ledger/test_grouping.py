"""Works of many requests share one commit: the batcher waits for those it has been told of alone."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest
from django.db import connection, connections

from ecp_project.kernel.errors import Conflict
from ledger import sequencer
from ledger.models import Entry
from ledger.rows import COPY_FROM
from ledger.services.ledger import TransparencyLedger
from tests.installation import until
from tests.ledger.test_beside import work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.test import Client

    from ledger.models import Log
    from tests.databases import Cluster
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


@contextmanager
def head_held_elsewhere(cluster: Cluster, database: str, log: Log) -> Iterator[None]:
    """Until the end of the block another process is appending, and the batcher waits for it."""
    with cluster.connect(database) as other:
        other.autocommit = False
        other.execute("SELECT FROM ledger_head WHERE log_id = %s FOR UPDATE", (log.id,))
        yield
        other.rollback()


def is_waiting(cluster: Cluster) -> bool:
    with cluster.connect() as watcher:
        row = watcher.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()
    return bool(row and row[0])


@pytest.mark.parametrize("count", [1, COPY_FROM + 3])
def test_who_comes_while_others_hold_the_head_joins_the_flush(
    cluster: Cluster, committed_db: str, people: People, count: int
) -> None:
    ledger = TransparencyLedger(people.log)
    stored_before, changed = work(people, "beside.before"), work(people, "beside.changed")
    ledger.append_together([stored_before])
    changed.uid = stored_before.uid
    replays: list[sequencer.Stored] = []
    conflicts: list[BaseException] = []

    def refused() -> None:
        with pytest.raises(Conflict) as problem:
            ledger.append_together([changed])
        conflicts.append(problem.value)

    with head_held_elsewhere(cluster, committed_db, people.log):
        waiting = [elsewhere(lambda: ledger.append_together([work(people, "beside.first")]))]
        until(lambda: is_waiting(cluster))
        waiting += [elsewhere(lambda: replays.extend(ledger.append_together([stored_before])))]
        waiting += [elsewhere(refused)]
        late = [work(people, f"beside.late.{number}") for number in range(count)]
        waiting += [elsewhere(partial(ledger.append_together, [one])) for one in late]
        until(lambda: len(sequencer.batcher._queue) == count + 2)
    for thread in waiting:
        thread.join()
    assert [stored.is_replay for stored in replays] == [True]
    assert len(conflicts) == 1
    assert Entry.objects.filter(log=people.log, kind="ecp.staff/1").count() == count + 2
    # The one before, and this flush; what is too much for an INSERT of several rows comes in one of its own.
    assert commits(people) == (2 if count == 1 else 3)
