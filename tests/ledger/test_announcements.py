"""The checkpointer tells listeners how far a log is signed; appends tell nobody (CONSOLE section 10)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client

from ledger import sequencer
from ledger.announcements import CHANNEL, Announced, announced, announcement
from tests.ledger.test_append import decision, post

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from ledger.checkpointer import Checkpointer
    from tests.people import People

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.unit
def test_one_second_lies_between_two_announcements_of_a_log() -> None:
    log = Announced(3)
    assert not log.is_due(3, NOON)
    assert log.is_due(4, NOON)
    assert not log.is_due(9, NOON + timedelta(milliseconds=999))
    assert log.is_due(9, NOON + timedelta(seconds=1))
    assert log.is_due(10, NOON - timedelta(hours=1))


@pytest.mark.unit
def test_announcement_reads_back_and_nothing_else_does() -> None:
    assert announcement(1, 812_004) == '{"log":1,"size":812004}'
    assert announced(announcement(1, 812_004)) == (1, 812_004)
    for payload in ("", "[]", "1", '{"log":1}', '{"log":"1","size":2}', '{"log":1,"size":true}', "x" * 99):
        assert announced(payload) is None


@pytest.fixture
def listener(people: People) -> Iterator[psycopg.Connection[Any]]:
    del people  # the first look at their logs is over
    connection = sequencer.connect()
    connection.execute(f"LISTEN {CHANNEL}")
    yield connection
    connection.close()


def heard(connection: psycopg.Connection[Any]) -> list[str]:
    return [notice.payload for notice in connection.notifies(timeout=0.1)]


@pytest.mark.db
def test_only_a_checkpoint_is_announced_and_never_twice_in_a_second(
    people: People, checkpointer: Checkpointer, listener: psycopg.Connection[Any]
) -> None:
    now = NOON
    checkpointer._clock = lambda: now
    for _ in range(2):
        assert post(Client(), people, decision()).status_code == 201
    assert heard(listener) == []

    assert checkpointer.turn() == 1
    assert heard(listener) == [announcement(people.log.pk, 2)]

    for _ in range(3):
        post(Client(), people, decision())
        assert checkpointer.turn() == 1
    assert heard(listener) == []

    now += timedelta(seconds=1)
    assert checkpointer.turn() == 0
    assert heard(listener) == [announcement(people.log.pk, 5)]
    now += timedelta(minutes=1)
    checkpointer.turn()
    assert heard(listener) == []
