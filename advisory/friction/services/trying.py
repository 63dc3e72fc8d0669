"""A dry run for people: any version over a pasted proposal, with every value compared; nothing is stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from advisory.friction.selectors import rulesets
from advisory.friction.selectors.inforce import named
from advisory.friction.selectors.shown import LeafShown, RuleShown, asked_words
from advisory.friction.selectors.words import step_words, value_words
from advisory.friction.services.evaluating import evaluate
from ecp_project.kernel.canonical import parse_document
from ledger.core.decision import PRIVATE_MEMBERS, DecisionRecord

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from advisory.friction.core.calculator import Advice
    from advisory.friction.models import FrictionRuleSetVersion
    from ledger.models import Log


@dataclass(frozen=True, slots=True)
class Tried:
    advice: Advice
    rules: Sequence[RuleShown]
    steps: Sequence[str]
    near_misses: Sequence[str]


def proposal_try(*, log: Log, version: FrictionRuleSetVersion, source: bytes, now: datetime) -> Tried:
    """Judge a proposal as JSON; what `decisions/` refuses is refused here with the same code."""
    document = parse_document(source, private=PRIVATE_MEMBERS)
    record = DecisionRecord.from_document(document)
    evaluated = evaluate(
        version=named(version), log=log, agent=record.agent, action=record.action, proposal=document, now=now
    )
    advice = evaluated.advice
    assert advice is not None, version.pk
    titles = {rule.id: rule.title for rule in rulesets.calculator_of(version).ruleset.rules}
    points = {fired.rule: fired for fired in advice.fired}
    rules = []
    for traced in advice.trace:
        fired = points.get(traced.rule)
        leaves = [
            LeafShown(leaf["field"], asked_words(leaf), value_words(leaf["actual"]), str(leaf["result"]))
            for leaf in traced.leaves
        ]
        rules.append(
            RuleShown(
                traced.rule, titles[traced.rule], fired.points if fired else 0, fired.via if fired else "",
                fired.reason if fired else "", leaves,
            )
        )  # fmt: skip
    near = [f"{rule} ({field})" for rule, field in advice.near_misses]
    return Tried(advice, rules, [step_words(step) for step in advice.steps], near)
