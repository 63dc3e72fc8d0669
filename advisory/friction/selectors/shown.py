"""One advice as people read it: rules with their values, steps with what became of them, bypasses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db.models import Q
from django.utils.translation import gettext as _

from advisory.friction.core.waiting import PEOPLE_STEPS
from advisory.friction.models import (
    AdviceMode,
    FrictionAdvice,
    FrictionBypass,
    FrictionComment,
    FrictionNotice,
    FrictionStepOutcome,
    FrictionWait,
    Level,
)
from advisory.friction.selectors import veil
from advisory.friction.selectors.advice import steps_bypassed, steps_done
from advisory.friction.selectors.people import office_of
from advisory.friction.selectors.traces import trace_of
from advisory.friction.selectors.words import OPERATORS, step_words, value_words
from ecp_project.kernel.privacy import SEALED
from ledger.models import Entry
from ledger.selectors.staffacts import names_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from uuid import UUID

    from advisory.friction.selectors.people import Office
    from ecp_project.kernel.privacy import Opening
    from ledger.selectors.entries import OrgScope


@dataclass(frozen=True, slots=True)
class LeafShown:
    """One comparison: which field, what the rule asked for, what was found, what came of it."""

    field: str
    asked: str
    found: str
    result: str


@dataclass(frozen=True, slots=True)
class RuleShown:
    rule: str
    title: str
    points: int
    via: str
    reason: str
    leaves: Sequence[LeafShown]


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody did or wrote about a step or a bypass."""

    who: str
    row: FrictionStepOutcome | FrictionComment | FrictionBypass


@dataclass(frozen=True, slots=True)
class StepShown:
    """`objection` is why this reader does not answer it; "" where he may."""

    n: int
    words: str
    because: Sequence[str]
    state: str
    outcomes: Sequence[Said]
    comments: Sequence[Said]
    notices: Sequence[FrictionNotice]
    wait: FrictionWait | None
    is_for_people: bool
    is_open: bool
    objection: str


@dataclass(frozen=True, slots=True)
class FactShown:
    field: str
    source: str
    value: str


@dataclass(frozen=True, slots=True)
class AdviceShown:
    """`is_private`: values are held that not everybody reads; `opening` says whether they are among these."""

    row: FrictionAdvice
    rules: Sequence[RuleShown]
    others: Sequence[RuleShown]
    near_misses: Sequence[str]
    undecided: Sequence[str]
    missing: Sequence[str]
    steps: Sequence[StepShown]
    bypasses: Sequence[Said]
    facts: Sequence[FactShown]
    asked_by: str
    is_observed: bool
    earlier: int
    is_private: bool
    opening: Opening


def advice_seen(*, scope: OrgScope, entry_id: int) -> FrictionAdvice | None:
    """The advice that an entry is about: of a decision, the advice or a bypass itself. One query."""
    uid = Entry.objects.filter(pk=entry_id).values("uid")
    bypass = FrictionBypass.objects.filter(pk__in=uid).values("advice")
    rows = FrictionAdvice.objects.filter(
        Q(decision_id__in=uid) | Q(pk__in=uid) | Q(pk__in=bypass), organisation_id=scope.organisation_id
    )
    if scope.agents is not None:
        rows = rows.filter(agent__in=scope.agents)
    return rows.select_related("ruleset_version__ruleset").first()


def advice_shown(
    *, scope: OrgScope, row: FrictionAdvice, actor: str, opening: Callable[[UUID], Opening]
) -> AdviceShown:
    """Everything about one advice that this reader may see; the caller has found the row in his scope.

    `opening` is asked when there is something to open, as what is open goes on the list of the session.
    """
    office = office_of(scope=scope, actor=actor)
    outcomes, comments = list(row.outcomes.order_by("at", "pk")), list(row.comments.order_by("at", "pk"))
    bypasses = list(row.bypasses.order_by("at", "pk"))
    actors = [said.actor for said in outcomes] + [said.actor for said in comments]
    actors += [said.actor for said in bypasses] + [bypass.reviewed_by for bypass in bypasses] + [row.actor]
    names = names_of(organisation_id=scope.organisation_id, actors=actors)
    opened = opening(row.pk) if veil.is_private(row) else SEALED
    veiled = veil.veiled_fields(row, is_open=opened.is_open)
    rules = veil.rules_of(row)
    titles = {rule: known.title for rule, known in rules.items()}
    traced = {one["rule"]: one for one in trace_of(row)}
    fired = [
        RuleShown(
            one["rule"], titles.get(one["rule"], ""), one["points"], one["via"],
            veil.reason_shown(row, one, rules.get(one["rule"]), is_open=opened.is_open),
            _leaves(traced.get(one["rule"]), veiled, is_open=opened.is_open),
        )
        for one in row.result["fired"]
    ]  # fmt: skip
    applied = {one.rule for one in fired}
    others = [
        RuleShown(
            rule, titles.get(rule, ""), 0, one["result"], "", _leaves(one, veiled, is_open=opened.is_open)
        )
        for rule, one in traced.items()
        if rule not in applied
    ]
    return AdviceShown(
        row=row,
        rules=fired,
        others=others,
        near_misses=[miss["rule"] for miss in row.result["near_misses"]],
        undecided=row.result["undecided_rules"],
        missing=row.result["missing_fields"],
        steps=_steps(row, office, outcomes, comments, names),
        bypasses=[Said(who(bypass.actor, names), bypass) for bypass in bypasses],
        facts=[FactShown(fact["field"], fact["from"], _fact_words(fact, veiled)) for fact in row.facts],
        asked_by=who(row.actor, names),
        is_observed=row.mode != AdviceMode.ACTIVE,
        earlier=_earlier(row),
        is_private=veil.is_private(row),
        opening=opened,
    )


