"""Pages of polls: a poll is walked by its confirmations, shown with its uncertainty, and blind while open."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from advisory.polls.models import Poll, PollInvitation, PollRun, PollSchedule
from advisory.polls.services import lifecycle, schedules
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.panels import registry
from ledger.models import Log, Membership, Mode, Role
from tests.console.desk import CONSOLE, DECISIONS, decision, record, record_path, shown, signed_in
from tests.console.test_frame import check
from tests.factories.polls import Story, asked_agents, brought_to, furnish_polls
from tests.people import person

if TYPE_CHECKING:
    from django.test import Client

    from ledger.models import Entry
    from tests.people import People

pytestmark = pytest.mark.db
POLLS, POLL, NEW = "/console/polls/", "/console/polls/poll/", "/console/polls/new/"
STEP, BY_HAND, SCHEDULES = "/console/polls/step/", "/console/polls/by-hand/", "/console/polls/schedules/"
FORM = {
    "question": "Should refund batch 88 go out tonight?", "options": "support\noppose", "n": "5",
    "deadline_minutes": "60", "confidence_pct": "95", "min_responses": "3", "min_response_rate_pct": "30",
    "estimator": "srs", "revisions": "none", "do": "draft",
}  # fmt: skip


@pytest.fixture
def entry(people: People) -> Entry:
    (made,) = record(people.log, decision())
    return made


def walked(people: People, state: str) -> Story:
    """A poll of three agents in that state."""
    asked_agents(people, 3)
    return brought_to(people, state)


def step(client: Client, poll: Any, name: str, **form: str) -> Any:
    return client.post(f"{STEP}?poll={poll}&step={name}", form)


def words(page: str) -> str:
    """The page as somebody reads it."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


# --- making and walking a poll


def test_a_poll_is_drafted_and_each_step_is_confirmed_by_itself(people: People) -> None:
    asked_agents(people, 9)
    ada = signed_in(people.ada)
    made = ada.post(NEW, FORM)
    assert made.status_code == 302, made.content[:300]
    poll = Poll.objects.get()
    assert (poll.state, poll.options, poll.quorum["min_responses"]) == (
        "draft",
        ["support", "oppose", "abstain"],
        3,
    )
    assert str(poll.id) in made.headers["Location"]
    page = shown(people.ada, STEP, poll=poll.id, step="commit")
    check(page)
    assert "Irrevocable from then on: the question, its options, who can be asked" in page
    assert Poll.objects.get().state == "draft"  # looking at it does nothing
    assert step(ada, poll.id, "commit").status_code == 302
    assert Poll.objects.get().state == "committed"
    early = step(ada, poll.id, "draw")
    assert early.status_code == 409
    assert "the entry that decides the draw is not there yet" in early.content.decode()
    record(people.log, decision(), decision())
    for name, state in (("draw", "drawn"), ("open", "open")):
        assert "Irrevocable from then on" in shown(people.ada, STEP, poll=poll.id, step=name)
        answer = step(ada, poll.id, name)
        assert (answer.status_code, Poll.objects.get().state) == (302, state), answer.content[:300]
        assert 'role="status"' in ada.get(answer.headers["Location"]).content.decode()
    refused = step(ada, poll.id, "close", reason="short")
    assert refused.status_code == 400
    assert "at least 10 are needed" in refused.content.decode()
    assert ">short</textarea>" in refused.content.decode()
    assert step(ada, poll.id, "close", reason="Enough has been said.").status_code == 302
    assert Poll.objects.get().state == "closed"


def test_cancelling_asks_for_a_reason_and_shows_it(people: People) -> None:
    story = walked(people, "open")
    ada = signed_in(people.ada)
    assert step(ada, story.id, "cancel").status_code == 400
    assert step(ada, story.id, "cancel", reason="Nobody needs it any more.").status_code == 302
    page = shown(people.ben, POLL, poll=story.id)
    assert "Nobody needs it any more." in page
    assert "cancelled" in page
    assert "Irrevocable" not in shown(people.ada, STEP, poll=story.id, step="cancel")


