"""The reserve: only for agents that were de-registered before the question came, in order, with an entry."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from advisory.polls import poll_verify, selectors
from advisory.polls.services import delivery
from ledger.models import Agent, AgentStatus
from ledger.selectors.entries import OrgScope
from tests.advisory.polls.test_lifecycle import statements
from tests.factories.polls import Story, asked_agents

if TYPE_CHECKING:
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
    assert gone in note["text"]
    assert second in note["text"]
    delivery.sweep(now=story.now + timedelta(seconds=15))
    assert len(story.invitations()) == 6
    story.say(asked[second])
    story.close()
    proof = selectors.proof_of(story.poll)
    assert proof["replaced"] == {"gone": [gone], "by": [second]}
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


@pytest.mark.parametrize(
    "change",
    [
        {"gone": [], "by": []},
        {"gone": ["nobody"]},
        {"by": ["nobody"]},
        {"by": []},
    ],
)
def test_verifier_takes_no_other_exchange(people: People, change: dict[str, list[str]]) -> None:
    story = opened(people)
    retire(story.invitations()[0].agent.slug)
    delivery.sweep(now=story.now)
    sample = set(selectors.draw_of(story.poll).sample)
    (new,) = (row for row in story.invitations() if row.agent.slug not in sample)
    story.say(new)
    story.close()
    proof = selectors.proof_of(story.poll)
    assert poll_verify.verify(proof)["result"] == "ok"
    proof["replaced"] |= change
    expected = "response_not_in_sample" if change == {"gone": [], "by": []} else "sample_mismatch"
    assert poll_verify.verify(proof)["result"] == expected
