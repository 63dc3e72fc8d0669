"""Reading simulations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from advisory.friction.models import FrictionSimulation
from ecp_project.kernel.clock import format_time
from ecp_project.kernel.errors import NotFound

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from ledger.selectors.entries import OrgScope


def simulations(*, scope: OrgScope) -> QuerySet[FrictionSimulation]:
    rows = FrictionSimulation.objects.filter(organisation_id=scope.organisation_id)
    return rows.select_related("against__ruleset")


def simulation_of(*, scope: OrgScope, uid: UUID) -> FrictionSimulation:
    found = simulations(scope=scope).filter(pk=uid).first()
    if found is None:
        raise NotFound("not_found", "there is no such simulation")
    return found


def simulation_page(*, scope: OrgScope, before: int | None, size: int) -> list[FrictionSimulation]:
    rows = simulations(scope=scope).defer("source_yaml")
    if before is not None:
        rows = rows.filter(pk__lt=UUID(int=before))
    return list(rows.order_by("-pk")[: size + 1])


def simulation_document(row: FrictionSimulation) -> dict[str, Any]:
    """What is asked and how far it has come; `result` once it is complete."""
    against = row.against
    return {
        "id": str(row.pk),
        "state": row.state,
        "done": row.done,
        "last_n": row.last_n,
        "from": format_time(row.since) if row.since else None,
        "to": format_time(row.until),
        "filters": row.filters,
        "against": "recorded"
        if against is None
        else {"id": against.ruleset.slug, "version": against.version, "hash": against.sha256},
        "new_hash": row.sha256,
        "actor": row.actor,
        "created_at": format_time(row.created_at),
        "ended_at": format_time(row.ended_at) if row.ended_at else None,
        "result": row.result,
    }
