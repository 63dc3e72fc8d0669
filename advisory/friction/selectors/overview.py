"""Friction's own page: what is in force, what it does, what its rules do (CONSOLE section 8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from advisory.friction.models import FrictionMode, StandingBypass
from advisory.friction.selectors import rates, rulesets
from advisory.friction.selectors.words import interval_words, share_words
from ledger.selectors.staffacts import names_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from advisory.friction.core.rules import Rule
    from advisory.friction.models import FrictionRuleSetVersion
    from ledger.selectors.entries import OrgScope


@dataclass(frozen=True, slots=True)
class RuleRow:
    rule: Rule
    count: rates.RuleCount
    share: str
    interval: str
    is_outdated: bool


@dataclass(frozen=True, slots=True)
class Overview:
    version: FrictionRuleSetVersion | None
    shadow: FrictionRuleSetVersion | None
    activated_by: str
    mode: str
    changed: FrictionMode | None
    levels: Sequence[rates.Rate]
    days: Sequence[tuple[datetime, list[int]]]
    rules: Sequence[RuleRow]
    standing: int


def overview(*, scope: OrgScope, since: datetime, until: datetime, now: datetime) -> Overview:
    version = rulesets.version_in_force(scope=scope, at=now)
    about: dict[str, Any] = {"scope": scope, "since": since, "until": until}
    counts = rates.by_rule(**about)
    old = {rule.id for rule in outdated(scope=scope, now=now)}
    rules = rulesets.calculator_of(version).ruleset.rules if version else ()
    decided_by = version.activated_by if version else ""
    names = names_of(organisation_id=scope.organisation_id, actors=[decided_by])
    running = StandingBypass.objects.filter(
        organisation_id=scope.organisation_id, starts_at__lte=now, expires_at__gt=now, ended_at__isnull=True
    )
    return Overview(
        version=version,
        shadow=rulesets.shadow_version(scope=scope),
        activated_by=names.get(decided_by, decided_by),
        mode=rulesets.mode_of_organisation(scope.organisation_id),
        changed=FrictionMode.objects.filter(organisation_id=scope.organisation_id).first(),
        levels=rates.by_level(**about),
        days=rates.by_day(**about),
        rules=[_row(rule, counts, old) for rule in rules],
        standing=running.count(),
    )


def _row(rule: Rule, counts: dict[str, rates.RuleCount], old: set[str]) -> RuleRow:
    count = counts.get(rule.id, rates.RuleCount(0, rates.Rate(rule.id, 0, 0)))
    return RuleRow(rule, count, share_words(count.rate), interval_words(count.rate), rule.id in old)


def outdated(*, scope: OrgScope, now: datetime) -> list[Rule]:
    """Rules in force whose day for another look has passed."""
    version = rulesets.version_in_force(scope=scope, at=now)
    if version is None:
        return []
    rules = rulesets.calculator_of(version).ruleset.rules
    return [rule for rule in rules if rule.enabled and rule.review_at is not None and rule.review_at < now]
