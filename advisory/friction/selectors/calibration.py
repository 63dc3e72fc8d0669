"""Figures of each rule over a period, for REST and console alike (FRICTION 9)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import connection
from django.db.models import Q

from advisory.friction.core.calibration import Advised, RuleFigures, figures
from advisory.friction.core.rules import in_force
from advisory.friction.models import (
    AdviceMode,
    FrictionAdvice,
    FrictionBypass,
    FrictionRuleSetVersion,
    FrictionStepOutcome,
    Outcome,
    VersionState,
)
from advisory.friction.selectors.rulesets import calculator_of, versions
from ecp_project.kernel.clock import format_time
from ledger.selectors.entries import default_log

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from uuid import UUID

    from advisory.friction.core.rules import RuleSet
    from ledger.models import Log
    from ledger.selectors.entries import OrgScope

PERIOD = timedelta(days=30)
MOST = 20_000  # the newest of a period; older ones change a rate of so many but little
SLICE = 1_000
PEOPLE_STEPS = frozenset({"extra_documentation", "rehearsal", "second_review"})
WAITS_TOO_LONG = timedelta(days=7)
# Decisions of a list that have an outcome which says that they went wrong.
_ADVERSE_SQL = """
SELECT wanted.uid FROM unnest(%s::uuid[]) AS wanted (uid)
WHERE EXISTS (
    SELECT FROM ledger_entrysearch s JOIN ledger_entry e ON e.id = s.entry_id
    WHERE s.body @> jsonb_build_object('target', wanted.uid::text, 'kind', 'outcome', 'status', 'failure')
      AND e.log_id = %s AND e.kind = 'ecp.annotation/1'
)
"""


@dataclass(frozen=True, slots=True)
class CalibrationFigures:
    since: datetime
    until: datetime
    advised: int
    is_limited: bool
    version: FrictionRuleSetVersion | None
    rules: list[RuleFigures]


def calibration(
    *, scope: OrgScope, since: datetime, until: datetime, now: datetime, most: int = MOST
) -> CalibrationFigures:
    """Over advice that was given to agents from `since` on and before `until`, the newest `most` of it."""
    counted = _Counted(_advised(scope, since, until, now, most))
    rules = figures(counted)
    active = versions(scope=scope).filter(state=VersionState.ACTIVE).first()
    return CalibrationFigures(since, until, counted.number, counted.number >= most, active, rules)


class _Counted:
    """Counts what passes through."""

    def __init__(self, advised: Iterator[Advised]) -> None:
        self._advised = advised
        self.number = 0

    def __iter__(self) -> Iterator[Advised]:
        for one in self._advised:
            self.number += 1
            yield one


def calibration_document(found: CalibrationFigures, *, rule: str | None) -> dict[str, Any]:
    version = found.version
    return {
        "from": format_time(found.since),
        "to": format_time(found.until),
        "advised": found.advised,
        "limited": found.is_limited,
        "ruleset": None
        if version is None
        else {
            "id": version.ruleset.slug,
            "version": version.version,
            "hash": version.sha256,
            "changed_at": format_time(version.changed_at),
        },
        "note": "Points are set by people.",
        "rules": [one.document() for one in found.rules if rule in (None, one.rule)],
    }


def _advised(
    scope: OrgScope, since: datetime, until: datetime, now: datetime, most: int
) -> Iterator[Advised]:
    log = default_log(scope=scope)
    rows = (
        FrictionAdvice.objects.filter(
            organisation_id=scope.organisation_id, mode=AdviceMode.ACTIVE, evaluated_at__gte=since,
            evaluated_at__lt=until, ruleset_version__isnull=False,
        )
        .order_by("-evaluated_at", "-pk")
        .values_list(
            "pk", "evaluated_at", "decision_id", "ruleset_version_id", "result__fired",
            "result__undecided_rules", "result__steps",
        )
    )  # fmt: skip
    rulesets: dict[int, RuleSet] = {}
    page, left = rows, most
    while left > 0 and (found := list(page[: min(SLICE, left)])):
        _learn_rules(rulesets, {row[3] for row in found})
        yield from _slice(log, found, rulesets, now)
        pk, evaluated_at = found[-1][:2]
        left -= len(found)
        page = rows.filter(Q(evaluated_at__lte=evaluated_at), Q(evaluated_at__lt=evaluated_at) | Q(pk__lt=pk))


def _learn_rules(known: dict[int, RuleSet], wanted: set[int]) -> None:
    if missing := wanted - known.keys():
        for version in FrictionRuleSetVersion.objects.filter(pk__in=missing):
            known[version.pk] = calculator_of(version).ruleset


def _slice(
    log: Log, found: Sequence[tuple[Any, ...]], rulesets: dict[int, RuleSet], now: datetime
) -> Iterator[Advised]:
    uids = [row[0] for row in found]
    bypasses: defaultdict[UUID, list[tuple[str, str, list[int]]]] = defaultdict(list)
    for uid, code, verdict, steps in FrictionBypass.objects.filter(advice_id__in=uids).values_list(
        "advice_id", "reason_code", "review_verdict", "steps"
    ):
        bypasses[uid].append((code, verdict, steps))
    outcomes: defaultdict[UUID, list[tuple[int, str, datetime]]] = defaultdict(list)
    for uid, n, outcome, at in FrictionStepOutcome.objects.filter(advice_id__in=uids).values_list(
        "advice_id", "n", "outcome", "at"
    ):
        outcomes[uid].append((n, outcome, at))
    adverse = _adverse(log, [row[2] for row in found if row[2] is not None])
    for uid, evaluated_at, decision, version, fired, undecided, steps in found:
        answered = {n for n, _, _ in outcomes[uid]} | {n for _, _, gone in bypasses[uid] for n in gone}
        is_old = decision is None and evaluated_at < now - WAITS_TOO_LONG
        yield Advised(
            in_force=[rule.id for rule in rulesets[version].rules if in_force(rule, evaluated_at)],
            fired=[one["rule"] for one in fired],
            undecided=undecided,
            has_steps=bool(steps),
            codes=frozenset(code for code, _, _ in bypasses[uid]),
            verdicts=[verdict for _, verdict, _ in bypasses[uid] if verdict],
            completed_s=[
                (at - evaluated_at).total_seconds()
                for _, outcome, at in outcomes[uid]
                if outcome == Outcome.COMPLETED
            ],
            is_pending=is_old
            and any(step["type"] in PEOPLE_STEPS and step["n"] not in answered for step in steps),
            is_adverse=None if decision is None else decision in adverse,
        )


def _adverse(log: Log, decisions: Sequence[UUID]) -> set[UUID]:
    if not decisions:
        return set()
    with connection.cursor() as cursor:
        cursor.execute(_ADVERSE_SQL, (list(decisions), log.id))
        return {row[0] for row in cursor.fetchall()}
