"""Recurring polls: due once, no burst after downtime, skipped runs with their reason."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from django.db import IntegrityError, transaction

from advisory.polls.models import Poll, PollRun, PollSchedule
from advisory.polls.services import schedules
from tests.factories.polls import BODY, asked_agents

if TYPE_CHECKING:
    from tests.people import People

pytestmark = pytest.mark.db
START = datetime(2026, 3, 2, 8, tzinfo=UTC)
ACTOR = "system:test"


def made(people: People, **others: Any) -> PollSchedule:
    document = {"title": "Daily mood", "cron": "0 9 * * *", "template": BODY, "if_open": "run"} | others
    return schedules.schedule_create(organisation=people.acme, document=document, created_by=ACTOR, now=START)


def at(days: int, **more: int) -> datetime:
    return datetime(2026, 3, 2, 9, tzinfo=UTC) + timedelta(days=days, **more)


def history() -> list[tuple[datetime, str]]:
    return list(PollRun.objects.order_by("due_at").values_list("due_at", "skipped"))


def test_due_schedule_runs_once_however_many_beats_there_are(people: People) -> None:
    asked_agents(people, 3)
    schedule = made(people)
    assert schedule.next_due_at == at(0)
    assert schedules.schedules_due(now=at(0) - timedelta(seconds=1)) == 0
    assert schedules.schedules_due(now=at(0, seconds=20)) == 1
    assert schedules.schedules_due(now=at(0, seconds=21)) == 0
    assert history() == [(at(0), "")]
    poll = Poll.objects.get()
    assert (poll.auto, poll.due_at, poll.schedule_id) == (True, at(0), schedule.id)
    poll.pk = schedule.id
    with pytest.raises(IntegrityError, match="poll_once_per_run"), transaction.atomic():
        poll.save(force_insert=True)


@pytest.mark.parametrize(("catch_up", "expected"), [("none", [(at(4), "downtime")]), ("one", [(at(4), "")])])
def test_downtime_ends_in_no_burst(
    catch_up: str, expected: list[tuple[datetime, str]], people: People
) -> None:
    schedule = made(people, catch_up=catch_up)
    schedules.schedules_due(now=at(4, hours=2))
    assert history() == expected
    schedule.refresh_from_db()
    assert (schedule.last_due_at, schedule.next_due_at) == (at(4), at(5))


def test_run_is_left_out_while_the_one_before_is_open(people: People) -> None:
    made(people, if_open="skip")
    schedules.schedules_due(now=at(0))
    schedules.schedules_due(now=at(1))
    assert history() == [(at(0), ""), (at(1), "previous_open")]


def test_schedule_ends_by_number_and_by_date(people: People) -> None:
    made(people, max_runs=2)
    for day in range(4):
        schedules.schedules_due(now=at(day))
    assert len(history()) == 2
    ended = made(people, ends_at="2026-03-03T08:00:00.000000Z")
    schedules.schedules_due(now=at(0))
    ended.refresh_from_db()
    assert ended.next_due_at is None


def test_change_counts_from_now(people: People) -> None:
    schedule = made(people)
    change = partial(schedules.schedule_update, schedule_id=schedule.id, actor=ACTOR, now=at(3))
    found = change(document={"cron": "0 12 * * *"})
    assert found.next_due_at == at(3, hours=3)
    off = change(document={"enabled": False})
    assert off.next_due_at is None
    assert schedules.upcoming(off, at(3)) == []
