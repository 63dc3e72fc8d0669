"""The reserve: who is asked instead of an agent that was de-registered before the question reached it.

Never to replace silence, and never without an entry in the log (POLLS section 2, step 6).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction
from django.db.models import Q

from advisory.polls import selectors
from advisory.polls.models import InvitationState, PollInvitation, State
from advisory.polls.services.lifecycle import POLLS, invitation_made, invitations_due, locked, transports_of
from ecp_project.kernel.ids import new_uuid7
from ledger.core.statement import build_annotation
from ledger.models import Agent, AgentStatus
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
        new = None if old is None else _next(poll, old, now)
        if old is None or new is None:
            return False
        old.delete()
        new.save(force_insert=True)
        invitations_due(poll.invitations.filter(pk=new.pk), now)
        note = build_annotation(
            id_=new_uuid7(now),
            org=poll.organisation.slug,
            ts=now,
            actor=POLLS,
            kind="note",
            target=str(poll.drawn_id),
            text=(
                f"{old.agent.slug} was de-registered before the question reached it: {new.agent.slug}, next "
                "in the reserve of its stratum, is asked instead."
            ),
        )
        TransparencyLedger(selectors.log_of(poll)).append_statement(note, now=now)
    return True


def _next(poll: Poll, old: PollInvitation, now: datetime) -> PollInvitation | None:
    drawn = selectors.draw_of(poll)
    stratum = next(one for one in drawn.strata if one.name == old.stratum)
    asked = set(poll.invitations.values_list("agent__slug", flat=True))
    free = [place for place in stratum.reserve if place.agent_id not in asked]
    active = Agent.objects.filter(
        organisation_id=poll.organisation_id,
        status=AgentStatus.ACTIVE,
        slug__in=[place.agent_id for place in free],
    )
    agents = {agent.slug: agent for agent in active}
    place = next((place for place in free if place.agent_id in agents), None)
    if place is None:
        return None
    return invitation_made(poll, agents[place.agent_id], (stratum.name, place), transports_of(poll), now)
