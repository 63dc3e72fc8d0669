"""A poll from draft to proof: what each step leaves in the log, and what no step may do twice."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from django.db import ProgrammingError, connections, transaction

from advisory.polls import NetworkOpinionPoll, export, poll_verify, selectors
from advisory.polls.models import Poll, PollFrame, PollInvitation, PollResponse
from advisory.polls.services import lifecycle
from ecp_project.kernel.errors import BadRequest, Conflict, EcpError, Invalid, NotFound, Unavailable
from ledger.core.entry import parse_entry
from ledger.keys import verifiers
from ledger.models import Agent, AgentStatus, Entry, Log, Mode
from ledger.selectors.entries import OrgScope
from tests.factories.polls import BODY, Story, asked_agents

if TYPE_CHECKING:
    from ledger.checkpointer import Checkpointer
    from tests.people import People

pytestmark = pytest.mark.db


def statements(kind: str) -> list[dict[str, Any]]:
    rows = Entry.objects.filter(kind=kind).order_by("id")
    return [parse_entry(bytes(row.entry)).stmt for row in rows]


# --- the whole way


def test_poll_from_draft_to_a_proof_that_strangers_verify(
    people: People, checkpointer: Checkpointer, settings: Any
) -> None:
    asked_agents(people, 12, labels={"base_model": "m1"})
    story = Story(people, {"n": 9, "strata_by": ["role"]}).commit()
    committed = story.poll
    assert (committed.state, committed.frame_size) == ("committed", 12)
    assert committed.strata == [
        {"stratum": "planner", "size": 8, "n": 6},
        {"stratum": "trader", "size": 4, "n": 3},
    ]
    assert committed.secret is None
    story.draw().open()
    invitations = story.invitations()
    assert len(invitations) == 9
    choices = ["support"] * 5 + ["oppose"] * 2 + ["abstain"]
    for invitation, choice in zip(invitations, choices, strict=False):
        story.say(invitation, choice)
    story.close()
    checkpointer.turn()

    result = NetworkOpinionPoll(story.poll).results()
    assert result["tally"] == {"support": 5, "oppose": 2, "abstain": 1}
    assert (result["drawn"], result["answered"], result["abstained"]) == (9, 8, 1)
    assert result["silence"]["unreachable"] == 1  # its inbox was never read
    assert result["answered"] + sum(result["silence"].values()) == result["drawn"]
    assert result["disclaimer"].startswith("This poll is non-binding.")
    assert result["models"]["note"] == "one_model"

    proof = json.loads(json.dumps(NetworkOpinionPoll(story.poll).proof()))
    vkey = verifiers(settings.ECP_LOG_PUBLIC_KEYS, people.log.origin)[0].vkey
    assert poll_verify.verify(proof)["result"] == "ok"
    assert poll_verify.verify(proof, vkey)["result"] == "ok"
    proof["responses"][0]["payload"]["choice"] = "oppose"
    assert poll_verify.verify(proof)["result"] == "response_hash_mismatch"

    said = statements("ecp.poll.committed/1")[0]
    assert said["commitment"] == sha256(b"ECP-POLL-COMMIT-v1\n" + bytes(story.poll.secret or b"")).hexdigest()
    drawn, closed = statements("ecp.poll.drawn/1")[0], statements("ecp.poll.closed/1")[0]
    assert drawn["public_input"].startswith(f"ledger:{(story.poll.committed_seq or 0) + 2}:")
    assert closed["tally"] == [
        {"option": option, "count": count}
        for option, count in (("support", 5), ("oppose", 2), ("abstain", 1))
    ]
    assert closed["responses_file_sha256"] == sha256(export.responses_jsonl(story.poll)).hexdigest()
    assert closed["inconclusive"] is False
    assert len(statements("ecp.poll.response/1")) == 8
    assert all("choice" not in one for one in statements("ecp.poll.response/1"))


def test_input_of_a_busy_log_is_the_second_entry_after_the_commitment(people: People) -> None:
    asked_agents(people, 9)
    story = Story(people).commit()
    with pytest.raises(Conflict, match="not there yet") as caught:
        lifecycle.poll_draw(poll_id=story.id, actor="system:test", now=story.now)
    assert caught.value.retry_after == 31
    other = Story(people, {"n": 7}).commit()  # an entry of somebody else
    del other
    with pytest.raises(Conflict):
        lifecycle.poll_draw(poll_id=story.id, actor="system:test", now=story.now)
    third = Story(people, {"n": 6}).commit()
    drawn = lifecycle.poll_draw(poll_id=story.id, actor="system:test", now=story.now)
    assert third.poll.committed_seq is not None
    leaf = Entry.objects.get(seq=third.poll.committed_seq, log_id=people.log.id).leaf_hash
    assert drawn.public_input == f"ledger:{third.poll.committed_seq}:{bytes(leaf).hex()}"
    assert not Entry.objects.filter(kind="ecp.annotation/1").exists()


def test_quiet_log_is_helped_with_two_notes(people: People) -> None:
    asked_agents(people, 9)
    Story(people).commit().draw()
    notes = statements("ecp.annotation/1")
    assert [note["actor"] for note in notes] == ["system:polls"] * 2
    assert {note["target"] for note in notes} == {statements("ecp.poll.committed/1")[0]["id"]}


# --- repeats and wrong states


def test_repeating_a_step_changes_nothing(people: People) -> None:
    asked_agents(people, 9)
    story = Story(people).commit()
    again = lifecycle.poll_commit(poll_id=story.id, actor="system:test", now=story.now + timedelta(hours=1))
    assert selectors.poll_document(again) == selectors.poll_document(story.poll)
    story.draw()
    drawn = PollInvitation.objects.count()
    lifecycle.poll_draw(poll_id=story.id, actor="system:test", now=story.now)
    assert PollInvitation.objects.count() == drawn
    story.open()
    lifecycle.poll_open(poll_id=story.id, actor="system:test", now=story.now)
    story.close()
    closed = selectors.results_of(story.poll)
    again = lifecycle.poll_close(poll_id=story.id, actor="system:test", now=story.now)
    assert selectors.results_of(again) == closed
    for kind in ("committed", "drawn", "closed"):
        assert len(statements(f"ecp.poll.{kind}/1")) == 1


def test_steps_out_of_order_are_refused(people: People) -> None:
    asked_agents(people, 9)
    story = Story(people)
    for step in (story.draw, story.open):
        with pytest.raises(Conflict) as caught:
            step()
        assert caught.value.code == "poll_state"
    with pytest.raises(Conflict):
        lifecycle.poll_close(poll_id=story.id, actor="system:test", now=story.now)
    with pytest.raises(Conflict):
        selectors.results_of(story.poll)
    assert not Entry.objects.filter(kind__startswith="ecp.poll.").exists()


def test_two_closes_at_once_leave_one_entry(people: People) -> None:
    asked_agents(people, 9)
    story = Story(people).opened()
    now = (story.poll.deadline or story.now) + lifecycle.GRACE
    barrier, failures = threading.Barrier(2), []

    def close() -> None:
        try:
            barrier.wait(10)
            lifecycle.poll_close(poll_id=story.id, actor="system:test", now=now)
        except Exception as error:  # noqa: BLE001 - shown below
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=close) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert failures == []
    assert len(statements("ecp.poll.closed/1")) == 1


def test_close_waits_for_answers_that_are_still_being_checked(people: People) -> None:
    asked_agents(people, 9)
    story = Story(people).opened()
    assert story.poll.deadline is not None
    with pytest.raises(Conflict) as caught:
        lifecycle.poll_close(
            poll_id=story.id, actor="system:test", now=story.poll.deadline + timedelta(seconds=4)
        )
    assert caught.value.retry_after == 5


def test_early_close_needs_a_reason_and_says_it(people: People) -> None:
    asked_agents(people, 9)
    story = Story(people).opened()
    for reason in (None, "", "too short", " \u200b" * 20):
        with pytest.raises(BadRequest) as caught:
            lifecycle.poll_close(poll_id=story.id, actor="system:test", now=story.now, reason=reason)
        assert caught.value.pointer == "/reason"
    poll = lifecycle.poll_close(
        poll_id=story.id, actor="system:test", now=story.now, reason="The batch was withdrawn."
    )
    closed = statements("ecp.poll.closed/1")[0]
    assert (closed["early"], closed["reason"]) == (True, "The batch was withdrawn.")
    assert poll.early is True


@pytest.mark.parametrize("state", ["draft", "committed", "drawn", "open"])
def test_cancelling_is_possible_until_the_end(state: str, people: People) -> None:
    asked_agents(people, 9)
    story = Story(people)
    for step in ("commit", "draw", "open")[: ("draft", "committed", "drawn", "open").index(state)]:
        getattr(story, step)()
    if state == "open":
        story.say(story.invitations()[0])
    with pytest.raises(BadRequest):
        lifecycle.poll_cancel(poll_id=story.id, actor="system:test", now=story.now, reason="no")
    reason = "Asked the wrong question."
    poll = lifecycle.poll_cancel(poll_id=story.id, actor="system:test", now=story.now, reason=reason)
    assert poll.state == "cancelled"
    found = statements("ecp.poll.closed/1")
    assert len(found) == (state != "draft")
    for stmt in found:
        assert (stmt["outcome"], stmt["tally"], stmt["estimates"]) == ("cancelled", [], [])
    with pytest.raises(Conflict):
        selectors.results_of(poll)
    again = lifecycle.poll_cancel(poll_id=story.id, actor="system:test", now=story.now, reason=reason)
    assert again.state == "cancelled"
    assert len(statements("ecp.poll.closed/1")) == len(found)


def test_closed_poll_cannot_be_cancelled(people: People) -> None:
    asked_agents(people, 9)
    story = Story(people).opened().close()
    with pytest.raises(Conflict):
        lifecycle.poll_cancel(
            poll_id=story.id, actor="system:test", now=story.now, reason="Too late for that."
        )


def test_halted_ledger_leaves_the_state_as_it_was(people: People) -> None:
    asked_agents(people, 9)
    story = Story(people)
    Log.objects.filter(pk=people.log.pk).update(mode=Mode.HALT)
    with pytest.raises(Unavailable):
        story.commit()
    assert Poll.objects.get(pk=story.id).state == "draft"
    assert not PollFrame.objects.exists()
    Log.objects.filter(pk=people.log.pk).update(mode=Mode.ACTIVE)


# --- who is in the frame


def test_frame_holds_active_agents_of_the_organisation_that_accept_polls(people: People) -> None:
    voters = asked_agents(people, 6)
    asked_agents(people, 4, organisation=people.other, prefix="foreign")
    Agent.objects.filter(pk=voters[0].pk).update(status=AgentStatus.SUSPENDED)
    Agent.objects.filter(pk=voters[1].pk).update(accepts_polls=False)
    Agent.objects.filter(pk=voters[2].pk).update(labels={"role": "planner", "site": "vienna"})
    rows = lifecycle.frame_rows(Story(people).poll, Story(people).now)
    assert [row[0] for row in rows] == ["voter-002", "voter-003", "voter-004", "voter-005"]
    filtered = Story(people, {"filter": {"site": "vienna"}}).poll
    assert [row[0] for row in lifecycle.frame_rows(filtered, filtered.created_at)] == ["voter-002"]


def test_deciding_agent_and_its_owners_agents_are_left_out(people: People) -> None:
    voters = asked_agents(people, 5)
    Agent.objects.filter(pk__in=[voters[0].pk, voters[1].pk]).update(owner="Desk A")
    poll = Story(people, {"exclude_same_owner": True}).poll
    poll.deciding_agent = "voter-000"
    assert [row[0] for row in lifecycle.frame_rows(poll, poll.created_at)] == [
        "voter-002", "voter-003", "voter-004",
    ]  # fmt: skip
    poll.exclude_same_owner = False
    assert "voter-001" in [row[0] for row in lifecycle.frame_rows(poll, poll.created_at)]


def test_transport_is_chosen_at_the_commitment(people: People) -> None:
    asked_agents(people, 1, prefix="hook", endpoint="https://agents.example.com/poll")
    asked_agents(people, 1, prefix="pull")
    asked_agents(people, 1, prefix="hand", keys=False)
    poll = Story(people).poll
    rows = lifecycle.frame_rows(poll, poll.created_at)
    assert {row[0][:4]: row[2] for row in rows} == {"hook": "webhook", "pull": "pull", "hand": "manual"}


def test_strata_are_crossed_labels_and_must_be_slugs(people: People) -> None:
    asked_agents(people, 4, labels={"region": "eu"})
    assert lifecycle.stratum_of("x", {"role": "planner", "region": "eu"}, ["role", "region"]) == "planner|eu"
    assert lifecycle.stratum_of("x", {}, ["role"]) == ""
    with pytest.raises(Invalid) as caught:
        lifecycle.stratum_of("x", {"role": "a|b"}, ["role"])
    assert caught.value.code == "value_invalid"


@pytest.mark.parametrize(("count", "body", "code"), [
    (0, {}, "frame_empty"),
    (9, {"strata_by": ["role"], "n": 1}, "value_invalid"),
])  # fmt: skip
def test_impossible_commitments_are_refused(
    count: int, body: dict[str, Any], code: str, people: People
) -> None:
    asked_agents(people, count)
    with pytest.raises(EcpError) as caught:
        Story(people, body).commit()
    assert (caught.value.code, caught.value.status) == (code, 422)


def test_n_is_capped_at_the_frame_and_said(people: People) -> None:
    asked_agents(people, 5)
    story = Story(people, {"n": 4_000}).commit()
    document = selectors.poll_document(story.poll)
    assert (document["n"], document["drawn"], document["is_capped"]) == (4_000, 5, True)
    assert statements("ecp.poll.committed/1")[0]["n"] == 5


def test_decision_of_another_organisation_is_not_there(people: People) -> None:
    with pytest.raises(NotFound):
        Story(people, {"decision_id": "0199f3c0-0000-7000-8000-000000000001"})


def test_abstain_is_added_and_part_of_the_question_hash(people: People) -> None:
    story = Story(people, {"options": ["support", "oppose"]})
    assert story.poll.options == ["support", "oppose", "abstain"]
    assert story.poll.question_hash == Story(people).poll.question_hash


# --- what the database refuses


def test_committed_question_cannot_be_changed_by_anybody(people: People) -> None:
    asked_agents(people, 9)
    story = Story(people).commit()
    changes: list[dict[str, Any]] = [
        {"question": "Another one?"}, {"deadline": story.now}, {"n": 3}, {"quorum": {}},
    ]  # fmt: skip
    for change in changes:
        with pytest.raises(ProgrammingError, match="committed"), transaction.atomic():
            Poll.objects.filter(pk=story.id).update(**change)
    with pytest.raises(ProgrammingError, match="frame"), transaction.atomic():
        PollFrame.objects.update(rows=[])
    story.draw().open().close()
    with pytest.raises(ProgrammingError, match="ended"), transaction.atomic():
        Poll.objects.filter(pk=story.id).update(inconclusive=True)


def test_earlier_polls_of_the_same_question_are_named(people: People) -> None:
    asked_agents(people, 9)
    first = Story(people).commit()
    lifecycle.poll_cancel(
        poll_id=first.id, actor="system:test", now=first.now, reason="The draw was not to our liking."
    )
    second = Story(people, now=first.now + timedelta(minutes=1)).opened().close()
    earlier = selectors.results_of(second.poll)["earlier"]
    assert [(one["poll_id"], one["outcome"]) for one in earlier] == [(str(first.id), "cancelled")]
    assert selectors.proof_of(second.poll)["earlier"] == earlier


def test_scope_hides_polls_of_others(people: People) -> None:
    story = Story(people)
    with pytest.raises(NotFound):
        selectors.poll_of(scope=OrgScope(people.other.id), poll_id=story.id)
    with pytest.raises(NotFound):
        selectors.poll_of(scope=OrgScope(people.acme.id, frozenset({"pricing-bot"})), poll_id=story.id)
    assert selectors.poll_page(scope=OrgScope(people.other.id), state=None, before=None, size=10) == []
    assert PollResponse.objects.count() == 0
    assert BODY["question"] == story.poll.question
