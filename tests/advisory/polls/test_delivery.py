"""Deliveries over real HTTP: every invitation ends, nothing is counted twice, two workers do no harm."""

from __future__ import annotations

import base64
import threading
from datetime import timedelta
from hashlib import sha256
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections

from advisory.polls import selectors
from advisory.polls.models import Poll, PollInvitation, PollResponse
from advisory.polls.services import delivery as deliveries
from ecp_project.api import calls, delivery
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.signing import b64url_decode, verify
from ledger.models import Agent, AgentStatus, Log, Mode
from tests.advisory.polls.agents import Town, example, living, seed_of
from tests.factories.polls import Story, asked_agents

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path
    from uuid import UUID

    from tests.people import People

pytestmark = pytest.mark.db


@pytest.fixture
def town(settings: Any, tmp_path: Path) -> Iterator[Town]:
    settings.ECP_DELIVERY_KEY_FILE = tmp_path / "delivery.key"
    settings.ECP_DELIVERY_PUBLIC_KEYS = tmp_path / "delivery-keys.json"
    delivery.make_key(now=utc_now())
    with living() as found:
        yield found


def settled(people: People, town: Town, *behaviours: str, **body: Any) -> Story:
    """An open poll of one agent for each behaviour; each is named after it."""
    for behaviour in behaviours:
        (agent,) = asked_agents(people, 1, prefix=behaviour)
        agent.endpoint = town.address(behaviour, agent.slug)
        agent.save(update_fields=["endpoint"])
    return Story(people, {"n": len(behaviours)} | body).opened()


def deliver(invitation_id: UUID, now: datetime) -> None:
    deliveries.invitation_deliver(invitation_id=invitation_id, clock=lambda: now, jitter=lambda most: most)


def turn(story: Story) -> int:
    """One sweep and its deliveries at the clock of the story."""
    found = deliveries.sweep(now=story.now)
    for invitation_id in found:
        deliver(invitation_id, story.now)
    return len(found)


def states(story: Story) -> dict[str, tuple[str, str]]:
    return {row.agent.slug[:-4]: (row.state, row.last_error) for row in story.invitations()}


def test_agents_of_every_behaviour_end_in_their_class(people: People, town: Town) -> None:
    story = settled(
        people, town, "answer", "accept", "decline", "forge", "junk", "gone", "flaky", "stubborn", "redirect",
        "huge",
    )  # fmt: skip
    assert turn(story) == 10
    assert states(story) == {
        "answer": ("answered", ""),
        "accept": ("delivered", ""),
        "decline": ("declined", ""),
        "forge": ("delivered", "key_inactive"),
        "junk": ("delivered", "malformed_json"),
        "gone": ("unreachable", "status_410"),
        "flaky": ("pending", "status_503"),
        "stubborn": ("pending", "status_503"),
        "redirect": ("unreachable", "blocked_redirect"),
        "huge": ("unreachable", "blocked_too_large"),
    }
    story.now += timedelta(seconds=6)
    assert turn(story) == 0  # Retry-After says 7
    for _ in range(6):
        story.now += timedelta(seconds=8)
        turn(story)
    assert states(story)["flaky"] == ("answered", "status_503")
    assert states(story)["stubborn"] == ("unreachable", "status_503")
    assert len(town.calls_to("stubborn-000")) == 6
    story.close()
    result = selectors.results_of(story.poll)
    assert result["silence"] == {"unreachable": 4, "silent": 1, "declined": 1, "invalid": 2, "late": 0}
    assert result["answered"] == 2
    assert {row.state for row in story.invitations()} <= {"answered", "declined", "silent", "unreachable"}


def test_call_is_signed_and_keeps_its_idempotency_key(people: People, town: Town) -> None:
    story = settled(people, town, "flaky")
    turn(story)
    story.now += timedelta(seconds=8)
    turn(story)
    (first, body), (second, again) = town.calls_to("flaky-000")
    assert body == again
    assert first["idempotency-key"] == second["idempotency-key"] == str(story.invitations()[0].id)
    assert first["content-digest"] == f"sha-256=:{base64.b64encode(sha256(body).digest()).decode()}:"
    parameters = first["signature-input"].removeprefix("ecp=")
    base = delivery.signature_base(
        town.address("flaky", "flaky-000"), first["content-digest"], first["idempotency-key"], parameters
    )
    (key,) = delivery.public_keys()
    signature = base64.b64decode(first["signature"].removeprefix("ecp=:").removesuffix(":"))
    assert verify(b64url_decode(key["public_key"]), signature, base)
    assert f'keyid="{key["kid"]}"' in parameters
    assert len(body) <= calls.MAX_REQUEST


def test_the_example_leaves_alone_what_is_no_question(town: Town) -> None:
    del town
    agent = example()
    server = ThreadingHTTPServer(("127.0.0.1", 0), agent.handler("pricing-bot", seed_of("pricing-bot")))
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    outcome = calls.call(
        url=f"http://127.0.0.1:{server.server_port}/",
        document={"v": "ecp.friction.answer/1", "id": "x"},
        idempotency_key="x",
        now=utc_now(),
    )
    thread.join(10)
    server.server_close()
    assert outcome == calls.Outcome(is_delivered=True)


