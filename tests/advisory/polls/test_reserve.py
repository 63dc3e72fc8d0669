"""The reserve: only for agents that were de-registered before the question came, in order, with an entry."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.conf import settings

from advisory.polls import poll_verify, selectors
from advisory.polls.services import delivery
from ledger.keys import verifiers
from ledger.models import Agent, AgentStatus
from ledger.selectors.entries import OrgScope
from tests.advisory.polls.test_lifecycle import statements
from tests.factories.polls import Story, asked_agents

if TYPE_CHECKING:
    from collections.abc import Callable

    from ledger.checkpointer import Checkpointer
    from tests.people import People

pytestmark = pytest.mark.db


def opened(people: People) -> Story:
    asked_agents(people, 12)
    return Story(people, {"n": 6, "strata_by": ["role"], "estimator": "stratified"}).opened()


def retire(slug: str) -> None:
    Agent.objects.filter(slug=slug).update(status=AgentStatus.RETIRED)


def test_the_next_of_the_stratum_is_asked_and_the_log_says_so(people: People) -> None:
    story = opened(people)
    drawn = selectors.draw_of(story.poll)
    (stratum,) = (one for one in drawn.strata if one.name == "planner")
    gone, first, second = (
        stratum.selected[0].agent_id,
        stratum.reserve[0].agent_id,
        stratum.reserve[1].agent_id,
    )
    retire(gone)
    retire(first)  # who is gone too is passed over
    delivery.sweep(now=story.now)
    asked = {row.agent.slug: row for row in story.invitations()}
    assert gone not in asked
    assert first not in asked
    assert asked[second].ticket == stratum.reserve[1].ticket
    assert len(asked) == 6
    (note,) = statements("ecp.annotation/1")[-1:]
    assert note["target"] == str(story.poll.drawn_id)
    assert note["text"] == (
        f"{gone} was de-registered before the question reached it: {second}, next in the reserve of its "
        f"stratum, is asked instead. Passed over, as not active: {first}."
    )
    delivery.sweep(now=story.now + timedelta(seconds=15))
    assert len(story.invitations()) == 6
    story.say(asked[second])
    story.close()
    proof = selectors.proof_of(story.poll)
    assert proof["replaced"] == [{"gone": gone, "by": second}]
    assert poll_verify.verify(proof)["result"] == "ok"
    assert (proof["drawn"], proof["answered"]) == (6, 1)


def test_silence_suspension_and_delivered_questions_are_never_replaced(people: People) -> None:
    story = opened(people)
    first, second, *_ = story.invitations()
    Agent.objects.filter(pk=first.agent_id).update(status=AgentStatus.SUSPENDED)
    delivery.inbox_read(scope=OrgScope(people.acme.id), agent_id=second.agent_id, now=story.now)
    retire(second.agent.slug)
    before = [row.agent.slug for row in story.invitations()]
    delivery.sweep(now=story.now)
    assert [row.agent.slug for row in story.invitations()] == before


def test_an_empty_reserve_leaves_the_place_empty(people: People) -> None:
    asked_agents(people, 6)
    story = Story(people, {"n": 6}).opened()
    retire(story.invitations()[0].agent.slug)
    delivery.sweep(now=story.now)
    assert len(story.invitations()) == 6
    story.close()
    assert selectors.results_of(story.poll)["silence"]["unreachable"] == 6
    assert "replaced" not in selectors.proof_of(story.poll)


def twice_replaced(people: People, checkpointer: Checkpointer) -> tuple[dict[str, Any], str]:
    """The proof of a poll in which one stood in for another that had stood in, and the log's key."""
    story = opened(people)
    sample = set(selectors.draw_of(story.poll).sample)
    new = next(row for row in story.invitations() if row.stratum == "planner")
    for _ in range(2):
        retire(new.agent.slug)
        delivery.sweep(now=story.now)
        (new,) = (row for row in story.invitations() if row.agent.slug not in sample)
    story.say(new)
    story.close()
    checkpointer.turn()
    vkey = verifiers(settings.ECP_LOG_PUBLIC_KEYS, people.log.origin)[0].vkey
    return selectors.proof_of(story.poll), vkey


