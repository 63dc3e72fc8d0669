"""The trend of a schedule: shares with intervals run by run, why runs were left out, and who may look."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from advisory.polls.models import PollSchedule
from advisory.polls.services import lifecycle, schedules
from ecp_project.kernel.clock import utc_now
from ledger.models import Membership, Role
from tests.console.desk import decision, record, shown, signed_in
from tests.console.test_frame import check
from tests.factories.polls import BODY, XSS, Story, asked_agents
from tests.people import person

if TYPE_CHECKING:
    from tests.people import People

pytestmark = pytest.mark.db
TREND, SCHEDULES, POLLS = "/console/polls/trend/", "/console/polls/schedules/", "/console/polls/"
WEEK = timedelta(days=7)


def recurring(people: People, **others: Any) -> PollSchedule:
    return schedules.schedule_create(
        organisation=people.acme,
        document={"title": "Weekly mood", "cron": "0 9 * * 1", "template": BODY} | others,
        created_by="system:test",
        now=utc_now(),
    )


def closed(people: People, schedule: PollSchedule, *choices: str, **body: Any) -> Story:
    """A run whose first agents answer in this order."""
    story = Story(people, body, schedule=schedule).opened()
    for invitation, choice in zip(story.invitations(), choices, strict=False):
        story.say(invitation, choice)
    story.poll = lifecycle.poll_close(
        poll_id=story.id, actor="system:test", now=story.now, reason="Enough has been said."
    )
    return story


def left_out(schedule: PollSchedule) -> None:
    """A time that downtime made it miss."""
    PollSchedule.objects.filter(pk=schedule.pk).update(next_due_at=utc_now() - WEEK)
    assert schedules.schedules_due(now=utc_now()) == 1


def words(page: str) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", page)))


def test_each_run_has_share_interval_response_rate_and_dissent(people: People) -> None:
    asked_agents(people, 8)
    schedule = recurring(people)
    stories = [
        closed(people, schedule, "support", "support", "support", "oppose"),
        closed(people, schedule, "oppose", "oppose", "abstain"),
    ]
    page = shown(people.ben, TREND, schedule=schedule.id)
    check(page)
    first, second = re.findall(r"<tr>(?:(?!</tr>).)*The poll.*?</tr>", page, re.DOTALL)
    assert str(stories[1].id) in first  # the newest comes first
    assert str(stories[0].id) in second
    for row, story, rate, dissent in (
        (first, stories[1], "37.5 % 3 of 8", "0.0 %"),
        (second, stories[0], "50.0 % 4 of 8", "25.0 %"),
    ):
        assert rate in words(row)
        assert dissent in words(row)
        for one in (story.poll.results or {})["options"]:
            shares = f"{100 * one['share']:.1f} % {100 * one['low']:.1f} % to {100 * one['high']:.1f} %"
            assert shares in words(row)
    charts = re.findall(r'<figure class="chart">(.*?)</figure>', page, re.DOTALL)
    assert [chart.count("<svg") for chart in charts] == [2, 2]  # each option over two runs
    assert 'd="M0 4H300V20H0Z"' in page  # three of four
    newest = stories[1].poll.results
    assert newest is not None
    assert newest["disclaimer"] in page
    assert newest["headline"]["text"] in page


def test_run_that_was_left_out_tells_why(people: People) -> None:
    schedule = recurring(people)
    left_out(schedule)
    page = shown(people.ben, TREND, schedule=schedule.id)
    check(page)
    assert "left out: nothing was running at that time downtime" in words(page)
    assert "No run has closed yet" in page
    assert "<svg aria-hidden" not in page.partition('id="runs"')[2]


def test_open_run_shows_its_state_and_no_choice(people: People) -> None:
    asked_agents(people, 4)
    schedule = recurring(people)
    story = Story(people, schedule=schedule).opened()
    story.say(story.invitations()[0], "oppose")
    page = shown(people.ben, TREND, schedule=schedule.id)
    assert "The poll: open" in words(page)
    assert "oppose" not in page
    assert "Share of" not in page
    assert "1 of 4" not in words(page)


def test_schedule_that_has_not_run_says_so(people: People) -> None:
    schedule = recurring(people, title=XSS)
    page = shown(people.ben, TREND, schedule=schedule.id)
    check(page)
    assert "This schedule has not run yet." in page
    assert "&lt;script&gt;window.__xss" in page
    assert "<script>window.__xss" not in page


def test_changed_question_and_options_are_pointed_out(people: People) -> None:
    asked_agents(people, 3)
    schedule = recurring(people)
    closed(people, schedule, "support")
    assert "changed between these runs" not in shown(people.ben, TREND, schedule=schedule.id)
    closed(people, schedule, "later_on", options=["support", "later_on"])
    page = shown(people.ben, TREND, schedule=schedule.id)
    assert "changed between these runs" in page
    titles = re.findall(r'<h2 id="share-\d">(.*?)</h2>', page)
    assert titles == [f"Share of <bdi>{option}</bdi>" for option in ("support", "later on", "oppose")]
    rows = re.findall(r"Share of <bdi>oppose</bdi> by run.*?</table>", page, re.DOTALL)[0]
    assert rows.count("<svg") == 1


def test_the_lists_lead_to_it(people: People) -> None:
    asked_agents(people, 3)
    schedule = recurring(people)
    story = closed(people, schedule, "support")
    address = f"{TREND}?log={people.log.slug}&amp;schedule={schedule.id}"
    for user, path, query in (
        (people.ada, SCHEDULES, {}),
        (people.ben, POLLS, {}),
        (people.ben, "/console/polls/poll/", {"poll": str(story.id)}),
    ):
        assert f'href="{address}"' in shown(user, path, **query), path
    assert "Recurring polls" in shown(people.ada, TREND, schedule=schedule.id)
    assert SCHEDULES not in shown(people.ben, TREND, schedule=schedule.id)


def test_schedules_of_others_are_unknown(people: People) -> None:
    schedule = recurring(people)
    eve, ben = signed_in(people.eve), signed_in(people.ben)
    assert eve.get(TREND, {"schedule": str(schedule.id)}).status_code == 404
    for given in ({}, {"schedule": "7"}, {"schedule": str(uuid4())}):
        assert ben.get(TREND, given).status_code == 404
    assert ben.post(TREND, {"schedule": str(schedule.id)}).status_code == 405


def test_a_manufacturer_sees_runs_about_assigned_agents_decisions_alone(people: People) -> None:
    asked_agents(people, 3)
    (entry,) = record(people.log, decision())
    schedule = recurring(people)
    closed(people, schedule, "support", question="Not about the maker's agent?")
    left_out(schedule)
    maker = person("mona", people.acme, Role.MANUFACTURER)
    Membership.objects.get(user=maker).agents.add(people.ada_agent.agent)
    assert signed_in(maker).get(TREND, {"schedule": str(schedule.id)}).status_code == 404
    about = closed(people, schedule, "oppose", decision_id=str(entry.uid))
    page = shown(maker, TREND, schedule=schedule.id)
    assert str(about.id) in page
    assert page.count("The poll") == 1
    assert "downtime" not in page


def test_many_runs_are_cut_and_it_is_said(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("advisory.polls.panels.trend.RUNS_SHOWN", 1)
    asked_agents(people, 3)
    schedule = recurring(people)
    older, newer = (closed(people, schedule, "support") for _number in range(2))
    page = shown(people.ben, TREND, schedule=schedule.id)
    assert "The newest 1 runs are shown." in page
    assert str(newer.id) in page
    assert str(older.id) not in page
