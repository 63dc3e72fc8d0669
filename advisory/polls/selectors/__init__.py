"""Reading polls: within the caller's organisation, and blind while a poll is open."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from django.db.models import Count, Q

from advisory.polls.core import sampling
from advisory.polls.core.results import disclaimer
from advisory.polls.models import (
    LIVE,
    InvitationState,
    Poll,
    PollInvitation,
    PollResponse,
    PollSchedule,
    State,
    Transport,
)
from advisory.polls.selectors import privacy
from advisory.polls.selectors.exchanges import exchanges_of
from ecp_project.kernel.canonical import encode
from ecp_project.kernel.clock import format_time
from ecp_project.kernel.errors import Conflict, NotFound
from ledger.core.merkle import inclusion_proof
from ledger.core.proof import format_proof
from ledger.models import POSITIONS_PER_LOG, Entry, Log
from ledger.selectors.proofs import newest_checkpoint, reader

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

    from django.db.models import QuerySet

    from ledger.selectors.entries import OrgScope
    from ledger.selectors.proofs import SignedSize

FINAL = (State.CLOSED, State.CANCELLED)
INBOX_LIMIT = 100
SCHEDULE_LIMIT = 200
EARLIER_LIMIT = 20


def polls(*, scope: OrgScope) -> QuerySet[Poll]:
    """Polls of the organisation; agents and manufacturers see those about decisions they may see."""
    rows = Poll.objects.filter(organisation_id=scope.organisation_id).select_related("organisation")
    return rows if scope.agents is None else rows.filter(deciding_agent__in=scope.agents)


def poll_of(*, scope: OrgScope, poll_id: UUID) -> Poll:
    poll = polls(scope=scope).filter(pk=poll_id).first()
    if poll is None:
        raise NotFound("not_found", "there is no such poll")
    return poll


def poll_page(*, scope: OrgScope, state: str | None, before: UUID | None, size: int) -> list[Poll]:
    """Newest first, as their ids rise with time; one row too many tells that there is a next page."""
    rows = polls(scope=scope)
    if state is not None:
        rows = rows.filter(state=state)
    if before is not None:
        rows = rows.filter(id__lt=before)
    return list(rows.order_by("-id")[: size + 1])


def earlier_polls(poll: Poll) -> list[dict[str, Any]]:
    """Name the polls that asked the same before: asking again until the answer fits would be a selection."""
    rows = (
        Poll.objects.filter(
            organisation_id=poll.organisation_id,
            question_hash=poll.question_hash,
            id__lt=poll.id,
        )
        .exclude(state=State.DRAFT)
        .order_by("-id")
        .values_list("id", "state", "inconclusive", "closed_at")[:EARLIER_LIMIT]
    )
    return [
        {
            "poll_id": str(poll_id),
            "outcome": state,
            "inconclusive": inconclusive,
            "closed_at": _time(closed_at),
        }
        for poll_id, state, inconclusive, closed_at in rows
    ]


def poll_document(poll: Poll) -> dict[str, Any]:
    """What everybody may see of a poll in any state; no answer is in it."""
    base = f"/api/v1/polls/{poll.id}/"
    steps = {
        State.DRAFT: ("commit", "cancel"),
        State.COMMITTED: ("draw", "cancel"),
        State.DRAWN: ("open", "cancel"),
        State.OPEN: ("progress", "close", "cancel"),
        State.CLOSED: ("results", "proof"),
        State.CANCELLED: (),
    }[State(poll.state)]
    return {
        "id": str(poll.id),
        "state": poll.state,
        "question": poll.question,
        "options": poll.options,
        "question_hash": poll.question_hash,
        "n": poll.n,
        "strata_by": poll.strata_by,
        "filter": poll.filter,
        "estimator": poll.estimator,
        "confidence_pct": poll.confidence_pct,
        "quorum": poll.quorum,
        "revisions": poll.revisions,
        "entropy": "ledger",
        "auto": poll.auto,
        "frame_size": poll.frame_size,
        "drawn": sum(one["n"] for one in poll.strata) if poll.strata else None,
        "is_capped": poll.frame_size is not None and poll.n > poll.frame_size,
        "decision_id": None if poll.decision_id is None else str(poll.decision_id),
        "advice_id": None if poll.advice_id is None else str(poll.advice_id),
        "schedule_id": None if poll.schedule_id is None else str(poll.schedule_id),
        "created_by": poll.created_by,
        "created_at": _time(poll.created_at),
        "committed_at": _time(poll.committed_at),
        "opens_at": _time(poll.opens_at),
        "deadline": _time(poll.deadline),
        "closed_at": _time(poll.closed_at),
        "reason": poll.reason or None,
        "inconclusive": poll.inconclusive,
        "links": {name: f"{base}{name}/" for name in steps},
    }


def progress_of(poll: Poll) -> dict[str, Any]:
    """Count what has happened per stratum; which option was chosen is not known to this process."""
    rows: QuerySet[Any, Any] = (
        poll.invitations.values("stratum")
        .annotate(
            drawn=Count("id"),
            delivered=Count("id", filter=~Q(state=InvitationState.PENDING)),
            answered=Count("id", filter=Q(state=InvitationState.ANSWERED)),
        )
        .order_by("stratum")
    )
    strata: list[dict[str, Any]] = [dict(row) for row in rows]
    return {
        "poll_id": str(poll.id),
        "state": poll.state,
        "deadline": _time(poll.deadline),
        "drawn": sum(row["drawn"] for row in strata),
        "delivered": sum(row["delivered"] for row in strata),
        "answered": sum(row["answered"] for row in strata),
        "strata": strata,
        "disclaimer": disclaimer(
            answered=sum(row["answered"] for row in strata),
            drawn=sum(row["drawn"] for row in strata),
            frame_size=poll.frame_size or 0,
        ),
    }


def demand_closed(poll: Poll) -> None:
    """Refuse to say anything before the close; a cancelled poll has nothing to say."""
    if poll.state == State.OPEN:
        raise Conflict("poll_open", closes_at=_time(poll.deadline))
    if poll.state != State.CLOSED:
        raise Conflict("poll_state", f"the poll is {poll.state}")


def results_of(poll: Poll) -> dict[str, Any]:
    demand_closed(poll)
    return {
        "poll_id": str(poll.id),
        "state": poll.state,
        "question": poll.question,
        "closed_at": _time(poll.closed_at),
        "early": poll.early,
        **privacy.shown(poll, privacy.acts_of(poll)),
        "earlier": earlier_polls(poll),
    }


def counted_responses(poll: Poll) -> QuerySet[PollResponse]:
    return (
        PollResponse.objects.filter(poll=poll, counted=True)
        .select_related("invitation", "invitation__agent")
        .order_by("seq")
    )


def response_document(response: PollResponse) -> dict[str, Any]:
    assert response.document is not None, response.id
    found = {
        "payload": response.document["payload"],
        "response_sha256": bytes(response.response_sha256).hex(),
        "public_key": response.document["public_key"],
        "signature": response.document["signature"],
    }
    if response.entered_by is not None:
        found |= {"manual": True, "entered_by": str(response.entered_by), "reason": response.entered_reason}
    return found


def response_lines(responses: list[PollResponse]) -> bytes:
    """Give the file whose SHA-256 the closed entry holds: one canonical line for each counted answer."""
    return b"".join(encode(response_document(response)) + b"\n" for response in responses)


def proof_of(poll: Poll) -> dict[str, Any]:
    demand_closed(poll)
    frame = [[agent_id, stratum] for agent_id, stratum, _ in poll.frame.rows]
    drawn = draw_of(poll)
    responses = [response_document(response) for response in counted_responses(poll)]
    tally = (poll.results or {})["tally"]
    replaced = exchanges_of(poll, drawn.sample)
    acts = privacy.acts_of(poll)
    return {
        "v": "ecp.poll.proof/1",
        "poll_id": str(poll.id),
        "question": poll.question,
        "options": poll.options,
        "question_hash": poll.question_hash,
        "n": min(poll.n, len(frame)),
        "confidence_pct": poll.confidence_pct,
        "estimator": poll.estimator,
        "quorum": poll.quorum,
        "frame": frame,
        "frame_hash": poll.frame_hash,
        "commitment": poll.commitment,
        "secret_hex": bytes(poll.secret or b"").hex(),
        "public_input": poll.public_input,
        "seed": bytes(poll.seed or b"").hex(),
        "strata": {
            one.name: {
                "N": one.size,
                "n": len(one.selected),
                "selected": [place.agent_id for place in one.selected],
            }
            for one in drawn.strata
        },
        "sample": list(drawn.sample),
        "sample_hash": poll.sample_hash,
        **({"replaced": [{"gone": one.gone, "by": one.by} for one in replaced]} if replaced else {}),
        "responses": responses,
        "responses_root": poll.responses_root,
        "tally": tally,
        "drawn": len(drawn.sample),
        "answered": len(responses),
        "receipts": receipts_of(poll, [one.entry for one in replaced]),
        **({"minority_acts": privacy.documents(acts)} if acts else {}),
        "weakness": WEAKNESS,
        "earlier": earlier_polls(poll),
    }


def draw_of(poll: Poll) -> sampling.Draw:
    """Draw again: the same seed gives the same sample and the same reserve."""
    return sampling.draw(
        poll_id=str(poll.id),
        frame=sampling.make_frame((agent_id, stratum) for agent_id, stratum, _ in poll.frame.rows),
        n=poll.n,
        secret=bytes(poll.secret or b""),
        public_input=poll.public_input,
    )


WEAKNESS = (
    "operator-influenced: whoever runs this log knows the secret and writes the entries, so it could try "
    "many entries and keep the one whose draw it likes. Only a public random source or independent witnesses "
    "remove that."
)


def receipts_of(poll: Poll, replaced: Sequence[Entry] = ()) -> dict[str, Any]:
    """Give the exact entries of the poll's steps with their proofs, as far as they are signed yet."""
    assert poll.log_id is not None, poll.id
    base = poll.log_id * POSITIONS_PER_LOG
    steps = Entry.objects.filter(
        Q(log_id=poll.log_id, uid__in=[poll.committed_id, poll.drawn_id, poll.closed_id])
        | Q(id=base + (poll.committed_seq or 0) + 2)
    )
    names = {poll.committed_id: "committed", poll.drawn_id: "drawn", poll.closed_id: "closed"}
    signed = newest_checkpoint(poll.log_id)
    found: dict[str, Any] = {
        names.get(entry.uid, "input"): _receipt(entry, signed) for entry in steps.order_by("id")
    }
    if replaced:
        found["replaced"] = [_receipt(entry, signed) for entry in replaced]
    return found


