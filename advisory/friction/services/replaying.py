"""Replay of a candidate against recorded advice: at once, or in the background (FRICTION 8)."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import transaction

from advisory.friction.core.calculator import FrictionCalculator
from advisory.friction.core.replay import Replay
from advisory.friction.models import FrictionSimulation, SimulationState
from advisory.friction.selectors import rulesets
from advisory.friction.selectors.recorded import RecordedFilter, recorded_advice
from advisory.friction.services.decided import decision_body
from ecp_project.kernel.errors import Conflict
from ecp_project.kernel.ids import new_uuid7
from ledger.selectors.entries import OrgScope, default_log

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from advisory.friction.models import FrictionRuleSetVersion
    from ledger.models import Log

TELL_EVERY = 100
MOVE_EVERY = 500  # advices between two looks at the row: progress told, a wish to stop heard
MOST_OPEN = 5  # of one organisation; they are worked off one after another
# A worker that has said nothing for this long is gone, and another one begins anew.
SILENT = timedelta(minutes=2)
OPEN = (SimulationState.QUEUED, SimulationState.RUNNING)


class _StoppedError(Exception):
    """Somebody has stopped the simulation."""


def replay_run(
    *,
    log: Log,
    calculator: FrictionCalculator,
    wanted: RecordedFilter,
    progress: Callable[[int, int], None],
    against: FrictionCalculator | None = None,
) -> Replay:
    replay = Replay(calculator, against)
    scope = OrgScope(log.organisation_id)
    for recorded in recorded_advice(scope=scope, wanted=wanted, decided=partial(decision_body, log)):
        replay.add(recorded)
        if replay.total % TELL_EVERY == 0:
            progress(replay.total, 0)
    return replay


def simulation_ask(
    *,
    log: Log,
    source: str,
    sha256: str,
    against: FrictionRuleSetVersion | None,
    wanted: RecordedFilter,
    actor: str,
    now: datetime,
) -> FrictionSimulation:
    """Queue a simulation of a file that loads. It covers what was advised before now, whenever it runs."""
    with transaction.atomic():
        waiting = FrictionSimulation.objects.select_for_update().filter(
            organisation_id=log.organisation_id, state__in=OPEN
        )
        if len(waiting) >= MOST_OPEN:
            raise Conflict("state_invalid", f"{MOST_OPEN} simulations wait or run already; let one end first")
        return FrictionSimulation.objects.create(
            id=UUID(new_uuid7(now)),
            organisation_id=log.organisation_id,
            actor=actor,
            source_yaml=source,
            sha256=sha256,
            against=against,
            last_n=wanted.last,
            since=wanted.since,
            until=min(wanted.until or now, now),
            filters={
                name: value
                for name in ("agent", "action", "level")
                if (value := getattr(wanted, name)) is not None
            },
            created_at=now,
            moved_at=now,
        )


def simulation_cancel(*, simulation: FrictionSimulation, now: datetime) -> FrictionSimulation:
    """Stop it; what has ended already stays as it is."""
    FrictionSimulation.objects.filter(pk=simulation.pk, state__in=OPEN).update(
        state=SimulationState.CANCELLED, ended_at=now
    )
    simulation.refresh_from_db()
    return simulation


def simulation_step(*, clock: Callable[[], datetime]) -> bool:
    """Run the oldest simulation that waits, or that a lost worker has left behind; whether there was one."""
    taken = _taken(clock())
    if taken is None:
        return False
    log = default_log(scope=OrgScope(taken.organisation_id))
    try:
        result = _run(taken, log, clock)
    except _StoppedError:
        return True
    except Exception:
        _ended(taken, SimulationState.FAILED, None, clock())
        raise
    _ended(taken, SimulationState.COMPLETE, result, clock())
    return True


def _taken(now: datetime) -> FrictionSimulation | None:
    """Claim one by a conditional UPDATE; no lock is held while it runs."""
    rows = FrictionSimulation.objects.select_related("against").order_by("created_at", "pk")
    for row in rows.filter(state__in=OPEN)[: MOST_OPEN * 2]:
        if row.state == SimulationState.RUNNING and row.moved_at > now - SILENT:
            continue
        mine = FrictionSimulation.objects.filter(pk=row.pk, state=row.state, moved_at=row.moved_at)
        if mine.update(state=SimulationState.RUNNING, moved_at=now, done=0):
            return row
    return None


def _run(row: FrictionSimulation, log: Log, clock: Callable[[], datetime]) -> dict[str, Any]:
    def moved(done: int, _all: int) -> None:
        if done % MOVE_EVERY == 0:
            running = FrictionSimulation.objects.filter(pk=row.pk, state=SimulationState.RUNNING)
            if not running.update(done=done, moved_at=clock()):
                raise _StoppedError

    wanted = RecordedFilter(last=row.last_n, since=row.since, until=row.until, **row.filters)
    replay = replay_run(
        log=log,
        calculator=FrictionCalculator.load(row.source_yaml),
        against=None if row.against is None else rulesets.calculator_of(row.against),
        wanted=wanted,
        progress=moved,
    )
    row.done = replay.total
    return replay.result()


def _ended(
    row: FrictionSimulation, state: SimulationState, result: dict[str, Any] | None, now: datetime
) -> None:
    FrictionSimulation.objects.filter(pk=row.pk, state=SimulationState.RUNNING).update(
        state=state, result=result, done=row.done, ended_at=now, moved_at=now
    )
