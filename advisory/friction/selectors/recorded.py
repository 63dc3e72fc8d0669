"""Recorded advice for a replay, read in order and a slice at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from advisory.friction.core.replay import Recorded
from advisory.friction.models import AdviceMode, FrictionAdvice
from ecp_project.kernel.clock import format_time

if TYPE_CHECKING:
    from collections.abc import Iterator
    from uuid import UUID

    from ledger.selectors.entries import OrgScope

SLICE = 500
MOST = 100_000


def recorded_advice(*, scope: OrgScope, last: int) -> Iterator[Recorded]:
    """The newest `last` advices, newest first, by key: memory does not grow with their number."""
    rows = FrictionAdvice.objects.filter(organisation_id=scope.organisation_id, mode=AdviceMode.ACTIVE)
    before: UUID | None = None
    while last > 0:
        page = rows if before is None else rows.filter(pk__lt=before)
        found = list(page.defer("proposal", "request_mac").order_by("-pk")[: min(SLICE, last)])
        if not found:
            return
        yield from map(_recorded, found)
        before, last = found[-1].pk, last - len(found)


def _recorded(row: FrictionAdvice) -> Recorded:
    kept = None if row.facts_erased_at else {fact["from"]: fact.get("value") for fact in row.facts}
    return Recorded(
        id=str(row.pk),
        hash=row.sha256,
        level=row.level,
        fired=tuple(fired["rule"] for fired in row.result["fired"]),
        steps=row.result["steps"],
        evaluated_at=row.evaluated_at,
        clock=format_time(row.evaluated_at),
        facts=kept,
    )