def test_two_sweepers_share_what_is_due(people: People, town: Town) -> None:
    story = settled(people, town, *["accept"] * 1)
    Agent.objects.filter(slug="accept-000").update(status=AgentStatus.ACTIVE)
    barrier, found = threading.Barrier(2), []

    def sweep() -> None:
        barrier.wait(10)
        found.extend(deliveries.sweep(now=story.now))
        connections.close_all()

    threads = [threading.Thread(target=sweep) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert found == [story.invitations()[0].id]


def test_message_that_comes_twice_makes_one_call(people: People, town: Town) -> None:
    story = settled(people, town, "stubborn")
    (invitation_id,) = deliveries.sweep(now=story.now)
    deliver(invitation_id, story.now)
    deliver(invitation_id, story.now)
    assert len(town.calls) == 1
    deliver(invitation_id, story.now + timedelta(hours=2))  # long past the deadline
    assert len(town.calls) == 1


def test_killed_worker_costs_one_lease_and_no_answer(people: People, town: Town) -> None:
    story = settled(people, town, "answer")
    (invitation_id,) = deliveries.sweep(now=story.now)
    assert deliveries._claim(invitation_id, story.now) is not None  # and then the worker is gone
    assert deliveries.sweep(now=story.now + timedelta(seconds=39)) == []
    story.now += timedelta(seconds=41)
    assert turn(story) == 1
    assert states(story)["answer"] == ("answered", "")
    assert PollInvitation.objects.get().attempts == 2
    assert PollResponse.objects.count() == 1


def test_late_result_of_a_lost_attempt_changes_nothing(people: People, town: Town) -> None:
    story = settled(people, town, "accept")
    (invitation_id,) = deliveries.sweep(now=story.now)
    lost = deliveries._claim(invitation_id, story.now)
    assert lost is not None
    story.now += timedelta(seconds=41)
    turn(story)
    failed = calls.Outcome(is_delivered=False, error="timeout")
    deliveries._note_failure(lost, failed, story.now, lambda most: most)
    assert states(story)["accept"] == ("delivered", "")


def test_retry_is_never_planned_past_the_deadline(people: People, town: Town) -> None:
    story = settled(people, town, "stubborn", deadline_minutes=1)
    assert story.poll.deadline is not None
    story.now = story.poll.deadline - timedelta(seconds=5)
    turn(story)
    assert states(story)["stubborn"] == ("unreachable", "status_503")


def test_agent_that_was_suspended_is_not_called(people: People, town: Town) -> None:
    story = settled(people, town, "answer")
    Agent.objects.filter(slug="answer-000").update(status=AgentStatus.SUSPENDED)
    turn(story)
    assert (states(story)["answer"], town.calls) == (("unreachable", "agent_inactive"), [])


def test_forbidden_addresses_are_not_called(people: People, town: Town) -> None:
    story = settled(people, town, "answer")
    Agent.objects.filter(slug="answer-000").update(endpoint="https://169.254.169.254/latest/")
    turn(story)
    assert states(story)["answer"] == ("unreachable", "blocked_metadata")


def test_answer_that_a_halted_ledger_did_not_take_is_asked_for_again(people: People, town: Town) -> None:
    story = settled(people, town, "answer")
    Log.objects.filter(pk=people.log.pk).update(mode=Mode.HALT)
    turn(story)
    assert states(story)["answer"] == ("pending", "ledger_halted")
    Log.objects.filter(pk=people.log.pk).update(mode=Mode.ACTIVE)
    story.now += timedelta(minutes=5)
    turn(story)
    assert states(story)["answer"][0] == "answered"
    assert PollResponse.objects.count() == 1


def test_without_a_delivery_key_nothing_is_sent(people: People, town: Town, settings: Any) -> None:
    story = settled(people, town, "answer")
    settings.ECP_DELIVERY_KEY_FILE = settings.ECP_DELIVERY_KEY_FILE.with_name("absent.key")
    turn(story)
    assert (states(story)["answer"], town.calls) == (("pending", "no_delivery_key"), [])


def test_silent_agents_are_reminded_twice_and_answered_ones_never(people: People, town: Town) -> None:
    story = settled(people, town, "accept", "answer", "decline")
    turn(story)
    opened, deadline = story.poll.opened_at, story.poll.deadline
    assert opened is not None
    assert deadline is not None
    window = deadline - opened
    for share, number in ((0.49, 1), (0.51, 2), (0.6, 2), (0.86, 3), (0.95, 3)):
        story.now = opened + window * share
        deliveries.remind(now=story.now)
        turn(story)
        assert len(town.calls_to("accept-000")) == number, share
    bodies = {body for _, body in town.calls_to("accept-000")}
    assert len(bodies) == 1  # identical text
    assert len(town.calls_to("answer-000")) == len(town.calls_to("decline-000")) == 1
    story.close()
    assert selectors.results_of(story.poll)["silence"]["silent"] == 1


def test_poll_walks_by_itself_from_draft_to_closed(people: People, town: Town) -> None:
    (agent,) = asked_agents(people, 1, prefix="answer")
    Agent.objects.filter(pk=agent.pk).update(endpoint=town.address("answer", agent.slug))
    story = Story(people, {"auto": True, "n": 1, "deadline_minutes": 1})

    def state() -> str:
        return str(Poll.objects.get(pk=story.id).state)

    deliveries.draw_due(now=story.now)
    assert state() == "committed"
    story.now += timedelta(seconds=31)
    deliveries.draw_due(now=story.now)
    assert state() == "drawn"
    assert deliveries.open_due(now=story.now) == 0  # not before its time
    story.now += timedelta(seconds=15)
    assert deliveries.open_due(now=story.now) == 1
    turn(story)
    story.now += timedelta(seconds=61)
    assert deliveries.close_due(now=story.now) == 0  # answers of the last seconds are still being checked
    story.now += timedelta(seconds=5)
    assert deliveries.close_due(now=story.now) == 1
    assert state() == "closed"
    assert deliveries.close_due(now=story.now) == 0
    assert selectors.results_of(Poll.objects.get(pk=story.id))["answered"] == 1
