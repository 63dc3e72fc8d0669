"""Hiding the quoted reason of a minority for privacy, and showing it again: each an act on the log.

The ended poll does not change. Its answers stay in the proof, whose hashes are on the log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from django.db import transaction

from advisory.polls import selectors
from advisory.polls.models import PollMinorityAct
from advisory.polls.selectors import privacy
from advisory.polls.services.lifecycle import demand_reason, locked
from ecp_project.kernel.errors import Conflict
from ecp_project.kernel.ids import new_uuid7
from ledger.core.statement import build_staff
from ledger.services.ledger import TransparencyLedger

if TYPE_CHECKING:
    from datetime import datetime


def minority_hide(*, poll_id: UUID, actor: str, reason: str, now: datetime) -> PollMinorityAct:
    return _act(poll_id, hides=True, actor=actor, reason=reason, now=now)


def minority_show(*, poll_id: UUID, actor: str, reason: str, now: datetime) -> PollMinorityAct:
    return _act(poll_id, hides=False, actor=actor, reason=reason, now=now)


def _act(poll_id: UUID, *, hides: bool, actor: str, reason: str, now: datetime) -> PollMinorityAct:
    """The poll's row is locked, so of two acts at once the second finds that nothing is left to do."""
    demand_reason(reason)
    with transaction.atomic():
        poll = locked(poll_id)
        selectors.demand_closed(poll)
        if not privacy.quoted(poll):
            raise Conflict("poll_state", "the minority report quotes no reason")
        before = privacy.acts_of(poll)
        if privacy.is_hidden(before) == hides:
            raise Conflict("poll_state", f"the quoted reason is {'hidden' if hides else 'shown'} already")
        stmt = build_staff(
            id_=new_uuid7(now),
            org=poll.organisation.slug,
            ts=now,
            actor=actor,
            action="poll.minority_hide" if hides else "poll.minority_show",
            object_=f"poll:{poll.id}",
            reason=reason,
        )
        act = PollMinorityAct.objects.create(
            id=UUID(stmt["id"]),
            poll=poll,
            number=len(before) + 1,
            hides=hides,
            actor=actor,
            at=now,
            reason=reason,
        )
        TransparencyLedger(selectors.log_of(poll)).append_statement(stmt, now=now)
    return act
