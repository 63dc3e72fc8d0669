"""Fan-out of the live feed: what is told, to whom, and how little is kept for whoever does not read."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from dataclasses import replace

import pytest

from ecp_project.console import sse
from ecp_project.console.sse import Client, Hub, Pace, State
from ecp_project.kernel.errors import RateLimited

pytestmark = pytest.mark.unit
EMPTY = State(0, 0, "active")
TEN = State(10, 10, "active")


def parsed(stream: bytes) -> list[tuple[str, str | None, dict[str, object]]]:
    """(event, id, data) of each event, read as WHATWG HTML says."""
    found = []
    for block in stream.decode().split("\n\n"):
        fields = dict(line.partition(": ")[::2] for line in block.splitlines() if not line.startswith(":"))
        if "event" in fields:
            found.append((fields["event"], fields.get("id"), json.loads(fields["data"])))
    return found


def names(stream: bytes) -> list[str]:
    return [name for name, _, _ in parsed(stream)]


def hub(**limits: int) -> Hub:
    return Hub(**({"per_user": 6} | limits))


def test_greeting_tells_how_far_the_log_is_and_when_to_come_back() -> None:
    text, known = sse.greeting("main", TEN, None)
    assert text == b'retry: 3000\nevent: hello\nid: 10\ndata: {"log":"main","size":10,"mode":"active"}\n\n'
    assert known == TEN


@pytest.mark.parametrize(("after", "added"), [(7, 3), (0, 10), (10, 0), (99, 0)])
def test_whoever_comes_back_hears_at_once_what_was_missed(after: int, added: int) -> None:
    missed = parsed(sse.greeting("main", TEN, after)[0])[1:]
    assert missed == ([("grown", "10", {"log": "main", "size": 10, "added": added})] if added else [])


@pytest.mark.parametrize(
    ("now", "events"),
    [
        (TEN, []),
        (State(12, 10, "active"), ["grown"]),
        (State(12, 12, "active"), ["grown", "checkpoint"]),
        (State(10, 10, "halt"), ["mode"]),
        (State(11, 11, "halt"), ["grown", "checkpoint", "mode"]),
        (State(8, 8, "active"), []),  # a database that was restored has no news to tell
    ],
)
def test_news_are_the_difference_to_what_was_told(now: State, events: list[str]) -> None:
    assert names(sse.news("main", TEN, now)) == events


def test_events_carry_sizes_and_modes_alone() -> None:
    told = parsed(sse.greeting("main", TEN, 3)[0] + sse.news("main", EMPTY, State(12, 12, "halt")))
    assert {name for _, _, data in told for name in data} == {"log", "size", "added", "mode"}


def test_seventh_stream_of_a_person_is_refused_and_others_are_not() -> None:
    room = hub()
    open_ = [room.enter(user=1, log_id=1, state=EMPTY) for _ in range(6)]
    with pytest.raises(RateLimited) as refused:
        room.enter(user=1, log_id=1, state=EMPTY)
    assert (refused.value.code, refused.value.retry_after) == ("rate_limited", 10)
    room.enter(user=2, log_id=1, state=EMPTY)
    room.leave(open_[0])
    room.enter(user=1, log_id=1, state=EMPTY)


def test_full_process_refuses_everybody() -> None:
    room = hub(in_all=2)
    for user in (1, 2):
        room.enter(user=user, log_id=1, state=EMPTY)
    with pytest.raises(RateLimited):
        room.enter(user=3, log_id=1, state=EMPTY)
    assert sse.IN_ALL == 500


def test_only_listeners_of_a_log_are_told_of_it() -> None:
    room = hub()
    here, there = (room.enter(user=1, log_id=log_id, state=EMPTY) for log_id in (1, 2))
    assert room.logs() == {1, 2}
    room.tell_signed(1, 5)
    room.tell({2: State(3, 0, "halt"), 9: TEN})
    assert (here.slot, there.slot) == (State(5, 5, "active"), State(3, 0, "halt"))


def test_old_announcement_takes_nothing_back() -> None:
    room = hub()
    client = room.enter(user=1, log_id=1, state=State(12, 10, "active"))
    room.tell_signed(1, 9)
    assert client.slot == State(12, 10, "active")
    assert not client.wake.is_set()


def test_client_that_never_reads_keeps_one_slot() -> None:
    room = hub()
    client = room.enter(user=1, log_id=1, state=EMPTY)
    room.tell_signed(1, 1)
    grown = []
    tracemalloc.start()
    # What is kept for announcements is kept each time; what other threads allocate, now and then.
    for first in (2, 20_000, 40_000):
        before = tracemalloc.get_traced_memory()[0]
        for size in range(first, first + 19_998):
            room.tell_signed(1, size)
        grown.append(tracemalloc.get_traced_memory()[0] - before)
    tracemalloc.stop()
    assert client.slot.size == 59_997
    assert min(grown) < 10_000
    assert sse.news("main", EMPTY, client.slot).count(b"event: grown") == 1


# --- one client's stream, from greeting to goodbye


async def heard(client: Client, *, pace: Pace, acts: dict[int, object]) -> bytes:
    """All that a client is told; `acts` happen after so many pieces."""
    found, count = b"", 0
    loop = asyncio.get_running_loop()
    async for piece in sse.told(client, log="main", after=None, pace=pace, clock=loop.time):
        found, count = found + piece, count + 1
        act = acts.get(count)
        if callable(act):
            act()
    return found


def test_newest_state_wins_over_all_between() -> None:
    room = hub()

    async def story() -> bytes:
        client = room.enter(user=1, log_id=1, state=TEN)

        def grow() -> None:
            for size in (11, 12, 20):
                room.tell({1: replace(TEN, size=size)})

        return await heard(client, pace=Pace(), acts={1: grow, 2: room.close})

    told = parsed(asyncio.run(story()))
    assert [(name, data.get("size")) for name, _, data in told] == [
        ("hello", 10), ("grown", 20), ("bye", None),
    ]  # fmt: skip
    assert told[1][2]["added"] == 10


def test_silent_stream_shows_life_and_ends_with_a_goodbye() -> None:
    async def story() -> bytes:
        client = hub().enter(user=1, log_id=1, state=TEN)
        return await heard(client, pace=Pace(comment_s=0.02, life_s=0.09), acts={})

    told = asyncio.run(story())
    assert 1 <= told.count(b":\n\n") <= 4
    assert names(told) == ["hello", "bye"]
    assert (Pace().comment_s, Pace().life_s) == (15, 900)


def test_closed_hub_sends_newcomers_away() -> None:
    room = hub()
    room.close()

    async def story() -> bytes:
        return await heard(room.enter(user=1, log_id=1, state=TEN), pace=Pace(), acts={})

    assert names(asyncio.run(story())) == ["hello", "bye"]
