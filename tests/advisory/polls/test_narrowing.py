"""The list of polls narrowed down by state and schedule: counts, links that keep the log, refusals."""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from advisory.polls.services import lifecycle, schedules
from ecp_project.kernel.clock import utc_now
from ledger.models import Membership, Role
from tests.console.desk import shown, signed_in
from tests.console.test_frame import check
from tests.factories.polls import BODY, XSS, Story, asked_agents
from tests.people import person

if TYPE_CHECKING:
    from advisory.polls.models import PollSchedule
    from tests.people import People

pytestmark = pytest.mark.db
POLLS = "/console/polls/"


def recurring(people: People, title: str) -> PollSchedule:
    return schedules.schedule_create(
        organisation=people.acme,
        document={"title": title, "cron": "0 9 * * 1", "template": BODY},
        created_by="system:test",
        now=utc_now(),
    )


def cancelled(people: People, question: str, schedule: PollSchedule | None = None) -> None:
    draft = Story(people, {"question": question}, schedule=schedule).poll
    lifecycle.poll_cancel(
        poll_id=draft.id, actor="system:test", now=utc_now(), reason="Only made to be listed."
    )


@pytest.fixture
def weekly(people: People) -> PollSchedule:
    """Two drafts and one cancelled poll; one draft and the cancelled one belong to the schedule."""
    asked_agents(people, 3)
    schedule = recurring(people, f"Weekly {XSS}")
    Story(people, {"question": "A draft by itself?"})
    Story(people, {"question": "A draft of each week?"}, schedule=schedule)
    cancelled(people, "One that was cancelled?", schedule)
    return schedule


def facet(page: str, key: str) -> dict[str, tuple[int, str]]:
    """Values of a facet as somebody reads them: how many polls, and where the link leads."""
    part = re.search(rf'<ul aria-labelledby="facet-{key}">(.*?)</ul>', page, re.DOTALL)
    if part is None:
        return {}
    link = r'<a href="([^"]*)"[^>]*><bdi>(.*?)</bdi>.*?<span class="count">(\d+)</span>'
    return {
        unescape(label): (int(count), unescape(url))
        for url, label, count in re.findall(link, part[1], re.DOTALL)
    }


def numbers(page: str, key: str) -> dict[str, int]:
    return {label: count for label, (count, _url) in facet(page, key).items()}


def test_each_facet_counts_what_the_other_leaves(people: People, weekly: PollSchedule) -> None:
    page = shown(people.ben, POLLS)
    check(page)
    assert numbers(page, "state") == {"draft": 2, "cancelled": 1}
    (title,) = [label for label in facet(page, "schedule") if label.startswith("Weekly")]
    assert numbers(page, "schedule") == {"not recurring": 1, title: 2}
    narrow = shown(people.ben, POLLS, state="draft", schedule=str(weekly.id))
    check(narrow)
    assert numbers(narrow, "state") == {"draft": 1, "cancelled": 1}
    assert numbers(narrow, "schedule") == {"not recurring": 1, title: 1}
    assert "A draft of each week?" in narrow
    assert "A draft by itself?" not in narrow
    assert "One that was cancelled?" not in narrow
    assert 'id="ended"' not in narrow
    once = shown(people.ben, POLLS, schedule="none")
    assert "A draft by itself?" in once
    assert "A draft of each week?" not in once


def test_links_keep_the_log_and_the_other_choice_and_drop_their_own(
    people: People, weekly: PollSchedule
) -> None:
    page = shown(people.ben, POLLS, state="draft")
    states = facet(page, "state")
    assert states["draft"][1] == f"{POLLS}?log={people.log.slug}"
    assert states["cancelled"][1] == f"{POLLS}?log={people.log.slug}&state=cancelled"
    (of_schedule,) = [url for label, (_count, url) in facet(page, "schedule").items() if "Weekly" in label]
    assert of_schedule == f"{POLLS}?log={people.log.slug}&state=draft&schedule={weekly.id}"
    assert page.count('aria-current="true"') == shown(people.ben, POLLS).count('aria-current="true"') + 1
    assert "A draft of each week?" in shown(people.ben, of_schedule)


def test_titles_of_schedules_are_text_and_no_markup(people: People, weekly: PollSchedule) -> None:
    del weekly
    page = shown(people.ben, POLLS)
    assert "<script>window.__xss" not in page
    assert "Weekly &lt;script&gt;window.__xss" in page


@pytest.mark.parametrize(
    "given", [{"state": "burnt"}, {"schedule": "7"}, {"schedule": str(uuid4())}, {"state": "open,closed"}]
)
def test_value_that_no_poll_can_have_is_a_problem(people: People, given: dict[str, Any]) -> None:
    answer = signed_in(people.ben).get(POLLS, given)
    assert answer.status_code == 400
    assert "bad_value" in answer.content.decode()


def test_filter_that_finds_nothing_says_so(people: People, weekly: PollSchedule) -> None:
    del weekly
    idle = recurring(people, "Not run yet")
    for given in ({"state": "closed"}, {"schedule": str(idle.id)}):
        page = shown(people.ben, POLLS, **given)
        check(page)
        assert "No poll matches this filter." in page
        assert f'href="{POLLS}?log={people.log.slug}">Show all polls' in page
        assert "No poll has ended yet." not in page


def test_schedule_of_others_is_unknown(people: People, weekly: PollSchedule) -> None:
    assert signed_in(people.eve).get(POLLS, {"schedule": str(weekly.id)}).status_code == 400
    assert "facet-schedule" not in shown(people.eve, POLLS)
    maker = person("mona", people.acme, Role.MANUFACTURER)
    Membership.objects.get(user=maker).agents.add(people.ada_agent.agent)
    assert signed_in(maker).get(POLLS, {"schedule": str(weekly.id)}).status_code == 400
    assert "Weekly" not in shown(maker, POLLS)


def test_older_pages_keep_the_filter(people: People) -> None:
    schedule = recurring(people, "Weekly mood")
    for number in range(27):
        cancelled(people, f"Question number {number:02} of many", schedule)
        cancelled(people, "Something else altogether")
    first = shown(people.ben, POLLS, schedule=str(schedule.id), state="cancelled")
    (older,) = re.findall(r'href="([^"]*before=[^"]*)"', first)
    second = shown(people.ben, unescape(older))
    seen = [re.findall(r"Question number (\d\d)", page) for page in (first, second)]
    assert [*seen[0], *seen[1]] == [f"{number:02}" for number in reversed(range(27))]
    assert "Something else" not in first + second
    newest = f"{POLLS}?log={people.log.slug}&state=cancelled&schedule={schedule.id}"
    assert f'href="{newest}" rel="prev"' in unescape(second)


def test_counting_is_one_query_however_many_polls_there_are(people: People, weekly: PollSchedule) -> None:
    browser = signed_in(people.ben)

    def groupings() -> list[str]:
        with CaptureQueriesContext(connection) as seen:
            assert browser.get(POLLS, {"schedule": str(weekly.id)}).status_code == 200
        return [query["sql"] for query in seen if "GROUP BY" in query["sql"] and "polls_poll" in query["sql"]]

    few = len(groupings())
    for _number in range(5):
        cancelled(people, "Something else altogether", recurring(people, "Another"))
    assert len(groupings()) == few