def test_a_cancelled_poll_is_called_neither_inconclusive_nor_waiting(people: People) -> None:
    """It has no result; its page tells what happened to it and promises nothing."""
    story = walked(people, "committed")
    lifecycle.poll_cancel(
        poll_id=story.id, actor="system:test", now=story.now, reason="Nobody needs it any more."
    )
    Story(people).commit()  # asks the same again, so it names the one before
    pages = [shown(people.ben, POLL, poll=poll.id) for poll in Poll.objects.order_by("id")]
    cancelled, again = (words(page) for page in pages)
    for page in (cancelled, again, words(shown(people.ben, POLLS))):
        assert "inconclusive" not in page
    assert "3 agents could have been asked; none was drawn." in cancelled
    assert "0 answers from 0 sampled agents of 3" in cancelled
    assert ": committed," in cancelled
    assert "not there yet" not in cancelled
    assert f"{story.id} : cancelled" in again
    assert "3 agents can be asked; 3 of them are to be drawn." in again


@pytest.mark.parametrize(
    ("change", "field", "text"),
    [
        ({"question": "Why?"}, "question", "value_invalid"),
        ({"n": "many"}, "n", "value_invalid"),
        ({"n": ""}, "n", ""),
        ({"options": "Support\noppose"}, "options", "value_invalid"),
        ({"min_responses": "x"}, "min_responses", "value_invalid"),
        ({"decision_id": "7"}, "decision_id", "value_invalid"),
    ],
)
def test_what_is_wrong_is_told_at_its_field_and_what_was_typed_stays(
    people: People, change: dict[str, str], field: str, text: str
) -> None:
    answer = signed_in(people.ada).post(NEW, FORM | {"title": "kept"} | change)
    page = answer.content.decode()
    assert answer.status_code == 400
    assert not Poll.objects.exists()
    assert text in page
    if text:
        assert f'id="poll-{field}-problem" role="alert"' in page
    assert "batch 88" in page or field == "question"


def test_size_is_worked_out_without_scripts_and_the_form_is_kept(people: People) -> None:
    asked_agents(people, 20)
    page = shown(people.ada, NEW)
    check(page)
    assert "20 agents accept polls today." in page
    sent = FORM | {"do": "size", "frame_size": "200", "margin_pct": "10", "confidence_of_size": "95"}
    answer = signed_in(people.ada).post(NEW, sent)
    assert answer.status_code == 200
    assert "Agents to ask: <strong>66</strong>" in answer.content.decode()
    assert "batch 88" in answer.content.decode()
    assert not Poll.objects.exists()
    wrong = signed_in(people.ada).post(NEW, sent | {"margin_pct": "none"})
    assert (wrong.status_code, "/margin_pct" in str(wrong.context)) == (400, False)
    assert "value_invalid" in wrong.content.decode()


def test_the_form_offers_the_decision_that_it_was_opened_for(people: People, entry: Entry) -> None:
    page = shown(people.ada, NEW, decision=str(entry.uid))
    assert f'value="{entry.uid}"' in page


def test_a_halted_ledger_takes_no_step_and_keeps_the_reason(people: People) -> None:
    story = walked(people, "open")
    Log.objects.filter(pk=people.log.pk).update(mode=Mode.HALT)
    assert "disabled" in shown(people.ada, STEP, poll=story.id, step="cancel")
    answer = step(signed_in(people.ada), story.id, "cancel", reason="Nobody needs it any more.")
    assert answer.status_code == 503
    assert "ledger_halted" in answer.content.decode()
    assert ">Nobody needs it any more.</textarea>" in answer.content.decode()
    assert Poll.objects.get().state == "open"


# --- reading


