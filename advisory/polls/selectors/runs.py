"""Runs of a schedule as a reader may see them: the polls, and the times at which there was none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from advisory.polls import selectors
from ecp_project.kernel.errors import NotFound

if TYPE_CHECKING:
    from uuid import UUID

    from django.db.models import QuerySet

    from advisory.polls.models import Poll, PollRun, PollSchedule
    from ledger.selectors.entries import OrgScope


def schedule_seen(*, scope: OrgScope, schedule_id: UUID) -> PollSchedule:
    """Whoever sees polls about some agents' decisions alone sees the schedules that made such polls."""
    schedule = selectors.schedule_of(scope=scope, schedule_id=schedule_id)
    if scope.agents is not None and not _polls_seen(scope).filter(schedule=schedule).exists():
        raise NotFound("not_found", "there is no such schedule")
    return schedule


def runs_seen(*, scope: OrgScope, schedule: PollSchedule, most: int) -> list[PollRun]:
    """Newest first; one too many tells that there are more. What was left out is about nobody's decision."""
    runs = schedule.history.select_related("poll").order_by("-due_at")
    if scope.agents is not None:
        runs = runs.filter(poll__in=_polls_seen(scope))
    return list(runs[: most + 1])


def _polls_seen(scope: OrgScope) -> QuerySet[Poll]:
    return selectors.polls(scope=scope).select_related(None)
