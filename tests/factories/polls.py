"""Agents that answer polls, and polls brought to the state a test needs. Time is an argument throughout."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from advisory.polls.core import answers
from advisory.polls.models import Poll, PollInvitation, PollRun, PollSchedule
from advisory.polls.services import lifecycle
from advisory.polls.services.answers import answer_receive
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.ids import new_row_id
from ecp_project.kernel.signing import kid_of, public_from_seed
from ledger.models import Agent, AgentKey
from ledger.selectors.entries import OrgScope
from tests.advisory.polls.agents import seed_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from advisory.polls.services.answers import Received
    from tests.people import People

QUESTION = "Should refund batch 88 go out tonight?"
BODY: dict[str, Any] = {
    "question": QUESTION,
    "options": ["support", "oppose", "abstain"],
    "n": 8,
    "deadline_minutes": 60,
    "quorum": {"min_responses": 3, "min_response_rate_pct": 30},
}
MINUTE = timedelta(minutes=1)


def asked_agents(people: People, count: int, **others: Any) -> list[Agent]:
    """Register agents that accept polls, each with a key whose seed follows from its name."""
    start = datetime(2020, 1, 1, tzinfo=UTC)
    agents = Agent.objects.bulk_create(
        Agent(
            organisation=others.get("organisation", people.acme),
            slug=f"{others.get('prefix', 'voter')}-{number:03}",
            title=f"Voter {number}",
            labels={"role": "planner" if number % 3 else "trader"} | others.get("labels", {}),
            endpoint=others.get("endpoint", ""),
            owner=others.get("owner", ""),
            accepts_polls=True,
        )
        for number in range(count)
    )
    if others.get("keys", True):
        AgentKey.objects.bulk_create(
            AgentKey(
                agent=agent,
                kid=kid_of(public_from_seed(seed_of(agent.slug))),
                public_key=public_from_seed(seed_of(agent.slug)),
                valid_from=start,
            )
            for agent in agents
        )
    return agents


@dataclass
class Story:
    """A poll of Acme with its own clock."""

    people: People
    body: dict[str, Any] = field(default_factory=dict)
    now: datetime = field(default_factory=utc_now)
    schedule: PollSchedule | None = None  # whose run this poll is
    poll: Poll = field(init=False)

    def __post_init__(self) -> None:
        self.poll = lifecycle.poll_create(
            organisation=self.people.acme,
            scope=OrgScope(self.people.acme.id),
            document=BODY | self.body,
            created_by="system:test",
            now=self.now,
            schedule_id=self.schedule.id if self.schedule else None,
            due_at=self.now if self.schedule else None,
        )
        if self.schedule:
            PollRun.objects.create(
                id=new_row_id(self.now), schedule=self.schedule, due_at=self.now, poll=self.poll
            )

    @property
    def id(self) -> Any:
        return self.poll.id

    def commit(self) -> Story:
        self.poll = lifecycle.poll_commit(poll_id=self.id, actor="system:test", now=self.now)
        return self

    def draw(self) -> Story:
        """Half a minute later, as the log is quiet in a test."""
        self.now += timedelta(seconds=31)
        self.poll = lifecycle.poll_draw(poll_id=self.id, actor="system:test", now=self.now)
        return self

    def open(self) -> Story:
        self.now += timedelta(seconds=15)
        self.poll = lifecycle.poll_open(poll_id=self.id, actor="system:test", now=self.now)
        return self

    def opened(self) -> Story:
        return self.commit().draw().open()

    def close(self) -> Story:
        assert self.poll.deadline is not None
        self.now = self.poll.deadline + lifecycle.GRACE
        self.poll = lifecycle.poll_close(poll_id=self.id, actor="system:test", now=self.now)
        return self

    def invitations(self) -> list[PollInvitation]:
        rows = PollInvitation.objects.filter(poll=self.poll).select_related("agent", "poll")
        return list(rows.order_by("agent__slug"))

    def document(self, invitation: PollInvitation, choice: str = "support", **changes: Any) -> dict[str, Any]:
        return signed_answer(invitation, choice, **changes)

    def say(self, invitation: PollInvitation, choice: str = "support", **changes: Any) -> Received:
        return answer_receive(
            poll_id=self.id,
            document=self.document(invitation, choice, **changes),
            agent_id=invitation.agent_id,
            now=self.now,
        )


def brought_to(people: People, state: str, **body: Any) -> Story:
    """A poll in that state within a minute of the real clock, which the ledger's own clock tolerates."""
    story = Story(people, body)
    for step in ("commit", "draw", "open")[: ("draft", "committed", "drawn", "open", "closed").index(state)]:
        getattr(story, step)()
    if state == "closed":
        story.poll = lifecycle.poll_close(
            poll_id=story.id, actor="system:test", now=story.now, reason="Enough has been said."
        )
    return story


