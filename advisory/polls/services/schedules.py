"""Polls that recur: when one is due, what is done then, and what is not made up for (POLLS section 7)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.db.models import F

from advisory.polls import metrics
from advisory.polls.core.bodies import schedule_body
from advisory.polls.core.schedule import latest_run, next_run, next_runs, parse_cron
from advisory.polls.models import Poll, PollRun, PollSchedule
from advisory.polls.selectors import FINAL
from advisory.polls.services.acts import act_of_person
from advisory.polls.services.lifecycle import poll_create
from ecp_project.kernel.clock import parse_time
from ecp_project.kernel.errors import Conflict, EcpError
from ecp_project.kernel.ids import new_row_id
from ledger.selectors.entries import OrgScope

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

    from ledger.models import Organisation

ON_TIME = timedelta(minutes=5)  # runs are at least that far apart
SHOWN_RUNS = 5
DUE_LIMIT = 20


def schedule_create(
    *, organisation: Organisation, document: Mapping[str, Any], created_by: str, now: datetime
) -> PollSchedule:
    body = schedule_body(document)
    schedule = PollSchedule(
        id=new_row_id(now), organisation_id=organisation.id, created_by=created_by, created_at=now
    )
    _fill(schedule, body)
    schedule.next_due_at = _next(schedule, now)
    with transaction.atomic():
        schedule.save(force_insert=True)
        _record(schedule, "create", actor=created_by, now=now)
    return schedule


def schedule_update(
    *, schedule_id: UUID, document: Mapping[str, Any], actor: str, now: datetime
) -> PollSchedule:
    """Change what is named; the next run counts from now, so nothing is made up for."""
    body = schedule_body(document, is_change=True)
    with transaction.atomic():
        schedule = PollSchedule.objects.select_for_update().get(pk=schedule_id)
        _fill(schedule, body)
        schedule.next_due_at = _next(schedule, now)
        schedule.save()
        _record(schedule, "change", actor=actor, now=now, detail={"fields": " ".join(sorted(body))})
    return schedule


def schedule_run(*, schedule_id: UUID, actor: str, now: datetime) -> PollRun:
    """Run once more, now, whatever the cron line says."""
    with transaction.atomic():
        schedule = PollSchedule.objects.select_for_update().get(pk=schedule_id)
        due_at = now.replace(microsecond=0)
        done = PollRun.objects.filter(schedule=schedule, due_at=due_at).first()
        if done is not None:  # pressed twice
            return done
        if _open_polls(schedule) and schedule.if_open == "skip":
            raise Conflict("poll_state", "the poll before is still running")
        run = _run(schedule, due_at, now)
        _record(schedule, "run", actor=actor, now=now)
        return run


def _record(
    schedule: PollSchedule, verb: str, *, actor: str, now: datetime, detail: Mapping[str, str] | None = None
) -> None:
    """One `ecp.staff/1` in the transaction of the act: its polls commit with nobody confirming."""
    act_of_person(
        organisation=schedule.organisation, actor=actor, action=f"polls.schedule_{verb}",
        object_=f"schedule:{schedule.id}", now=now, detail=detail,
    )  # fmt: skip


def schedules_due(*, now: datetime) -> int:
    """Run what is due, each schedule once; a second beat at the same moment finds it locked or done."""
    with transaction.atomic():
        due = list(
            PollSchedule.objects.select_for_update(skip_locked=True)
            .filter(enabled=True, next_due_at__lte=now)
            .order_by("next_due_at")[:DUE_LIMIT]
        )
        for schedule in due:
            _turn(schedule, now)
    return len(due)


def upcoming(schedule: PollSchedule, now: datetime) -> list[datetime]:
    if not schedule.enabled:
        return []
    return next_runs(parse_cron(schedule.cron), schedule.timezone, now, SHOWN_RUNS)


def _turn(schedule: PollSchedule, now: datetime) -> None:
    """Of several missed times at most the latest is run: downtime ends in no burst."""
    assert schedule.next_due_at is not None, schedule.id
    latest = latest_run(parse_cron(schedule.cron), schedule.timezone, due=schedule.next_due_at, now=now)
    if now - latest > ON_TIME and schedule.catch_up == "none":
        _skip(schedule, latest, "downtime", now)
    elif schedule.if_open == "skip" and _open_polls(schedule):
        _skip(schedule, latest, "previous_open", now)
    else:
        _run(schedule, latest, now)
    schedule.last_due_at = latest
    schedule.next_due_at = _next(schedule, now)
    schedule.save()


def _run(schedule: PollSchedule, due_at: datetime, now: datetime) -> PollRun:
    try:
        poll = poll_create(
            organisation=schedule.organisation,
            scope=OrgScope(schedule.organisation_id),
            document={**schedule.template, "auto": True},
            created_by="system:schedule",
            now=now,
            schedule_id=schedule.id,
            due_at=due_at,
        )
    except EcpError as refused:
        return _skip(schedule, due_at, refused.code, now)
    metrics.SCHEDULE_RUNS.labels(outcome="run").inc()
    schedule.runs += 1
    PollSchedule.objects.filter(pk=schedule.pk).update(runs=F("runs") + 1)
    return PollRun.objects.create(id=new_row_id(now), schedule=schedule, due_at=due_at, poll=poll)


def _skip(schedule: PollSchedule, due_at: datetime, reason: str, now: datetime) -> PollRun:
    metrics.SCHEDULE_RUNS.labels(outcome="skipped").inc()
    return PollRun.objects.create(id=new_row_id(now), schedule=schedule, due_at=due_at, skipped=reason)


def _open_polls(schedule: PollSchedule) -> bool:
    return Poll.objects.filter(schedule=schedule).exclude(state__in=FINAL).exists()


def _next(schedule: PollSchedule, now: datetime) -> datetime | None:
    is_done = schedule.max_runs is not None and schedule.runs >= schedule.max_runs
    if not schedule.enabled or is_done:
        return None
    found = next_run(parse_cron(schedule.cron), schedule.timezone, now)
    return None if found is None or (schedule.ends_at and found > schedule.ends_at) else found


def _fill(schedule: PollSchedule, body: Mapping[str, Any]) -> None:
    for name in ("title", "cron", "timezone", "template", "enabled", "if_open", "catch_up", "max_runs"):
        if name in body:
            setattr(schedule, name, body[name])
    if "ends_at" in body:
        schedule.ends_at = None if body["ends_at"] is None else parse_time(body["ends_at"])
