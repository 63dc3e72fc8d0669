"""The quoted reason of the largest minority is hidden for privacy on the record, and never silently."""

from __future__ import annotations

import csv
import io
import json
import re
from hashlib import sha256
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest
from django.db import DatabaseError, transaction

from advisory.polls.models import PollMinorityAct
from advisory.polls.poll_verify import verify
from advisory.polls.services import lifecycle, privacy
from ecp_project.kernel.errors import Conflict
from ledger.models import Entry, Log, Mode, Role
from tests.advisory.polls.test_lifecycle import statements
from tests.console.desk import shown, signed_in, staff_acts
from tests.console.test_frame import check
from tests.factories.polls import XSS, Story, asked_agents, brought_to
from tests.people import person

if TYPE_CHECKING:
    from tests.people import People

pytestmark = pytest.mark.db
POLL, STEP, SHEET = "/console/polls/poll/", "/console/polls/step/", "/console/polls/sheet/"
TEXT = "Mrs Huber of the shop in Linz told me so."
WHY = "It names a customer and her town."
HIDE, SHOW = "hide-minority", "show-minority"


def told(people: People, text: str = TEXT) -> Story:
    """A closed poll: two support it, one opposes it and says why."""
    asked_agents(people, 3)
    story = brought_to(people, "open")
    for invitation, choice in zip(story.invitations(), ("support", "support", "oppose"), strict=True):
        story.say(invitation, choice, rationale=text if choice == "oppose" else "Fine.")
    story.poll = lifecycle.poll_close(
        poll_id=story.id, actor="system:test", now=story.now, reason="Enough has been said."
    )
    return story


def step(user: Any, story: Story, name: str, reason: str = WHY) -> Any:
    return signed_in(user).post(f"{STEP}?poll={story.id}&step={name}", {"reason": reason})


def api(people: People, story: Story, name: str, **query: str) -> Any:
    answer = signed_in(people.ben).get(f"/api/v1/polls/{story.id}/{name}/", query)
    assert answer.status_code == 200, answer.content
    return answer


def words(page: str) -> str:
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", page)))


def test_hiding_takes_the_text_from_page_print_result_and_table(people: People) -> None:
    story = told(people)
    before = api(people, story, "results").json()
    assert before["minority_report"] == {"option": "oppose", "count": 1, "rationale": TEXT}
    assert step(people.ada, story, HIDE).status_code == 302
    (act,) = staff_acts(people.log)
    assert (act["action"], act["object"], act["reason"]) == (
        "poll.minority_hide",
        f"poll:{story.id}",
        WHY,
    )
    assert act["actor"].startswith("staff:")
    for path in (POLL, SHEET):
        page = shown(people.ben, path, poll=story.id)
        assert TEXT not in page
        assert "The longest of their reasons is hidden for privacy." in page
        said = f"Hidden for privacy by Staff member {act['actor'][6:14]} on"
        assert said in words(page)
        assert WHY in page
    check(shown(people.ben, POLL, poll=story.id))
    after = api(people, story, "results").json()
    assert after["minority_report"] == {
        "option": "oppose",
        "count": 1,
        "rationale": None,
        "hidden": True,
        "acts": [
            {"act": "hidden", "by": act["actor"], "at": act["ts"], "reason": WHY, "entry_id": act["id"]}
        ],
    }
    assert {**after, "minority_report": 0} == {**before, "minority_report": 0}
    table = list(csv.DictReader(io.StringIO(api(people, story, "responses", format="csv").content.decode())))
    assert [row["rationale"] for row in table] == [
        "Fine.",
        "Fine.",
        f"Hidden for privacy by {act['actor']} on {act['ts']}. Reason: {WHY}",
    ]


def test_proof_and_exact_lines_stay_as_the_log_has_them(people: People) -> None:
    story = told(people)
    assert "minority_acts" not in api(people, story, "proof").json()
    assert step(people.ada, story, HIDE).status_code == 302
    lines = api(people, story, "responses").content
    assert sha256(lines).hexdigest() == statements("ecp.poll.closed/1")[0]["responses_file_sha256"]
    assert TEXT in lines.decode()
    proof = api(people, story, "proof").json()
    assert [one["act"] for one in proof["minority_acts"]] == ["hidden"]
    assert TEXT in json.dumps(proof["responses"])
    assert verify(proof)["result"] == "ok"
    assert "The proof and the JSON lines hold it still" in shown(people.ben, POLL, poll=story.id)


def test_showing_it_again_is_an_act_too_and_both_stay_beside_the_text(people: People) -> None:
    story = told(people)
    step(people.ada, story, HIDE)
    assert step(people.ada, story, SHOW, "She agreed that it is shown.").status_code == 302
    assert [act["action"] for act in staff_acts(people.log)] == ["poll.minority_hide", "poll.minority_show"]
    report = api(people, story, "results").json()["minority_report"]
    assert (report["rationale"], report["hidden"]) == (TEXT, False)
    assert [one["act"] for one in report["acts"]] == ["hidden", "shown"]
    page = words(shown(people.ben, POLL, poll=story.id))
    for said in (TEXT, WHY, "Hidden for privacy by", "Shown again by", "She agreed that it is shown."):
        assert said in page
    assert TEXT in api(people, story, "responses", format="csv").content.decode()


