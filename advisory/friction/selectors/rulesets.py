"""Reading rule sets: versions within an organisation, and those that are in force."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.conf import settings

from advisory.friction.core.calculator import FrictionCalculator
from advisory.friction.models import FrictionMode, FrictionRuleSet, FrictionRuleSetVersion, VersionState
from ecp_project.kernel.clock import format_time
from ecp_project.kernel.errors import NotFound

if TYPE_CHECKING:
    from datetime import datetime

    from django.db.models import QuerySet

    from ledger.selectors.entries import OrgScope


def versions(*, scope: OrgScope) -> QuerySet[FrictionRuleSetVersion]:
    return FrictionRuleSetVersion.objects.filter(organisation_id=scope.organisation_id).select_related(
        "ruleset"
    )


def version_of(*, scope: OrgScope, slug: str, number: int) -> FrictionRuleSetVersion:
    found = versions(scope=scope).filter(ruleset__slug=slug, version=number).first()
    if found is None:
        raise NotFound("not_found", "there is no such version of a rule set")
    return found


def version_page(*, scope: OrgScope) -> list[FrictionRuleSetVersion]:
    """Newest first; an organisation has few enough rule sets for one page."""
    return list(versions(scope=scope).order_by("-id")[:200])


def newest_number(*, ruleset: FrictionRuleSet) -> int:
    numbers = ruleset.versions.order_by("-version").values_list("version", flat=True)
    return numbers.first() or 0


def version_in_force(*, scope: OrgScope, at: datetime) -> FrictionRuleSetVersion | None:
    """The active version, or the one that it replaces while its time has not come."""
    found = versions(scope=scope).filter(state=VersionState.ACTIVE).select_related("replaces").first()
    while found is not None and found.effective_at is not None and found.effective_at > at:
        found = found.replaces
    return found


def shadow_version(*, scope: OrgScope) -> FrictionRuleSetVersion | None:
    return versions(scope=scope).filter(state=VersionState.SHADOW).first()


@lru_cache(maxsize=64)
def _calculator(sha256: str, source: str) -> FrictionCalculator:
    calculator = FrictionCalculator.load(source)
    assert calculator.ruleset.hash == sha256, f"stored rules of hash {sha256} have {calculator.ruleset.hash}"
    return calculator


def calculator_of(version: FrictionRuleSetVersion) -> FrictionCalculator:
    """The rules of a version, loaded once in each process; their hash is checked when they are."""
    return _calculator(version.sha256, version.source_yaml)


def mode_of_organisation(organisation_id: int) -> str:
    """`friction` or `observer`: the organisation's row, else the installation's first value."""
    row = FrictionMode.objects.filter(organisation_id=organisation_id).values_list("mode", flat=True)
    first_value: str = settings.ECP_ADVISORY_MODE
    return row.first() or first_value


def mode_document(organisation_id: int) -> dict[str, Any]:
    """The mode with who switched to it and when; both null while it is the installation's first value."""
    row = FrictionMode.objects.filter(organisation_id=organisation_id).first()
    return {
        "mode": mode_of_organisation(organisation_id),
        "since": format_time(row.since) if row else None,
        "actor": row.actor if row else None,
    }
