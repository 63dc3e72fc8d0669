"""Recorded advice for a replay, read in order and a slice at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db.models import Q

from advisory.friction.core.replay import Recorded
from advisory.friction.core.values import FactState
from advisory.friction.models import AdviceMode, FrictionAdvice
from ecp_project.kernel.clock import format_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime
    from uuid import UUID

    from ledger.selectors.entries import OrgScope

    Decided = Callable[[UUID], tuple[Mapping[str, Any], bool]]

SLICE = 500
MOST = 100_000
# The members of a row that a replay needs.
_COLUMNS = (
    "pk", "evaluated_at", "sha256", "level", "facts", "facts_erased_at", "decision_id",
    "result__fired", "result__steps",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RecordedFilter:
    """Which advices: the newest `last` of those given from `since` on and before `until`."""

    last: int = MOST
    since: datetime | None = None
    until: datetime | None = None
    agent: str | None = None
    action: str | None = None
    level: str | None = None


class _Row(NamedTuple):
    pk: UUID
    evaluated_at: datetime
    sha256: str
    level: str
    facts: list[dict[str, Any]]
    facts_erased_at: datetime | None
    decision_id: UUID | None
    fired: list[dict[str, Any]]
    steps: list[dict[str, Any]]


def recorded_advice(*, scope: OrgScope, wanted: RecordedFilter, decided: Decided) -> Iterator[Recorded]:
    """Newest first, by key: memory does not grow with their number.

    What was kept by observers counts as what agents were told; trials do not. `decided` reads a decision.
    """
    rows = FrictionAdvice.objects.filter(organisation_id=scope.organisation_id).exclude(
        mode=AdviceMode.SHADOW
    )
    for name in ("agent", "action", "level"):
        if (value := getattr(wanted, name)) is not None:
            rows = rows.filter(Q((name, value)))
    if wanted.since is not None:
        rows = rows.filter(evaluated_at__gte=wanted.since)
    if wanted.until is not None:
        rows = rows.filter(evaluated_at__lt=wanted.until)
    rows = rows.order_by("-evaluated_at", "-pk")
    page, left = rows, wanted.last
    while left > 0:
        found = [_Row(*row) for row in page.values_list(*_COLUMNS)[: min(SLICE, left)]]
        if not found:
            return
        for row in found:
            yield _recorded(row, decided)
        last = found[-1]
        left -= len(found)
        # The second term alone would be enough; the first one is what the index starts from.
        page = rows.filter(
            Q(evaluated_at__lte=last.evaluated_at),
            Q(evaluated_at__lt=last.evaluated_at) | Q(pk__lt=last.pk),
        )


def _recorded(row: _Row, decided: Decided) -> Recorded:
    uid = row.decision_id
    return Recorded(
        id=str(row.pk),
        hash=row.sha256,
        level=row.level,
        fired=tuple(fired["rule"] for fired in row.fired),
        steps=row.steps,
        evaluated_at=row.evaluated_at,
        clock=format_time(row.evaluated_at),
        facts=None if row.facts_erased_at else _kept(row.facts),
        decided=None if uid is None else lambda: decided(uid),
    )


def _kept(facts: list[dict[str, Any]]) -> dict[str, Any]:
    """Values by source. A fact that was there, but whose value only the decision has, is not kept here."""
    missing = FactState.MISSING.value
    return {fact["from"]: fact.get("value") for fact in facts if "value" in fact or fact["state"] == missing}
