"""What pages and panels of the console read of polls: rows to list, deliveries to count, entries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db.models import Count, Q, Subquery

from advisory.polls import selectors
from advisory.polls.models import (
    InvitationState,
    Poll,
    PollInvitation,
    State,
    Transport,
)
from advisory.polls.selectors.narrowing import Narrowing
from ledger.core.entry import EntrySyntax, parse_entry
from ledger.models import POSITIONS_PER_LOG, Agent, AgentStatus, Entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from ledger.selectors.entries import OrgScope

AT_WORK = (State.DRAFT, State.COMMITTED, State.DRAWN, State.OPEN)
EVERYTHING = Narrowing()
SOON = timedelta(hours=1)
MOST_FOUND = 5_000
MOST_ABOUT = 20


@dataclass(frozen=True, slots=True)
class Row:
    """A poll of a list and how far it has come; nothing in it tells one answer from another."""

    poll: Poll
    drawn: int
    delivered: int
    answered: int


def poll_rows(
    *,
    scope: OrgScope,
    states: Iterable[str],
    size: int,
    before: UUID | None = None,
    narrowing: Narrowing = EVERYTHING,
) -> list[Row]:
    """Newest first; one row too many tells that there are more."""
    wanted = [state for state in states if narrowing.state in {"", state}]
    polls = selectors.polls(scope=scope).filter(narrowing.of_schedule, state__in=wanted)
    polls = polls.select_related("schedule")
    if before is not None:
        polls = polls.filter(id__lt=before)
    found = list(polls.order_by("-id")[: size + 1])
    counted = (
        PollInvitation.objects.filter(poll__in=[poll.id for poll in found])
        .values("poll_id")
        .annotate(
            drawn=Count("id"),
            delivered=Count("id", filter=Q(delivered_at__isnull=False)),
            answered=Count("id", filter=Q(state=InvitationState.ANSWERED)),
        )
        .order_by()
    )
    numbers = {row["poll_id"]: (row["drawn"], row["delivered"], row["answered"]) for row in counted}
    return [Row(poll, *numbers.get(poll.id, (0, 0, 0))) for poll in found]


def deliveries_of(poll: Poll) -> dict[str, int]:
    """How the question got to the agents, while the poll is open: each drawn agent in one class.

    `late` cannot happen before the deadline, and who abstained has answered.
    """
    asked = poll.invitations.aggregate(
        answered=Count("id", filter=Q(state=InvitationState.ANSWERED)),
        declined=Count("id", filter=Q(state=InvitationState.DECLINED)),
        invalid=Count("id", filter=Q(state=InvitationState.DELIVERED, refused_answers__gt=0)),
        silent=Count("id", filter=Q(state=InvitationState.DELIVERED, refused_answers=0)),
        pending=Count("id", filter=Q(state=InvitationState.PENDING)),
        unreachable=Count("id", filter=Q(state=InvitationState.UNREACHABLE)),
    )
    return dict(asked)


def attempts_of(poll: Poll) -> list[dict[str, Any]]:
    """Transports with the failures of their last attempts, as few words as metrics have."""
    rows: Any = (
        poll.invitations.values("transport", "last_error")
        .annotate(agents=Count("id"))
        .order_by("transport", "-agents", "last_error")
    )
    return [dict(row) for row in rows]


def waiting_by_hand(poll: Poll) -> list[PollInvitation]:
    """Invitations that a person answers for an agent, and that nobody has answered yet."""
    rows = poll.invitations.filter(transport=Transport.MANUAL, state=InvitationState.DELIVERED)
    return list(rows.select_related("agent").order_by("agent__slug"))


def askable_agents(*, scope: OrgScope) -> int:
    """How many agents accept polls: the largest frame that a new poll can have."""
    agents = Agent.objects.filter(organisation_id=scope.organisation_id, accepts_polls=True)
    return agents.filter(status=AgentStatus.ACTIVE).count()


def open_count(*, scope: OrgScope) -> int:
    return selectors.polls(scope=scope).filter(state=State.OPEN).count()


def closing_soon(*, scope: OrgScope, now: datetime) -> list[Poll]:
    rows = selectors.polls(scope=scope).filter(state=State.OPEN, deadline__lte=now + SOON)
    return list(rows.order_by("deadline")[:MOST_ABOUT])


def polls_closed(*, scope: OrgScope, since: datetime, until: datetime, most: int) -> list[Poll]:
    """Closed in a range, newest first; the cancelled have no result."""
    rows = selectors.polls(scope=scope).filter(state=State.CLOSED, closed_at__gte=since, closed_at__lt=until)
    return list(rows.order_by("-closed_at")[:most])


def polls_about(*, scope: OrgScope, entry_id: int) -> list[Poll]:
    """Polls about the decision that stands at this place, the newest first."""
    uid = Subquery(Entry.objects.filter(pk=entry_id).values("uid")[:1])
    rows = selectors.polls(scope=scope).filter(decision_id=uid)
    return list(rows.order_by("-id")[:MOST_ABOUT])


def decision_at(*, scope: OrgScope, entry_id: int) -> UUID | None:
    """Id of the decision at this place; None where something else stands there, or nothing that is seen."""
    rows = Entry.objects.filter(pk=entry_id, log__organisation_id=scope.organisation_id)
    rows = rows.exclude(action=None)
    if scope.agents is not None:
        rows = rows.filter(agent__in=scope.agents)
    return rows.values_list("uid", flat=True).first()


def decisions_asked_about(*, scope: OrgScope) -> list[UUID]:
    rows = selectors.polls(scope=scope).exclude(state=State.DRAFT).exclude(decision_id=None)
    found = rows.order_by("-id").values_list("decision_id", flat=True)[:MOST_FOUND]
    return [uid for uid in found if uid is not None]


@dataclass(frozen=True, slots=True)
class Step:
    """An entry that a poll has left in the log."""

    name: str
    entry: Entry
    stmt: Mapping[str, Any]


def steps_of(polls: Sequence[Poll]) -> list[tuple[Poll, Step]]:
    """The entries of these polls in the order of the log: committed, drawn, closed or cancelled."""
    named = {}
    for poll in polls:
        end = "cancelled" if poll.state == State.CANCELLED else "closed"
        for uid, name in ((poll.committed_id, "committed"), (poll.drawn_id, "drawn"), (poll.closed_id, end)):
            if uid is not None:
                named[uid] = (poll, name)
    logs = {poll.log_id for poll in polls if poll.log_id is not None}
    entries = Entry.objects.filter(log_id__in=logs, uid__in=list(named)).order_by("id")
    found = []
    for entry in entries:
        assert entry.uid is not None, entry.pk
        poll, name = named[entry.uid]
        found.append((poll, Step(name, entry, _statement(entry))))
    return found


def _statement(entry: Entry) -> Mapping[str, Any]:
    try:
        return parse_entry(bytes(entry.entry)).stmt
    except EntrySyntax:
        return {}


def input_entry_of(poll: Poll) -> Entry | None:
    """The entry that decided the draw."""
    if poll.log_id is None or poll.committed_seq is None or not poll.public_input:
        return None
    return Entry.objects.filter(pk=poll.log_id * POSITIONS_PER_LOG + poll.committed_seq + 2).first()