def test_who_stood_in_may_be_replaced_too_and_the_proof_tells_of_both(
    people: People, checkpointer: Checkpointer
) -> None:
    proof, vkey = twice_replaced(people, checkpointer)
    first, second = proof["replaced"]
    assert first["by"] == second["gone"]
    assert poll_verify.verify(proof, vkey)["result"] == "ok"


def test_who_is_back_after_it_was_replaced_is_not_asked_again(people: People) -> None:
    story = opened(people)
    drawn = selectors.draw_of(story.poll)
    (stratum,) = (one for one in drawn.strata if one.name == "planner")
    old, first, second, third = (place.agent_id for place in (*stratum.selected[:1], *stratum.reserve[:3]))
    for slug in (old, first):
        retire(slug)
        delivery.sweep(now=story.now)
    Agent.objects.filter(slug=first).update(status=AgentStatus.ACTIVE)
    retire(second)
    delivery.sweep(now=story.now)
    asked = {row.agent.slug for row in story.invitations()}
    assert third in asked
    assert first not in asked


def test_verifier_takes_no_other_exchange(people: People, checkpointer: Checkpointer) -> None:
    """Whom the proof calls gone or asked must follow from the draw, and stand on the log in these words."""
    sound, vkey = twice_replaced(people, checkpointer)
    one, two = sound["replaced"]
    silent = next(agent for agent in sound["sample"] if agent != one["gone"])
    stranger = next(agent for agent, stratum in sound["frame"] if stratum == "trader")
    free = [agent for agent, _ in sound["frame"] if agent not in {*sound["sample"], one["by"], two["by"]}]
    stratum_of = dict(sound["frame"])
    other = next(agent for agent in free if stratum_of[agent] == stratum_of[one["gone"]])
    cases: list[tuple[list[dict[str, str]], str, str]] = [
        ([], "response_not_in_sample", "response_not_in_sample"),
        ([one], "response_not_in_sample", "response_not_in_sample"),
        ([two, one], "sample_mismatch", "sample_mismatch"),
        ([one, two, {"gone": "nobody", "by": other}], "sample_mismatch", "sample_mismatch"),
        ([one, two, {"gone": silent, "by": one["by"]}], "sample_mismatch", "sample_mismatch"),
        ([one | {"by": stranger}, two], "sample_mismatch", "sample_mismatch"),
        ([one | {"by": two["by"]}], "ok", "entry_mismatch"),  # one stands before it, and no note says why not
        ([one, two, {"gone": two["by"], "by": other}], "response_not_in_sample", "response_not_in_sample"),
    ]
    for replaced, alone, bound in cases:
        proof = sound | {"replaced": replaced}
        assert (poll_verify.verify(proof)["result"], poll_verify.verify(proof, vkey)["result"]) == (
            alone, bound,
        ), replaced  # fmt: skip


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda _: [], "receipt_invalid"),
        (lambda notes: notes[:1], "receipt_invalid"),
        (lambda notes: notes[::-1], "entry_mismatch"),
        (lambda notes: [{"entry": notes[0]["entry"]}, notes[1]], "receipt_invalid"),
    ],
    ids=["no notes", "one note", "notes exchanged", "note that is not signed"],
)
def test_each_exchange_has_its_own_note_on_the_log(
    people: People, checkpointer: Checkpointer, change: Callable[[list[Any]], list[Any]], code: str
) -> None:
    proof, vkey = twice_replaced(people, checkpointer)
    proof["receipts"]["replaced"] = change(proof["receipts"]["replaced"])
    assert poll_verify.verify(proof)["result"] == "ok"
    assert poll_verify.verify(proof, vkey)["result"] == code