def test_form_says_that_the_proof_keeps_the_text_and_asks_for_a_reason(people: People) -> None:
    story = told(people)
    page = shown(people.ada, STEP, poll=story.id, step=HIDE)
    check(page)
    assert "whoever takes those files can still read the text" in page
    short = step(people.ada, story, HIDE, "Because \u200b\u200b\u200b\u200b\u200b")
    assert short.status_code == 400
    assert "at least 10 are needed" in short.content.decode()
    assert not PollMinorityAct.objects.exists()
    assert staff_acts(people.log) == []


def test_doing_it_twice_leaves_one_entry(people: People) -> None:
    story = told(people)
    assert step(people.ada, story, SHOW).status_code == 409  # nothing is hidden
    assert step(people.ada, story, HIDE).status_code == 302
    again = step(people.ada, story, HIDE, "Once more, to be quite sure.")
    assert again.status_code == 409
    assert "the quoted reason is hidden already" in again.content.decode()
    assert len(staff_acts(people.log)) == 1
    assert "there is nothing to confirm" in shown(people.ada, STEP, poll=story.id, step=HIDE)


def test_order_of_acts_is_that_of_the_log_though_a_clock_goes_back(people: People) -> None:
    """Whoever waited for the lock has an older time, and the last word all the same."""
    story = told(people)
    for act, seconds in ((privacy.minority_hide, 2), (privacy.minority_show, 1), (privacy.minority_hide, 0)):
        act(
            poll_id=story.id,
            actor="system:test",
            reason=WHY,
            now=story.now.replace(microsecond=0, second=seconds),
        )
    report = api(people, story, "results").json()["minority_report"]
    assert [one["act"] for one in report["acts"]] == ["hidden", "shown", "hidden"]
    assert report["rationale"] is None


@pytest.mark.parametrize("role", ["operator", "admin", "viewer", "auditor", "manufacturer"])
def test_operators_and_admins_alone_may(people: People, role: str) -> None:
    story = told(people)
    user = person(f"{role}-here", people.acme, role)
    may = role in {Role.OPERATOR, Role.ADMIN}
    assert step(user, story, HIDE).status_code == (302 if may else 403)
    assert len(staff_acts(people.log)) == int(may)
    if role != Role.MANUFACTURER:
        page = shown(user, POLL, poll=story.id)
        assert ("Show the quoted reason again" in page) == may


def test_poll_of_others_is_unknown(people: People) -> None:
    story = told(people)
    stranger = person("olga", people.other, "operator")
    assert step(stranger, story, HIDE).status_code == 404
    assert signed_in(stranger).get(STEP, {"poll": str(story.id), "step": HIDE}).status_code == 404
    assert not PollMinorityAct.objects.exists()


@pytest.mark.parametrize("state", ["draft", "committed", "drawn", "open"])
def test_nothing_is_hidden_before_the_close(people: People, state: str) -> None:
    asked_agents(people, 3)
    story = brought_to(people, state)
    if state == "open":
        story.say(story.invitations()[0], "oppose", rationale=TEXT)
    answer = step(people.ada, story, HIDE)
    assert answer.status_code == 409
    assert ("poll_open" if state == "open" else "poll_state") in answer.content.decode()
    assert HIDE not in shown(people.ada, POLL, poll=story.id)
    assert "there is nothing to confirm" in shown(people.ada, STEP, poll=story.id, step=HIDE)
    assert staff_acts(people.log) == []


def test_without_a_quoted_reason_there_is_nothing_to_hide(people: People) -> None:
    story = told(people, text="")
    assert HIDE not in shown(people.ada, POLL, poll=story.id)
    assert step(people.ada, story, HIDE).status_code == 409
    with pytest.raises(Conflict, match="quotes no reason"):
        privacy.minority_hide(poll_id=story.id, actor="system:test", reason=WHY, now=story.now)


def test_text_and_reason_are_text_and_no_markup(people: People) -> None:
    story = told(people, text=XSS)
    assert "&lt;script&gt;window.__xss" in shown(people.ben, POLL, poll=story.id)
    step(people.ada, story, HIDE, XSS)
    for path in (POLL, SHEET):
        page = shown(people.ben, path, poll=story.id)
        assert "<script>window.__xss" not in page
        assert "<img src=x" not in page
        assert page.count("&lt;script&gt;window.__xss") == 1  # the reason alone
    table = api(people, story, "responses", format="csv").content.decode()
    assert table.count("window.__xss=1") == 1


def test_halted_ledger_takes_nothing_and_the_text_stays(people: People) -> None:
    story = told(people)
    Log.objects.filter(pk=people.log.pk).update(mode=Mode.HALT)
    answer = step(people.ada, story, HIDE)
    assert answer.status_code == 503
    assert f">{WHY}</textarea>" in answer.content.decode()
    assert not PollMinorityAct.objects.exists()
    assert TEXT in shown(people.ben, POLL, poll=story.id)


def test_acts_on_record_cannot_be_changed_or_removed(people: People) -> None:
    story = told(people)
    step(people.ada, story, HIDE)
    assert Entry.objects.filter(uid=PollMinorityAct.objects.get().id, kind="ecp.staff/1").count() == 1
    rows = PollMinorityAct.objects.all()
    with pytest.raises(DatabaseError, match="stays on record"), transaction.atomic():
        rows.update(hides=False)
    with pytest.raises(DatabaseError, match="stays on record"), transaction.atomic():
        rows.delete()
