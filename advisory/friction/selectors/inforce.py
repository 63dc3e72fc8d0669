"""What every advice asks first: the mode, the rules in force and those on trial, in one prepared look-up."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import orjson
from django.conf import settings

from advisory.friction.models import AdvisoryMode, FrictionRuleSetVersion
from advisory.friction.selectors import rulesets
from ledger.selectors.entries import OrgScope
from ledger.selectors.hot import hot_row

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from advisory.friction.core.calculator import FrictionCalculator

_SQL = """
SELECT m.mode, EXISTS (
        SELECT FROM friction_standingbypass b
        WHERE b.organisation_id = o.id AND b.ended_at IS NULL AND b.starts_at <= $1 AND b.expires_at > $1
    ),
    (
        SELECT jsonb_object_agg(t.name, t.id)::text FROM friction_notificationtarget t
        WHERE t.organisation_id = o.id AND t.active
    ),
    a.effective_at, a.id, a.version, a.sha256, ra.slug, s.id, s.version, s.sha256, rs.slug
FROM ledger_organisation o
LEFT JOIN friction_frictionmode m ON m.organisation_id = o.id
LEFT JOIN friction_frictionrulesetversion a ON a.organisation_id = o.id AND a.state = 'active'
LEFT JOIN friction_frictionruleset ra ON ra.id = a.ruleset_id
LEFT JOIN friction_frictionrulesetversion s ON s.organisation_id = o.id AND s.state = 'shadow'
LEFT JOIN friction_frictionruleset rs ON rs.id = s.ruleset_id
WHERE o.id = $2
"""


class VersionRef(NamedTuple):
    """One version, as advice names it."""

    pk: int
    version: int
    sha256: str
    slug: str

    @property
    def calculator(self) -> FrictionCalculator:
        """Its rules, loaded once in each process: a version keeps its content once it has left draft."""
        return loaded(self.pk, self.sha256)


class InForce(NamedTuple):
    mode: AdvisoryMode
    has_standing: bool  # some standing bypass runs; whether it covers an advice is another question
    targets: Mapping[str, int]  # active notification targets by name
    active: VersionRef | None
    shadow: VersionRef | None


@lru_cache(maxsize=64)
def loaded(pk: int, sha256: str) -> FrictionCalculator:
    """The rules of one version, kept: it is fixed once it has left draft, as any that gives advice has."""
    version = FrictionRuleSetVersion.objects.get(pk=pk, sha256=sha256)
    return rulesets.calculator_of(version)


def in_force(*, organisation_id: int, at: datetime) -> InForce:
    row = hot_row(_SQL, (at, organisation_id))
    assert row is not None, f"organisation {organisation_id} is gone"
    mode, has_standing, targets, effective_at = row[:4]
    active = VersionRef(*row[4:8]) if row[4] is not None else None
    if active is not None and effective_at is not None and effective_at > at:
        before = rulesets.version_in_force(scope=OrgScope(organisation_id), at=at)
        active = None if before is None else named(before)
    shadow = VersionRef(*row[8:12]) if row[8] is not None else None
    in_mode = AdvisoryMode(mode or settings.ECP_ADVISORY_MODE)
    return InForce(in_mode, has_standing, orjson.loads(targets or "{}"), active, shadow)


def named(version: FrictionRuleSetVersion) -> VersionRef:
    return VersionRef(version.pk, version.version, version.sha256, version.ruleset.slug)
