"""Bringing the question to the agents: leases in rows, calls outside of every lock (POLLS section 3)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import F, Q

from advisory.polls import metrics, selectors
from advisory.polls.models import (
    InvitationState,
    Poll,
    PollInvitation,
    State,
    Transport,
)
from advisory.polls.services.answers import (
    answer_decline,
    answer_receive,
    declined_invitation,
    read_answer,
)
from advisory.polls.services.lifecycle import GRACE, POLLS, poll_close, poll_commit, poll_draw, poll_open
from advisory.polls.services.reserve import reserve_use
from ecp_project.api import calls
from ecp_project.kernel.errors import BadRequest, EcpError, Unavailable
from ledger.models import AgentStatus

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from uuid import UUID

    from django.db.models import QuerySet

    from ledger.selectors.entries import OrgScope

SWEEP_LIMIT = 200
SWEEP_LEASE = timedelta(seconds=60)
CALL_LEASE = timedelta(seconds=40)
OVERDUE = timedelta(seconds=60)
MAX_ATTEMPTS = 6
MAX_WAIT_S = 300
FIRST_WAIT_S = 5
REMIND_AT_PCT = (50, 85)
DUE_LIMIT = 50


# --- sweep and deliver


def sweep(*, now: datetime) -> list[UUID]:
    """Lease what is due and give the ids; a second sweeper at the same moment gets others."""
    started = time.perf_counter()
    reserve_use(now=now)
    with transaction.atomic():
        due = (
            PollInvitation.objects.select_for_update(of=("self",), skip_locked=True)
            .filter(
                Q(lease_until__isnull=True) | Q(lease_until__lt=now),
                state=InvitationState.PENDING,
                next_attempt_at__lte=now,
                poll__state=State.OPEN,
                poll__deadline__gt=now,
            )
            .order_by("next_attempt_at")
        )
        found = list(due.values_list("id", flat=True)[:SWEEP_LIMIT])
        PollInvitation.objects.filter(id__in=found).update(lease_until=now + SWEEP_LEASE)
    metrics.SWEEP_SECONDS.observe(time.perf_counter() - started)
    metrics.SWEEP_SUCCESS.set(now.timestamp())
    metrics.OVERDUE.set(_waiting(now - OVERDUE).count())
    metrics.OPEN.set(Poll.objects.filter(state=State.OPEN).count())
    return found


def _waiting(since: datetime) -> QuerySet[PollInvitation]:
    return PollInvitation.objects.filter(
        state=InvitationState.PENDING, next_attempt_at__lte=since, poll__state=State.OPEN
    )


@dataclass(frozen=True, slots=True)
class Claim:
    """A delivery that this process alone makes, and the number by which it is recognised afterwards."""

    invitation: PollInvitation
    attempt: int


def invitation_deliver(
    *, invitation_id: UUID, clock: Callable[[], datetime], jitter: Callable[[float], float]
) -> None:
    """Make one attempt. A message that came twice, or late, finds nothing to do."""
    claim = _claim(invitation_id, clock())
    if claim is None:
        return
    invitation = claim.invitation
    started = time.perf_counter()
    outcome = calls.call(
        url=invitation.agent.endpoint,
        document=selectors.invitation_document(invitation),
        idempotency_key=str(invitation.id),
        now=clock(),
    )
    result = "answered" if outcome.is_delivered else outcome.error
    metrics.REQUEST_SECONDS.labels(result=result).observe(time.perf_counter() - started)
    metrics.ATTEMPTS.labels(outcome=result).inc()
    # The answer before the note: a worker that is killed between them delivers again, and the agent repeats.
    if outcome.is_delivered:
        outcome = _take_answer(invitation, outcome, clock())
    if outcome.is_delivered:
        _note_delivered(claim, clock())
    else:
        _note_failure(claim, outcome, clock(), jitter)


def _claim(invitation_id: UUID, now: datetime) -> Claim | None:
    """Count the attempt before it is made, so that a killed worker has used one up."""
    with transaction.atomic():
        invitation = (
            PollInvitation.objects.select_for_update(of=("self",))
            .select_related("agent", "poll", "poll__organisation")
            .filter(pk=invitation_id, state=InvitationState.PENDING, transport=Transport.WEBHOOK)
            .first()
        )
        if invitation is None or invitation.poll.state != State.OPEN or _is_past(invitation.poll, now):
            return None
        is_leased = invitation.lease_until is not None and invitation.lease_until >= now
        # Whoever claims moves the next attempt behind its lease: the same message again is too early.
        if not is_leased or invitation.next_attempt_at is None or invitation.next_attempt_at > now:
            return None
        if invitation.agent.status == AgentStatus.RETIRED and invitation.delivered_at is None:
            return None  # the next sweep looks into the reserve
        if invitation.attempts >= MAX_ATTEMPTS or invitation.agent.status != AgentStatus.ACTIVE:
            error = invitation.last_error if invitation.attempts >= MAX_ATTEMPTS else "agent_inactive"
            _give_up(invitation, error or "worker_lost")
            return None
        invitation.attempts += 1
        invitation.lease_until = invitation.next_attempt_at = now + CALL_LEASE
        invitation.save(update_fields=["attempts", "lease_until", "next_attempt_at"])
    return Claim(invitation, invitation.attempts)


def _is_past(poll: Poll, now: datetime) -> bool:
    return poll.deadline is None or now >= poll.deadline


def _give_up(invitation: PollInvitation, error: str) -> None:
    """End the attempts: an agent that was told once is silent, one that never was is unreachable."""
    was_told = invitation.delivered_at is not None
    invitation.state = InvitationState.DELIVERED if was_told else InvitationState.UNREACHABLE
    invitation.last_error = error
    invitation.lease_until = invitation.next_attempt_at = None
    invitation.save(update_fields=["state", "last_error", "lease_until", "next_attempt_at"])


def _mine(claim: Claim) -> PollInvitation | None:
    """Take the row again if nobody else has tried meanwhile; call inside a transaction."""
    return (
        PollInvitation.objects.select_for_update(of=("self",))
        .select_related("poll")
        .filter(pk=claim.invitation.pk, attempts=claim.attempt, state=InvitationState.PENDING)
        .first()
    )


def _note_delivered(claim: Claim, now: datetime) -> None:
    with transaction.atomic():
        invitation = _mine(claim)
        if invitation is not None:
            invitation.state = InvitationState.DELIVERED
            invitation.delivered_at = invitation.delivered_at or now
            invitation.lease_until = invitation.next_attempt_at = None
            invitation.save(update_fields=["state", "delivered_at", "lease_until", "next_attempt_at"])


def _note_failure(
    claim: Claim, outcome: calls.Outcome, now: datetime, jitter: Callable[[float], float]
) -> None:
    with transaction.atomic():
        invitation = _mine(claim)
        if invitation is None:
            return
        after = now + timedelta(seconds=_wait_s(outcome, claim.attempt, jitter))
        if not outcome.may_retry or claim.attempt >= MAX_ATTEMPTS or _is_past(invitation.poll, after):
            _give_up(invitation, outcome.error)
            return
        invitation.lease_until, invitation.next_attempt_at = None, after
        invitation.last_error = outcome.error
        invitation.save(update_fields=["lease_until", "next_attempt_at", "last_error"])


def _wait_s(outcome: calls.Outcome, attempt: int, jitter: Callable[[float], float]) -> float:
    if outcome.retry_after_s is not None:
        return min(MAX_WAIT_S, outcome.retry_after_s)
    return jitter(min(MAX_WAIT_S, FIRST_WAIT_S * 2**attempt))


def _take_answer(invitation: PollInvitation, outcome: calls.Outcome, now: datetime) -> calls.Outcome:
    """Take what an agent answered at once; a fault of it counts as invalid and is no failure of delivery."""
    body = outcome.body
    if not body.strip():
        return outcome
    poll_id, agent_id = invitation.poll_id, invitation.agent_id
    try:
        declined = declined_invitation(body)
        if declined is not None:
            answer_decline(poll_id=poll_id, invitation_id=declined, agent_id=agent_id, now=now)
            return outcome
        document = read_answer(body)
        if document["payload"]["invitation_id"] != str(invitation.id):
            raise BadRequest("schema_invalid", "the answer is to another invitation")  # noqa: TRY301 - joins the others
        answer_receive(poll_id=poll_id, document=document, agent_id=agent_id, now=now)
    except Unavailable as halted:
        # The ledger takes nothing now; the agent will say the same again.
        return calls.Outcome(is_delivered=False, error=halted.code, may_retry=True)
    except BadRequest as unreadable:
        rows = PollInvitation.objects.filter(pk=invitation.pk)
        rows.update(refused_answers=F("refused_answers") + 1, last_error=unreadable.code)
    except EcpError as refused:
        PollInvitation.objects.filter(pk=invitation.pk).update(last_error=refused.code)
    return outcome


# --- the inbox of agents that ask for themselves


def inbox_read(*, scope: OrgScope, agent_id: int, now: datetime) -> list[PollInvitation]:
    """Give the open invitations of an agent; from now on it has been told."""
    found = selectors.inbox_of(scope=scope, agent_id=agent_id, now=now)
    PollInvitation.objects.filter(
        pk__in=[one.pk for one in found], state=InvitationState.PENDING, transport=Transport.PULL
    ).update(state=InvitationState.DELIVERED, delivered_at=now)
    return found


# --- what beat wakes up


def remind(*, now: datetime) -> int:
    """Ask silent endpoints again at half time and shortly before the end, by the same text."""
    reminded = 0
    with transaction.atomic():
        rows = (
            PollInvitation.objects.select_for_update(of=("self",), skip_locked=True)
            .select_related("poll")
            .filter(
                state=InvitationState.DELIVERED,
                transport=Transport.WEBHOOK,
                reminders__lt=len(REMIND_AT_PCT),
                poll__state=State.OPEN,
                poll__deadline__gt=now,
            )
            .order_by("id")[:SWEEP_LIMIT]
        )
        for invitation in rows:
            wanted = _reminders_due(invitation.poll, now)
            if invitation.reminders < wanted:
                invitation.reminders, invitation.attempts = wanted, 0
                invitation.state, invitation.next_attempt_at = InvitationState.PENDING, now
                invitation.lease_until = None
                invitation.save(
                    update_fields=["reminders", "attempts", "state", "next_attempt_at", "lease_until"]
                )
                reminded += 1
    return reminded


def _reminders_due(poll: Poll, now: datetime) -> int:
    assert poll.opened_at is not None, poll.id
    assert poll.deadline is not None, poll.id
    window = (poll.deadline - poll.opened_at).total_seconds()
    passed = (now - poll.opened_at).total_seconds()
    return sum(passed * 100 >= window * percent for percent in REMIND_AT_PCT)


def _due(which: Q) -> list[UUID]:
    """Ids of polls whose time has come, the oldest first; each is locked again by its own step."""
    return list(Poll.objects.filter(which).order_by("id").values_list("id", flat=True)[:DUE_LIMIT])


def draw_due(*, now: datetime) -> int:
    """Commit drafts and draw what is committed, as far as the log gives the public input."""
    done = _each(_due(Q(state=State.DRAFT, auto=True)), _commit, now)
    return done + _each(_due(Q(state=State.COMMITTED, auto=True)), _draw, now)


def open_due(*, now: datetime) -> int:
    return _each(_due(Q(state=State.DRAWN, auto=True, opens_at__lte=now)), _open, now)


def close_due(*, now: datetime) -> int:
    """Close every poll whose deadline has passed, started by hand or not."""
    return _each(_due(Q(state=State.OPEN, deadline__lte=now - GRACE)), _close, now)


def _commit(poll_id: UUID, now: datetime) -> None:
    poll_commit(poll_id=poll_id, actor=POLLS, now=now)


def _draw(poll_id: UUID, now: datetime) -> None:
    poll_draw(poll_id=poll_id, actor=POLLS, now=now)


def _open(poll_id: UUID, now: datetime) -> None:
    poll_open(poll_id=poll_id, actor=POLLS, now=now)


def _close(poll_id: UUID, now: datetime) -> None:
    poll_close(poll_id=poll_id, actor=POLLS, now=now)


def _each(poll_ids: list[UUID], step: Callable[[UUID, datetime], None], now: datetime) -> int:
    """Take each poll's step; one that cannot go now waits for the next turn and hinders no other."""
    done = 0
    for poll_id in poll_ids:
        try:
            step(poll_id, now)
            done += 1
        except EcpError:
            continue
    return done
