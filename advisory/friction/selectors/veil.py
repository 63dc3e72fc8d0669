"""What of an advice is private, and what stands in its place (FRICTION 3, CONSOLE section 2).

Values of the proposal's context are private: they are shown where the entry of the advice is open to the
reader. Everybody else reads the title of a rule where its reason would quote one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _

from advisory.friction.core.calculator import applied_words
from advisory.friction.core.sources import is_context
from advisory.friction.selectors import rulesets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from advisory.friction.core.rules import Rule
    from advisory.friction.models import FrictionAdvice


def rules_of(row: FrictionAdvice) -> dict[str, Rule]:
    if row.ruleset_version is None:
        return {}
    return {rule.id: rule for rule in rulesets.calculator_of(row.ruleset_version).ruleset.rules}


def is_private(row: FrictionAdvice) -> bool:
    """Whether values are held that a reader may open; what is sensitive is shown to nobody."""
    return any("value" in fact and "sensitive" not in fact and is_context(fact["from"]) for fact in row.facts)


def veiled_fields(row: FrictionAdvice, *, is_open: bool) -> dict[str, str]:
    """What stands in place of a value, by field."""
    return {
        fact["field"]: _("hidden") if "sensitive" in fact else _("sealed")
        for fact in row.facts
        if "sensitive" in fact or (is_context(fact["from"]) and not is_open)
    }


def reason_shown(row: FrictionAdvice, fired: Mapping[str, Any], rule: Rule | None, *, is_open: bool) -> str:
    """The reason of a rule that applied; its title where the reason would quote what is sealed.

    Sensitive values are not in reasons, and a fact that has no value has none to quote.
    """
    reason: str = fired["reason"]
    if is_open:
        return reason
    if rule is None:
        return _("sealed")
    template = rule.missing_reason if fired["via"] == "missing" else rule.reason
    empty = {fact["field"] for fact in row.facts if "value" not in fact}
    quoted = {
        field.name
        for field in (template.placeholders if template else ())
        if is_context(field.source) and not field.sensitive
    }
    return rule.title if quoted - empty else reason


def is_result_shown(leaf: Mapping[str, Any], veiled: Mapping[str, str], *, is_open: bool) -> bool:
    """`is prod: true` tells the value, so the result is sealed with it; that a value is missing is public."""
    return is_open or leaf["field"] not in veiled or leaf["actual"] is None


def sealed_document(row: FrictionAdvice, document: Mapping[str, Any]) -> dict[str, Any]:
    """What the API tells people: no private value, no sentence that quotes one, no hash to guess them by."""
    rules, veiled, told = rules_of(row), veiled_fields(row, is_open=False), dict(document)
    told["input_sha256"] = None
    fired = []
    for one in told.get("fired", ()):
        shown = one | {"reason": reason_shown(row, one, rules.get(one["rule"]), is_open=False)}
        before, after = _words(one), _words(shown)
        told["explanation"] = told["explanation"].replace(before, after)
        fired.append(shown)
    told["fired"] = fired
    if "facts" in told:
        told["facts"] = [
            {name: value for name, value in fact.items() if name != "value"} | {"sealed": True}
            if "value" in fact and fact["field"] in veiled
            else fact
            for fact in told["facts"]
        ]
    if "trace" in told:
        told["trace"] = [
            one | {"leaves": [_sealed_leaf(leaf, veiled) for leaf in one["leaves"]]} for one in told["trace"]
        ]
    return told


def _words(fired: Mapping[str, Any]) -> str:
    return applied_words(fired["rule"], fired["points"], fired["reason"])


def _sealed_leaf(leaf: Mapping[str, Any], veiled: Mapping[str, str]) -> dict[str, Any]:
    if is_result_shown(leaf, veiled, is_open=False):
        return dict(leaf)
    return {name: leaf[name] for name in leaf if name not in {"actual", "result"}} | {"sealed": True}
