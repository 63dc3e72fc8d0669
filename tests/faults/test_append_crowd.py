"""Many at once on one batcher: each gets a place of its own, and equal ones get the same."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import Conflict
from ecp_project.kernel.ids import new_uuid7
from ledger import sequencer
from ledger.models import Entry, Head
from ledger.sequencer import Stored
from tests.faults.works import ref, work

if TYPE_CHECKING:
    from ledger.checkpointer import Checkpointer
    from ledger.rows import Work
    from ledger.sequencer import Outcome
    from tests.people import People

pytestmark = pytest.mark.db


def submit(people: People, one: Work) -> Outcome:
    return sequencer.batcher.submit(ref(people), [one])[0]


def test_64_threads_with_200_appends_each_fill_the_log_without_a_gap(
    people: People, checkpointer: Checkpointer
) -> None:
    works = [[work() for _ in range(200)] for _ in range(64)]
    with ThreadPoolExecutor(64) as threads:
        told = [
            outcome
            for mine in threads.map(lambda mine: [submit(people, one) for one in mine], works)
            for outcome in mine
        ]
    stored = {outcome.uid: outcome.seq for outcome in told if isinstance(outcome, Stored)}
    assert sorted(stored.values()) == list(range(12_800))
    assert dict(Entry.objects.values_list("uid", "seq")) == stored
    assert checkpointer.turn() == 1  # signs nothing that is not one chain


def test_50_equal_ones_are_one_entry_and_one_receipt(people: People) -> None:
    one = work()
    with ThreadPoolExecutor(50) as threads:
        told = list(threads.map(lambda _: submit(people, one), range(50)))
    assert all(isinstance(outcome, Stored) for outcome in told)
    places = {(o.seq, o.leaf_hash, o.stmt_digest, o.rcvd) for o in told if isinstance(o, Stored)}
    assert len(places) == 1
    assert sorted(o.is_replay for o in told if isinstance(o, Stored)) == [False] + [True] * 49
    assert Head.objects.get(log=people.log).size == 1


def test_of_50_different_ones_with_one_id_one_is_stored(people: People) -> None:
    uid = new_uuid7(utc_now())
    works = [work(uid, f"Version {number} of what happened.") for number in range(50)]
    with ThreadPoolExecutor(50) as threads:
        told = list(threads.map(lambda one: submit(people, one), works))
    (stored,) = (outcome for outcome in told if isinstance(outcome, Stored))
    refused = [outcome for outcome in told if isinstance(outcome, Conflict)]
    assert {(r.code, r.extensions["seq"], r.extensions["stmt_digest"]) for r in refused} == {
        ("id_reused", 0, stored.stmt_digest)
    }
    assert len(refused) == 49
    assert Entry.objects.count() == 1