def test_open_poll_shows_how_far_it_is_and_no_choice(people: People) -> None:
    asked_agents(people, 6)
    story = Story(people, {"strata_by": ["role"]}).opened()
    for invitation in story.invitations()[:3]:
        story.say(invitation, "oppose")
    listed, page = shown(people.ben, POLLS), shown(people.ben, POLL, poll=story.id)
    check(page)
    for text in (listed, page):
        assert "closes in" in text
    assert re.search(r'answered</th><td class="numeric">3<', page)
    assert "This poll is non-binding. It neither approves nor forbids any action." in page
    assert "<figure" not in page
    assert "Received by stratum" in page


def test_closed_poll_shows_interval_and_sentence_in_one_type_size(people: People) -> None:
    asked_agents(people, 8)
    story = Story(people, {"n": 8}).opened()
    for number, invitation in enumerate(story.invitations()[:7]):
        choice = "support" if number < 5 else "oppose" if number < 6 else "abstain"
        story.say(
            invitation, choice, rationale="A longer reason than the others." if choice == "oppose" else ""
        )
    story.close()
    result = story.poll.results
    assert result is not None
    page = shown(people.ben, POLL, poll=story.id)
    check(page)
    headline, sentence = re.findall(r'<p class="explanation said" lang="en">(.*?)</p>', page)
    assert result["headline"]["text"] in headline
    assert sentence == result["disclaimer"]
    text = words(page)
    for said in (
        "6 of 8 agents asked gave an opinion", "5 to 7", "16.7 % of those with an opinion",
        "A longer reason than the others.", "1 chose oppose", "unreachable 1", "abstained 1",
    ):  # fmt: skip
        assert said in text, said
    for estimate in result["options"]:  # the table beside the bars has the same numbers
        assert f"{100 * estimate['share']:.1f} %" in text
    assert f'href="/api/v1/polls/{story.id}/proof/"' in page
    sheet = shown(people.ben, "/console/polls/sheet/", poll=story.id)
    assert result["disclaimer"] in sheet
    assert result["headline"]["text"] in sheet
    assert "<nav" not in sheet


def test_what_was_typed_by_others_is_text_and_no_markup(people: People, entry: Entry) -> None:
    polls = furnish_polls(people, entry.uid)
    pages = [shown(people.ben, POLLS), shown(people.ada, SCHEDULES), shown(people.ben, record_path(entry))]
    polls_shown = (polls.closed, polls.open, polls.draft)
    pages += [shown(people.ben, POLL, poll=poll.id) for poll in polls_shown]
    pages.append(shown(people.ben, "/console/polls/sheet/", poll=polls.closed.id))
    assert sum("&lt;script&gt;window.__xss" in page for page in pages) >= 4
    for page in pages:
        assert "<script>window.__xss" not in page
        assert "<img src=x" not in page


def test_polls_of_others_are_unknown(people: People) -> None:
    story = walked(people, "open")
    eve = signed_in(people.eve)
    for path in (POLL, "/console/polls/sheet/"):
        assert eve.get(path, {"poll": str(story.id)}).status_code == 404
    assert step(eve, story.id, "cancel", reason="Nobody needs it any more.").status_code == 404
    assert story.poll.question not in shown(people.eve, POLLS)
    assert signed_in(people.ben).get(POLL, {"poll": "7"}).status_code == 404
    assert signed_in(people.ada).get(STEP, {"poll": str(story.id), "step": "vote"}).status_code == 404


def test_a_manufacturer_sees_polls_about_assigned_agents_decisions_alone(
    people: People, entry: Entry
) -> None:
    polls = furnish_polls(people, entry.uid)
    maker = person("mona", people.acme, Role.MANUFACTURER)
    assert signed_in(maker).get(POLL, {"poll": str(polls.closed.id)}).status_code == 404
    Membership.objects.get(user=maker).agents.add(people.ada_agent.agent)
    assert polls.closed.results is not None
    assert polls.closed.results["headline"]["text"] in shown(maker, POLL, poll=polls.closed.id)
    assert signed_in(maker).get(POLL, {"poll": str(polls.draft.id)}).status_code == 404


