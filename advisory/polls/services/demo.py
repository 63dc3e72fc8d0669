"""Polls of the sample data: one that is finished, one that is open for a week, and one that recurs weekly.

The sample agents answer as examples/poll_agent.py does, each with a key of its own that nobody keeps: whoever
is asked later stays silent.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from advisory.polls.core.answers import SCHEMA, sign_answer
from advisory.polls.models import Poll, PollInvitation
from advisory.polls.services import answers, lifecycle, schedules
from ecp_project.kernel.clock import format_time
from ecp_project.kernel.signing import kid_of, public_from_seed, sign
from ledger.models import Entry
from ledger.selectors.entries import OrgScope
from ledger.services.agentkeys import agent_key_add
from ledger.services.demo import part_add
from ledger.services.identities import agent_create

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from ledger.models import Agent, Log

ACTOR = "system:demo"
MODELS = ("heron-2", "heron-2", "kite-7", "kite-7", "plover")
VOTERS = 20
WEEK_MINUTES = 7 * 24 * 60
FINISHED: dict[str, Any] = {
    "question": "Should damaged parcels below 50 euros be refunded without asking for a photo?",
    "options": ["support", "oppose"],
    "n": 14,
    "strata_by": ["role"],
    "deadline_minutes": 60,
    "quorum": {"min_responses": 8, "min_response_rate_pct": 50},
}
OPEN: dict[str, Any] = {
    "question": "Should the spring sale begin one week earlier than last year?",
    "options": ["earlier", "as_planned", "later"],
    "n": 12,
    "deadline_minutes": WEEK_MINUTES,
}
RECURRING: dict[str, Any] = {
    "title": "Weekly mood of the shop",
    "cron": "0 9 * * 1",
    "timezone": "Europe/Vienna",
    "template": {
        "question": "Are the instructions that you were given this week clear enough to work by?",
        "options": ["clear", "unclear"],
        "n": 10,
        "deadline_minutes": 480,
    },
}
# Choice, confidence in percent, reason: by turns, in the order in which the agents were drawn.
SAID = (
    ("support", 80, "Photos cost the customer more time than the parcel is worth."),
    ("support", 70, "Most claims of this size were found true afterwards."),
    (
        "oppose",
        65,
        "Three customers claimed damage every month last year; without a photo nobody would have noticed.",
    ),
    ("support", 60, "The desk could spend the hours on the large claims."),
    ("abstain", 50, ""),
    ("support", 90, "Carriers pay for it anyway."),
    ("oppose", 55, "A photo is asked for because it keeps honest people honest."),
)


@dataclass(frozen=True, slots=True)
class Voter:
    agent: Agent
    seed: bytes


def polls_load(*, log: Log, clock: Callable[[], datetime]) -> None:
    voters = {voter.agent.pk: voter for voter in (_voter(log, number, clock()) for number in range(VOTERS))}
    decided = Entry.objects.filter(log=log, action="refund.decline").order_by("-id").first()
    about = {"decision_id": str(decided.uid)} if decided else {}
    make = partial(_committed, log, clock)
    finished, open_, given_up = make(FINISHED | about), make(OPEN), make(OPEN | {"n": 3})
    # Each commitment stands two positions before something else, so nothing has to be waited for.
    lifecycle.poll_cancel(
        poll_id=given_up.id, actor=ACTOR, now=clock(), reason="Asked too few agents; asked again with more."
    )
    for poll in (finished, open_):
        lifecycle.poll_draw(poll_id=poll.id, actor=ACTOR, now=clock())
        lifecycle.poll_open(poll_id=poll.id, actor=ACTOR, now=clock())
    asked = _invited(finished)
    for number, invitation in enumerate(asked[:-1]):
        _answer(invitation, voters, SAID[number % len(SAID)], clock())
    for number, invitation in enumerate(_invited(open_)[:5]):
        _answer(invitation, voters, (invitation.option_order[number % 3], 60, ""), clock())
    lifecycle.poll_close(
        poll_id=finished.id,
        actor=ACTOR,
        now=clock(),
        reason="All but one of the agents that were asked have answered.",
    )
    schedules.schedule_create(
        organisation=log.organisation, document=RECURRING, created_by=ACTOR, now=clock()
    )


def _voter(log: Log, number: int, now: datetime) -> Voter:
    seed = os.urandom(32)
    agent = agent_create(
        organisation=log.organisation,
        slug=f"shop-assistant-{number + 1:02}",
        title=f"Shop assistant {number + 1}",
        labels={"role": "planner" if number % 3 else "clerk", "base_model": MODELS[number % len(MODELS)]},
        accepts_polls=True,
    )
    agent_key_add(
        agent=agent,
        public_key=public_from_seed(seed),
        valid_from=now,
        valid_until=None,
        actor=ACTOR,
        prove=partial(sign, seed),
        now=now,
    )
    return Voter(agent, seed)


def _committed(log: Log, clock: Callable[[], datetime], document: dict[str, Any]) -> Poll:
    poll = lifecycle.poll_create(
        organisation=log.organisation,
        scope=OrgScope(log.organisation_id),
        document=document,
        created_by=ACTOR,
        now=clock(),
    )
    return lifecycle.poll_commit(poll_id=poll.id, actor=ACTOR, now=clock())


def _invited(poll: Poll) -> Sequence[PollInvitation]:
    rows = PollInvitation.objects.filter(poll=poll).select_related("agent", "poll")
    return list(rows.order_by("ticket"))


def _answer(
    invitation: PollInvitation, voters: dict[int, Voter], said: tuple[str, int, str], now: datetime
) -> None:
    voter = voters[invitation.agent_id]
    choice, confidence_pct, rationale = said
    payload = {
        "schema": SCHEMA,
        "poll_id": str(invitation.poll_id),
        "question_hash": invitation.poll.question_hash,
        "invitation_id": str(invitation.id),
        "agent_id": voter.agent.slug,
        "choice": choice,
        "confidence_pct": confidence_pct,
        "rationale": rationale,
        "answered_at": format_time(now),
        "nonce": sha256(voter.seed + invitation.id.bytes).hexdigest()[:32],
    }
    document = {
        "kid": kid_of(public_from_seed(voter.seed)),
        "payload": payload,
        "signature": sign_answer(voter.seed, payload).hex(),
    }
    answers.answer_receive(poll_id=invitation.poll_id, document=document, agent_id=voter.agent.pk, now=now)


part_add(polls_load)
