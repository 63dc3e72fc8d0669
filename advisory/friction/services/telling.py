"""Telling the agent at its registered endpoint what became of a step that waited for people (FRICTION 10.1).

The message is stored with the answer and sent by the worker like every other notice. It bears ids and states
only: what somebody wrote the agent reads with its own key. An agent without an endpoint gets no message; it
has its long poll.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.conf import settings

from advisory.friction.core.waiting import PEOPLE_STEPS
from advisory.friction.models import (
    AdviceMode,
    FrictionComment,
    FrictionNotice,
    FrictionStepOutcome,
    NoticeState,
    Occasion,
)
from ecp_project.api import calls
from ecp_project.kernel.clock import format_time
from ecp_project.kernel.ids import new_uuid7
from ledger.models import Agent, AgentStatus

if TYPE_CHECKING:
    from datetime import datetime

    from advisory.friction.models import FrictionAdvice

ANSWER = "ecp.friction.answer/1"
COMMENTED = "commented"
NO_ENDPOINT = "no_active_endpoint"
TELLERS = ("staff", "system")  # what an agent reported it knows


def agent_tell(*, said: FrictionStepOutcome | FrictionComment, now: datetime) -> None:
    """Queue the message about one answer, inside the transaction that stores the answer."""
    advice = said.advice
    step = next(step for step in advice.result["steps"] if step["n"] == said.n)
    # In observer mode an agent is told that nothing is suggested, so it hears of no step either.
    if advice.mode != AdviceMode.ACTIVE or step["type"] not in PEOPLE_STEPS:
        return
    if said.actor.partition(":")[0] not in TELLERS or not endpoint_of(advice):
        return
    FrictionNotice.objects.create(
        id=UUID(new_uuid7(now)),
        advice=advice,
        n=said.n,
        occasion=Occasion.ANSWERED,
        target_name=advice.agent,
        outcome=said if isinstance(said, FrictionStepOutcome) else None,
        comment=said if isinstance(said, FrictionComment) else None,
        state=NoticeState.PENDING,
        next_attempt_at=now,
        created_at=now,
    )


def endpoint_of(advice: FrictionAdvice) -> str:
    """Where the agent of an advice is called; "" when it has no endpoint or is not active."""
    rows = Agent.objects.filter(
        organisation_id=advice.organisation_id, slug=advice.agent, status=AgentStatus.ACTIVE
    )
    return rows.values_list("endpoint", flat=True).first() or ""


def answer_send(*, notice: FrictionNotice, now: datetime) -> calls.Outcome:
    """One attempt, at the endpoint that the agent has by now."""
    endpoint = endpoint_of(notice.advice)
    if not endpoint:
        return calls.Outcome(is_delivered=False, error=NO_ENDPOINT)
    return calls.call(url=endpoint, document=_document(notice), idempotency_key=str(notice.pk), now=now)


def _document(notice: FrictionNotice) -> dict[str, Any]:
    """The same text on every attempt: all of it is read from rows that do not change."""
    advice = notice.advice
    said = notice.outcome or notice.comment
    assert said is not None, notice.pk  # notice_answered
    return {
        "v": ANSWER,
        "id": str(notice.pk),
        "org": advice.organisation.slug,
        "agent": advice.agent,
        "advice_id": str(advice.pk),
        "n": notice.n,
        "outcome": said.outcome if isinstance(said, FrictionStepOutcome) else COMMENTED,
        "outcome_id": str(said.pk),
        "at": format_time(said.at),
        "url": f"{settings.ECP_BASE_URL}/api/v1/friction/advice/{advice.pk}/",
    }