def signed_answer(invitation: PollInvitation, choice: str = "support", **changes: Any) -> dict[str, Any]:
    """An answer of the invited agent; `seed` signs with another key, `envelope` changes what is around it."""
    seed = changes.pop("seed", None) or seed_of(invitation.agent.slug)
    envelope: Mapping[str, Any] = changes.pop("envelope", {})
    payload = {
        "schema": answers.SCHEMA,
        "poll_id": str(invitation.poll_id),
        "question_hash": invitation.poll.question_hash,
        "invitation_id": str(invitation.id),
        "agent_id": invitation.agent.slug,
        "choice": choice,
        "confidence_pct": 70,
        "rationale": "It looks right to me.",
        "answered_at": "2026-11-22T10:00:00Z",
        "nonce": sha256(invitation.id.bytes).hexdigest()[:32],
    } | changes
    return {
        "kid": kid_of(public_from_seed(seed)),
        "payload": payload,
        "signature": answers.sign_answer(seed, payload).hex(),
    } | dict(envelope)


XSS = "<script>window.__xss=1</script><img src=x onerror=window.__xss=2>"


@dataclass(frozen=True, slots=True)
class Furnishing:
    """Polls for pages to show: one closed, one open, one drafted; and a schedule."""

    closed: Poll
    open: Poll
    draft: Poll
    schedule: PollSchedule


def furnish_polls(people: People, decision_id: Any) -> Furnishing:
    """At the clock as it stands: each commitment is followed by what the draw before it waits for."""
    from advisory.polls.services.schedules import schedule_create  # noqa: PLC0415 - only pages need it

    asked_agents(people, 6)
    asked_agents(people, 2, prefix="mute", keys=False)
    schedule = schedule_create(
        organisation=people.acme,
        document={"title": XSS, "cron": "30 2 * * 1", "timezone": "Europe/Vienna", "template": BODY},
        created_by="system:test",
        now=utc_now(),
    )
    about = {"decision_id": str(decision_id), "strata_by": ["role"]}
    bodies: tuple[dict[str, Any], ...] = (
        {"question": f"Is this right? {XSS}"} | about,
        {"question": "Shall we go on like this?", "n": 8} | about,
        {"question": "Who is asked too often?"},
    )
    missed = utc_now() - timedelta(days=7)
    PollRun.objects.create(id=new_row_id(missed), schedule=schedule, due_at=missed, skipped="downtime")
    closed, open_, spare = (
        Story(people, body, schedule=of) for body, of in zip(bodies, (schedule, None, None), strict=True)
    )
    for story in (closed, open_, spare):
        story.commit()
    now = utc_now()
    lifecycle.poll_cancel(poll_id=spare.id, actor="system:test", now=now, reason=f"Asked by mistake. {XSS}")
    for story in (closed, open_):
        lifecycle.poll_draw(poll_id=story.id, actor="system:test", now=now)
        story.poll = lifecycle.poll_open(poll_id=story.id, actor="system:test", now=now)
    for number, invitation in enumerate(closed.invitations()):
        if invitation.transport == "pull":
            closed.say(invitation, ("support", "oppose")[number % 2], rationale=XSS)
    done = lifecycle.poll_close(
        poll_id=closed.id, actor="system:test", now=utc_now(), reason="Enough has been said."
    )
    return Furnishing(done, open_.poll, Story(people).poll, schedule)