def _receipt(entry: Entry, signed: SignedSize | None) -> dict[str, str]:
    receipt = {"entry": bytes(entry.entry).decode()}
    if signed is not None and entry.seq < signed.size:
        path = inclusion_proof(entry.seq, signed.size, reader(entry.log_id, signed.size))
        receipt["tlog_proof"] = format_proof(entry.seq, path, signed.note)
    return receipt


def invitation_document(invitation: PollInvitation) -> dict[str, Any]:
    """Tell an agent everything that it needs to answer; the same text on every attempt."""
    poll = invitation.poll
    return {
        "v": "ecp.poll.invitation/1",
        "poll_id": str(poll.id),
        "invitation_id": str(invitation.id),
        "agent_id": invitation.agent.slug,
        "question": poll.question,
        "question_hash": poll.question_hash,
        "options": invitation.option_order,
        "deadline": _time(poll.deadline),
        "answer_url": f"/api/v1/polls/{poll.id}/responses/",
        "note": "Non-binding: the poll describes what agents think and decides nothing.",
    }


def inbox_of(*, scope: OrgScope, agent_id: int, now: datetime) -> list[PollInvitation]:
    """Open invitations of one agent that wait for its answer."""
    rows = PollInvitation.objects.filter(
        agent_id=agent_id,
        agent__organisation_id=scope.organisation_id,
        state__in=LIVE,
        poll__state=State.OPEN,
        poll__deadline__gt=now,
    ).exclude(transport=Transport.MANUAL)
    return list(rows.select_related("poll", "agent").order_by("poll__deadline", "id")[:INBOX_LIMIT])


