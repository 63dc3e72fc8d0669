"""Steps, conditions and facts in words that people without a program can follow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

if TYPE_CHECKING:
    from collections.abc import Mapping

    from advisory.friction.selectors.rates import Rate

OPERATORS = {
    "eq": "=", "ne": "≠", "gt": ">", "gte": "≥", "lt": "<", "lte": "≤",
}  # fmt: skip


def step_words(step: Mapping[str, Any]) -> str:  # noqa: PLR0911 - one sentence for each type
    """What a step asks for, in a sentence."""
    kind = step["type"]
    if kind == "extra_documentation":
        return _("Add documents: %(names)s") % {"names": ", ".join(step["documents"])}
    if kind == "rehearsal":
        return _("Rehearse it in %(place)s") % {"place": step["environment"]}
    if kind == "second_review":
        count = step["count"]
        text = ngettext(
            "Review by %(count)d other person (%(role)s)",
            "Review by %(count)d other persons (%(role)s)",
            count,
        ) % {"count": count, "role": step["role"]}
        return text + (_(", not by the agent's owner") if step.get("not_same_owner") else "")
    if kind == "poll":
        asked = step.get("sample_size") or f"{step.get('sample_pct')} %"
        return _("Ask %(asked)s other agents, answers within %(minutes)d minutes") % {
            "asked": asked, "minutes": step["deadline_minutes"],
        }  # fmt: skip
    if kind == "delay":
        return _("Wait %(minutes)d minutes before acting") % {"minutes": step["minutes"]}
    if kind == "cooling_off":
        return _("Keep it reversible for %(minutes)d minutes") % {"minutes": step["minutes"]}
    if kind == "staged_rollout":
        return _("Begin with at most %(share)d %% of what is affected") % {"share": step["max_share_pct"]}
    return _("Tell %(names)s within %(minutes)d minutes") % {
        "names": ", ".join(step["to"]), "minutes": step["within_minutes"],
    }  # fmt: skip


def value_words(value: Any) -> str:
    """A value of a fact or of a condition; nothing for what is absent."""
    if value is None:
        return _("nothing")
    if value is True:
        return _("yes")
    if value is False:
        return _("no")
    if isinstance(value, list):
        return ", ".join(map(value_words, value)) or _("none")
    return str(value)


def share_words(rate: Rate) -> str:
    """A share with one digit; of no advice there is none."""
    milli = rate.share_milli
    return _("no advice given") if milli is None else f"{milli // 10}.{milli % 10} %"


def interval_words(rate: Rate) -> str:
    found = rate.interval_milli
    if found is None:
        return ""
    low, high = (f"{milli // 10}.{milli % 10} %" for milli in found)
    return _("%(low)s to %(high)s") % {"low": low, "high": high}