def test_viewers_are_offered_no_step(people: People) -> None:
    story = walked(people, "open")
    page = shown(people.ben, POLL, poll=story.id)
    assert "step=close" not in page
    assert "step=close" in shown(people.ada, POLL, poll=story.id)


def test_older_polls_are_one_page_further(people: People) -> None:
    for number in range(27):
        draft = Story(people, {"question": f"Question number {number:02} of many"}).poll
        lifecycle.poll_cancel(
            poll_id=draft.id, actor="system:test", now=utc_now(), reason="Only made to be listed."
        )
    first = shown(people.ben, POLLS)
    (older,) = re.findall(r'href="([^"]*before=[^"]*)"', first)
    second = shown(people.ben, older.replace("&amp;", "&"))
    seen = [re.findall(r"Question number (\d\d)", page) for page in (first, second)]
    assert [*seen[0], *seen[1]] == [f"{number:02}" for number in reversed(range(27))]


# --- answers by hand


def test_a_person_types_in_an_answer_that_stays_sealed(people: People) -> None:
    asked_agents(people, 3, keys=False)
    story = Story(people, {"n": 3}).opened()
    first = story.invitations()[0]
    ada = signed_in(people.ada)
    address = f"{BY_HAND}?poll={story.id}"
    form = {"invitation_id": str(first.id), "choice": "oppose", "reason": "Asked by telephone."}
    short = ada.post(address, form | {"reason": "phone"})
    assert short.status_code == 400
    assert 'id="reason-problem"' in short.content.decode()
    done = ada.post(address, form)
    assert done.status_code == 302, done.content[:300]
    page = ada.get(done.headers["Location"]).content.decode()
    check(page)
    assert "The answer is recorded." in page
    assert first.agent.title not in page
    assert PollInvitation.objects.get(pk=first.pk).state == "answered"
    assert "telephone" not in shown(people.ada, POLL, poll=story.id)


# --- schedules


def schedule_form(**changes: str) -> dict[str, str]:
    return (
        FORM
        | {"do": "create", "title": "Weekly mood", "cron": "30 2 * * 1", "timezone": "Europe/Vienna"}
        | changes
    )


def test_a_schedule_is_set_up_shown_paused_and_started(people: People) -> None:
    asked_agents(people, 3)
    ada = signed_in(people.ada)
    wrong = ada.post(SCHEDULES, schedule_form(cron="@daily"))
    assert (wrong.status_code, 'id="poll-cron-problem"' in wrong.content.decode()) == (400, True)
    assert "cron_invalid" in wrong.content.decode()
    assert ada.post(SCHEDULES, schedule_form()).status_code == 302
    schedule = PollSchedule.objects.get()
    assert schedule.template["n"] == 5
    page = shown(people.ada, SCHEDULES)
    check(page)
    runs = schedules.upcoming(schedule, utc_now())
    assert all(run.isoformat() in page for run in runs)
    assert "the clocks change" in page
    about = {"schedule": str(schedule.id)}
    ada.post(SCHEDULES, about | {"do": "pause"})
    assert not PollSchedule.objects.get().enabled
    assert "Paused." in shown(people.ada, SCHEDULES)
    ada.post(SCHEDULES, about | {"do": "resume"})
    assert PollSchedule.objects.get().enabled
    ada.post(SCHEDULES, about | {"do": "run"})
    assert PollRun.objects.get().poll == Poll.objects.get()
    assert str(Poll.objects.get().id) in shown(people.ada, SCHEDULES)
    assert ada.post(SCHEDULES, about | {"do": "burn"}).status_code == 400
    assert (
        signed_in(person("olga", people.other, "operator"))
        .post(SCHEDULES, about | {"do": "pause"})
        .status_code
        == 404
    )


# --- on the pages of others


def test_overview_and_analytics_tell_of_polls(people: People, entry: Entry) -> None:
    polls = furnish_polls(people, entry.uid)
    page = shown(people.ben, CONSOLE, full="1")
    check(page)
    assert "<span>Open polls</span> <strong>1</strong>" in page
    assert "1 poll closes within an hour." not in page
    assert polls.closed.results is not None
    for place in (page, shown(people.ben, "/console/analytics/", full="1")):
        assert "Poll distributions" in place
        assert polls.closed.results["disclaimer"] in place