def schedules(*, scope: OrgScope) -> QuerySet[PollSchedule]:
    return PollSchedule.objects.filter(organisation_id=scope.organisation_id).order_by("-id")


def schedule_of(*, scope: OrgScope, schedule_id: UUID) -> PollSchedule:
    schedule = schedules(scope=scope).filter(pk=schedule_id).first()
    if schedule is None:
        raise NotFound("not_found", "there is no such schedule")
    return schedule


def schedule_document(schedule: PollSchedule, next_runs: list[datetime]) -> dict[str, Any]:
    history = schedule.history.order_by("-due_at")[:EARLIER_LIMIT]
    return {
        "id": str(schedule.id),
        "title": schedule.title,
        "cron": schedule.cron,
        "timezone": schedule.timezone,
        "template": schedule.template,
        "enabled": schedule.enabled,
        "if_open": schedule.if_open,
        "catch_up": schedule.catch_up,
        "ends_at": _time(schedule.ends_at),
        "max_runs": schedule.max_runs,
        "runs": schedule.runs,
        "next_due_at": _time(schedule.next_due_at),
        "last_due_at": _time(schedule.last_due_at),
        "next_runs": [_time(run) for run in next_runs],
        "created_by": schedule.created_by,
        "history": [
            {
                "due_at": _time(run.due_at),
                "poll_id": None if run.poll_id is None else str(run.poll_id),
                "skipped": run.skipped or None,
            }
            for run in history
        ],
    }


def log_of(poll: Poll) -> Log:
    assert poll.log_id is not None, poll.id
    return Log.objects.select_related("organisation").get(pk=poll.log_id)


def states_of(poll: Poll) -> Counter[str]:
    return Counter(poll.invitations.values_list("state", flat=True))


def _time(at: datetime | None) -> str | None:
    return None if at is None else format_time(at)
