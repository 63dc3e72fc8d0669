"""The reserve: who is asked instead of an agent that was de-registered before the question reached it.

Never to replace silence, and never without an entry in the log (POLLS section 2, step 6).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import Q

from advisory.polls import selectors
from advisory.polls.core import reserve
from advisory.polls.models import InvitationState, PollInvitation, State
from advisory.polls.selectors import exchanges
from advisory.polls.services.lifecycle import POLLS, invitation_made, invitations_due, locked, transports_of
from ledger.core.statement import build_annotation
from ledger.models import Agent, AgentStatus, Entry
from ledger.services.ledger import TransparencyLedger

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from advisory.polls.models import Poll

LIMIT = 50


def gone(now: datetime) -> Q:
    """Invitations that reached nobody, of agents that are no more."""
    return Q(
        Q(lease_until__isnull=True) | Q(lease_until__lt=now),
        state=InvitationState.PENDING,
        delivered_at__isnull=True,
        agent__status=AgentStatus.RETIRED,
        poll__state=State.OPEN,
        poll__deadline__gt=now,
    )


def reserve_use(*, now: datetime) -> int:
    """Ask the next of the reserve for each agent that is gone; where none is left the place stays empty."""
    rows = PollInvitation.objects.filter(gone(now)).order_by("id").values_list("id", "poll_id")[:LIMIT]
    return sum(_replaced(poll_id, invitation_id, now) for invitation_id, poll_id in rows)


def _replaced(poll_id: UUID, invitation_id: UUID, now: datetime) -> bool:
    with transaction.atomic():
        poll = locked(poll_id)
        rows = PollInvitation.objects.select_for_update(of=("self",)).select_related("agent")
        old = rows.filter(gone(now), pk=invitation_id).first()
        found = None if old is None else _next(poll, old, now)
        if old is None or found is None:
            return False
        new, passed = found
        old.delete()
        new.save(force_insert=True)
        invitations_due(poll.invitations.filter(pk=new.pk), now)
        note = build_annotation(
            id_=exchanges.note_id(poll, old.agent.slug),
            org=poll.organisation.slug,
            ts=now,
            actor=POLLS,
            kind="note",
            target=str(poll.drawn_id),
            text=reserve.note_text(gone=old.agent.slug, by=new.agent.slug, passed=passed),
        )
        TransparencyLedger(selectors.log_of(poll)).append_statement(note, now=now)
    return True


def _next(poll: Poll, old: PollInvitation, now: datetime) -> tuple[PollInvitation, list[str]] | None:
    """Make the invitation of the next who can be asked; name those who stand before and cannot."""
    assert poll.log_id is not None, poll.id
    drawn = selectors.draw_of(poll)
    stratum = next(one for one in drawn.strata if one.name == old.stratum)
    asked = set(poll.invitations.values_list("agent__slug", flat=True))
    free = [place for place in stratum.reserve if place.agent_id not in asked][: reserve.MAX_PASSED + 1]
    names = [place.agent_id for place in free]
    active = Agent.objects.filter(
        organisation_id=poll.organisation_id, status=AgentStatus.ACTIVE, slug__in=names
    )
    agents = {agent.slug: agent for agent in active}
    notes = Entry.objects.filter(log_id=poll.log_id, uid__in=[exchanges.note_id(poll, one) for one in names])
    replaced = {str(uid) for uid in notes.values_list("uid", flat=True)}
    for number, place in enumerate(free):
        agent = agents.get(place.agent_id)
        # Who was asked once and was gone then is not asked again, though it is back.
        if agent is not None and exchanges.note_id(poll, place.agent_id) not in replaced:
            new = invitation_made(poll, agent, (stratum.name, place), transports_of(poll), now)
            return new, names[:number]
    return None