def test_poll_that_closes_within_an_hour_waits_for_attention(people: People, entry: Entry) -> None:
    del entry
    asked_agents(people, 6)
    story = Story(people, {"deadline_minutes": 50}).opened()
    page = shown(people.ben, CONSOLE, full="1")
    assert "1 poll closes within an hour." in page
    assert str(story.id) in page


def test_dashboard_gives_the_distributions(people: People, entry: Entry) -> None:
    polls = furnish_polls(people, entry.uid)
    found = signed_in(people.ben).get("/api/v1/dashboard/polls/").json()
    assert [row["poll_id"] for row in found["buckets"]] == [str(polls.closed.id)]
    assert [row["name"] for row in found["series"]] == ["support", "oppose"]
    assert polls.closed.results is not None
    (support,) = found["series"][0]["values"]
    assert support == {
        name: polls.closed.results["options"][0][name] for name in ("count", "share", "low", "high")
    }
    assert found["buckets"][0]["disclaimer"] == polls.closed.results["disclaimer"]
    assert signed_in(people.eve).get("/api/v1/dashboard/polls/").json()["buckets"] == []


def test_record_page_tells_the_result_and_the_story(people: People, entry: Entry) -> None:
    polls = furnish_polls(people, entry.uid)
    page = shown(people.ada, record_path(entry))
    check(page)
    assert polls.closed.results is not None
    headline = polls.closed.results["headline"]["text"]
    assert headline in page
    assert polls.closed.results["disclaimer"] in page
    lines = re.findall(r"<strong><bdi>(.*?)</bdi></strong>", page)
    told = [line for line in lines if "poll" in line or "drew" in line]
    assert told == [
        "The system (test) committed to a poll about this decision",
        "The system (test) committed to a poll about this decision",
        "The system (test) drew who is asked",
        "The system (test) drew who is asked",
        f"The system (test) closed the poll: {headline}",
    ]
    assert f"decision={entry.uid}" in page
    assert "Start a poll" not in shown(people.ben, record_path(entry))


def test_decisions_with_a_poll_are_found(people: People, entry: Entry) -> None:
    record(people.log, decision("Raised the price of the kettle."))
    furnish_polls(people, entry.uid)
    found = shown(people.ben, DECISIONS, q="has:poll")
    assert "the lamp sells slowly" in found
    assert "kettle" not in found
    others = shown(people.ben, DECISIONS, q="-has:poll")
    assert "kettle" in others
    assert "has is one of" in signed_in(people.ben).get(DECISIONS, {"q": "has:contest"}).content.decode()


def test_without_its_panels_nothing_of_the_app_remains(people: People, entry: Entry) -> None:
    polls = furnish_polls(people, entry.uid)
    kept = dict(registry._panels), dict(registry._pages)
    try:
        registry._panels = {k: v for k, v in kept[0].items() if not k.startswith("polls.")}
        registry._pages = {k: v for k, v in kept[1].items() if not k.startswith("polls.")}
        ada = signed_in(people.ada)
        for path in (POLLS, POLL, NEW, STEP, BY_HAND, SCHEDULES):
            assert ada.get(path, {"poll": str(polls.open.id)}).status_code == 404
        for path in (CONSOLE, "/console/analytics/", "/console/reviews/", DECISIONS):
            page = ada.get(path, {"full": "1"} if path != DECISIONS and "reviews" not in path else {})
            assert page.status_code == 200
            assert "polls" not in page.content.decode().lower(), path
        record_page = ada.get(record_path(entry)).content.decode()
        assert "What other agents think" not in record_page
        assert ada.get(DECISIONS, {"q": "has:poll"}).status_code == 400
        assert ada.get("/api/v1/dashboard/polls/").status_code == 404
    finally:
        registry._panels, registry._pages = kept