def who(actor: str, names: Mapping[str, str]) -> str:
    """A person by his user name, an agent by its own, and our own work as such."""
    kind, _colon, name = actor.partition(":")
    return names.get(actor, _("ECP itself") if kind == "system" else name or actor)


def _earlier(row: FrictionAdvice) -> int:
    """How often the same was asked before within a day: an agent may be shopping for milder advice."""
    seen, found = row, 0
    while seen.repeat_of_id is not None and found < 20:  # noqa: PLR2004 - more says no more
        seen, found = FrictionAdvice.objects.only("repeat_of").get(pk=seen.repeat_of_id), found + 1
    return found


def _leaves(traced: Mapping[str, Any] | None, veiled: Mapping[str, str], *, is_open: bool) -> list[LeafShown]:
    return [
        LeafShown(
            leaf["field"],
            asked_words(leaf),
            veiled.get(leaf["field"], value_words(leaf["actual"])),
            str(leaf["result"]) if veil.is_result_shown(leaf, veiled, is_open=is_open) else _("sealed"),
        )
        for leaf in (traced["leaves"] if traced else ())
    ]


def asked_words(leaf: Mapping[str, Any]) -> str:
    operator: str = OPERATORS.get(leaf["op"], leaf["op"].replace("_", " "))
    if leaf["op"] in {"exists", "missing"}:
        return operator
    return f"{operator} {value_words(leaf['expected'])}"


def _fact_words(fact: Mapping[str, Any], veiled: Mapping[str, str]) -> str:
    if "value" not in fact:
        return str(fact["state"])
    return veiled.get(fact["field"], value_words(fact["value"]))


def _steps(
    row: FrictionAdvice,
    office: Office | None,
    outcomes: Sequence[FrictionStepOutcome],
    comments: Sequence[FrictionComment],
    names: Mapping[str, str],
) -> list[StepShown]:
    done, bypassed = steps_done(row), steps_bypassed(row)
    waits = {wait.n: wait for wait in row.waits.all()}
    notices: dict[int, list[FrictionNotice]] = {}
    for notice in row.notices.select_related("outcome").order_by("created_at", "target_name"):
        notices.setdefault(notice.n, []).append(notice)
    shown = []
    for step in row.result["steps"]:
        n, wait = step["n"], waits.get(step["n"])
        for_people = step["type"] in PEOPLE_STEPS and row.mode == AdviceMode.ACTIVE
        is_open = for_people and n not in done and n not in bypassed
        objection = _("Only people of the organisation answer it.") if office is None else ""
        if office is not None and is_open:
            objection = office.objection(row, step)
        shown.append(
            StepShown(
                n, step_words(step), [_because(said) for said in step["because"]],
                _state(n, done, bypassed, [one.outcome for one in outcomes if one.n == n]),
                _said((one for one in outcomes if one.n == n), names),
                _said((one for one in comments if one.n == n), names),
                notices.get(n, []), wait, for_people, is_open, objection,
            )
        )  # fmt: skip
    return shown


def _because(said: str) -> str:
    """The rule, or the level that asks for the step whatever the rule."""
    level = said.removeprefix("level:")
    return said if level == said else _("the level: %(level)s") % {"level": Level(level).label}


def _said(rows: Iterable[Any], names: Mapping[str, str]) -> list[Said]:
    return [Said(who(row.actor, names), row) for row in rows]


def _state(n: int, done: set[int], bypassed: set[int], outcomes: Sequence[str]) -> str:
    if n in done:
        return _("done")
    if n in bypassed:
        return _("bypassed")
    if "skipped" in outcomes:
        return _("declined")
    if "expired" in outcomes:
        return _("expired")
    return _("open")
