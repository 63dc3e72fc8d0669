"""Replay of a candidate against recorded advice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from advisory.friction.core.replay import Replay
from advisory.friction.selectors.recorded import recorded_advice

if TYPE_CHECKING:
    from collections.abc import Callable

    from advisory.friction.core.calculator import FrictionCalculator
    from ledger.selectors.entries import OrgScope

TELL_EVERY = 100


def replay_run(
    *, scope: OrgScope, calculator: FrictionCalculator, last: int, progress: Callable[[int, int], None]
) -> Replay:
    replay = Replay(calculator)
    for recorded in recorded_advice(scope=scope, last=last):
        replay.add(recorded)
        if replay.total % TELL_EVERY == 0:
            progress(replay.total, 0)
    return replay
