"""How often advice was given and bypassed: by level, by action, by rule, by day (CONSOLE section 11).

What counts is advice that agents were given, not what was only observed or tried beside the active rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import connection

from advisory.friction.models import Level
from ecp_project.kernel.stats import wilson

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from ledger.selectors.entries import OrgScope

ACTIONS = 15
_GIVEN = """
    SELECT a.id, a.action, a.level, a.result, date_trunc('day', a.evaluated_at, 'UTC') AS day,
           EXISTS (SELECT FROM friction_frictionbypass b WHERE b.advice_id = a.id) AS bypassed
    FROM friction_frictionadvice a
    WHERE a.organisation_id = %(organisation)s AND a.mode = 'active'
      AND a.evaluated_at >= %(since)s AND a.evaluated_at < %(until)s
      AND (%(agents)s::text[] IS NULL OR a.agent = ANY(%(agents)s))
"""
_COUNTS = "count(*), count(*) FILTER (WHERE bypassed)"
BY_LEVEL = f"SELECT level, {_COUNTS} FROM ({_GIVEN}) given GROUP BY 1"
BY_DAY = f"SELECT day, level, count(*) FROM ({_GIVEN}) given GROUP BY 1, 2 ORDER BY 1"
BY_ACTION = f"""
    SELECT action, level, {_COUNTS}, sum(count(*)) OVER (PARTITION BY action) AS total
    FROM ({_GIVEN}) given GROUP BY 1, 2 ORDER BY total DESC, 1, 2 LIMIT 45
"""
BY_RULE = f"""
    SELECT rule, sum(fired), sum(bypassed), sum(undecided) FROM (
        SELECT one ->> 'rule' AS rule, count(*) AS fired, count(*) FILTER (WHERE bypassed) AS bypassed,
               0 AS undecided
        FROM ({_GIVEN}) given, jsonb_array_elements(result -> 'fired') one GROUP BY 1
        UNION ALL
        SELECT one, 0, 0, count(*)
        FROM ({_GIVEN}) given, jsonb_array_elements_text(result -> 'undecided_rules') one GROUP BY 1
    ) counted GROUP BY 1
"""


@dataclass(frozen=True, slots=True)
class Rate:
    """Advice with at least one bypass among all advice given; per mille, to be shown with one digit."""

    name: str
    advised: int
    bypassed: int

    @property
    def share_milli(self) -> int | None:
        return round(1_000 * self.bypassed / self.advised) if self.advised else None

    @property
    def interval_milli(self) -> tuple[int, int] | None:
        """Wilson's interval at 95 %."""
        if not self.advised:
            return None
        low, high = wilson(self.bypassed / self.advised, self.advised)
        return round(1_000 * low), round(1_000 * high)


@dataclass(frozen=True, slots=True)
class RuleCount:
    undecided: int
    rate: Rate


def by_level(*, scope: OrgScope, since: datetime, until: datetime) -> list[Rate]:
    found = {level: (advised, bypassed) for level, advised, bypassed in _rows(BY_LEVEL, scope, since, until)}
    return [Rate(level, *found.get(level, (0, 0))) for level in Level.values]


def by_action(*, scope: OrgScope, since: datetime, until: datetime) -> list[tuple[str, list[Rate]]]:
    """The most frequent actions, each with one rate for each level."""
    found: dict[str, dict[str, Rate]] = {}
    for action, level, advised, bypassed, _total in _rows(BY_ACTION, scope, since, until):
        found.setdefault(action, {})[level] = Rate(level, advised, bypassed)
    return [
        (action, [rates.get(level, Rate(level, 0, 0)) for level in Level.values])
        for action, rates in list(found.items())[:ACTIONS]
    ]


def by_day(*, scope: OrgScope, since: datetime, until: datetime) -> list[tuple[datetime, list[int]]]:
    """Advice of each level on each day that has some."""
    found: dict[datetime, dict[str, int]] = {}
    for day, level, count in _rows(BY_DAY, scope, since, until):
        found.setdefault(day, {})[level] = count
    return [(day, [counts.get(level, 0) for level in Level.values]) for day, counts in found.items()]


def by_rule(*, scope: OrgScope, since: datetime, until: datetime) -> dict[str, RuleCount]:
    return {
        rule: RuleCount(int(undecided), Rate(rule, int(fired), int(bypassed)))
        for rule, fired, bypassed, undecided in _rows(BY_RULE, scope, since, until)
    }


def _rows(sql: str, scope: OrgScope, since: datetime, until: datetime) -> Sequence[tuple[Any, ...]]:
    values = {
        "organisation": scope.organisation_id,
        "agents": None if scope.agents is None else sorted(scope.agents),
        "since": since,
        "until": until,
    }
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found
