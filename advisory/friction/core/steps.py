"""Procedural steps: their members, and how equal ones are merged (FRICTION 2.5)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ecp_project.kernel.canonical import text_fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MOST = 10_080  # a week in minutes
MOST_NAMES = 20
_MAX_NAME = 64

Step = dict[str, Any]


@dataclass(frozen=True, slots=True)
class StepMember:
    """One member of a step: what it may be, and which of two values a merged step keeps."""

    fits: Callable[[Any], bool]
    rule: str
    merge: Callable[[Any, Any], Any] | None = None
    required: bool = True


@dataclass(frozen=True, slots=True)
class StepType:
    """One type of step. Steps of one type and the same `key` member become one step."""

    name: str
    members: dict[str, StepMember]
    key: str | None = None


def _integer(least: int, most: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and least <= value <= most


def _name(value: Any) -> bool:
    return (
        type(value) is str
        and 0 < len(value) <= _MAX_NAME
        and not re.search(r"[\t\n]", value)
        and text_fault(value) is None
    )


def _names(value: Any) -> bool:
    return type(value) is list and 0 < len(value) <= MOST_NAMES and all(map(_name, value))


def _union(one: list[str], other: list[str]) -> list[str]:
    return sorted({*one, *other})


def _either(one: Any, other: Any) -> Any:
    return one or other


_NAME_RULE = f"a name of 1 to {_MAX_NAME} characters"
_NAMES_RULE = f"a list of 1 to {MOST_NAMES} names"
_MINUTES = f"a whole number from 1 to {MOST}"

# In output order.
STEP_TYPES: dict[str, StepType] = {
    kind.name: kind
    for kind in (
        StepType("extra_documentation", {"documents": StepMember(_names, _NAMES_RULE, _union)}),
        StepType("rehearsal", {"environment": StepMember(_name, _NAME_RULE)}, key="environment"),
        StepType(
            "second_review",
            {
                "count": StepMember(_integer(1, 9), "a whole number from 1 to 9", max),
                "role": StepMember(_name, _NAME_RULE),
                "not_same_owner": StepMember(
                    lambda value: type(value) is bool, "true or false", _either, required=False
                ),
            },
            key="role",
        ),
        StepType(
            "poll",
            {
                "sample_size": StepMember(_integer(1, MOST), _MINUTES, max, required=False),
                "sample_pct": StepMember(
                    _integer(1, 100), "a whole number from 1 to 100", max, required=False
                ),
                "deadline_minutes": StepMember(_integer(1, MOST), _MINUTES, min),
                "frame": StepMember(_name, _NAME_RULE, required=False),
            },
            key="frame",
        ),
        StepType("delay", {"minutes": StepMember(_integer(1, MOST), _MINUTES, max)}),
        StepType("cooling_off", {"minutes": StepMember(_integer(1, MOST), _MINUTES, max)}),
        StepType(
            "staged_rollout",
            {"max_share_pct": StepMember(_integer(1, 100), "a whole number from 1 to 100", min)},
        ),
        StepType(
            "notify",
            {
                "to": StepMember(_names, _NAMES_RULE, _union),
                "within_minutes": StepMember(_integer(1, MOST), _MINUTES, min),
            },
        ),
    )
}
_ORDER = {name: place for place, name in enumerate(STEP_TYPES)}

PRE_ACTION = frozenset({"extra_documentation", "rehearsal", "second_review", "poll", "delay"})


def step_fault(step: Step) -> str | None:
    """What is wrong with a step of a known type, in words, or None."""
    kind = STEP_TYPES[step["type"]]
    for name in step:
        if name != "type" and name not in kind.members:
            return f"{kind.name} has no member {name}"
    for name, member in kind.members.items():
        if name not in step:
            if member.required:
                return f"{kind.name} needs {name}: {member.rule}"
        elif not member.fits(step[name]):
            return f"{name} of {kind.name} must be {member.rule}"
    if kind.name == "poll" and ("sample_size" in step) == ("sample_pct" in step):
        return "poll needs either sample_size or sample_pct"
    return None


def merged(suggested: Iterable[tuple[str, Step]]) -> list[Step]:
    """Steps with their causes, in the order of their causes, as the list that an agent sees."""
    found: dict[tuple[str, str], Step] = {}
    for cause, step in suggested:
        kind = STEP_TYPES[step["type"]]
        at = (kind.name, step.get(kind.key, "") if kind.key else "")
        found[at] = _joined(kind, found[at], step, cause) if at in found else _fresh(step, cause)
    return [found[at] for at in sorted(found, key=lambda at: (_ORDER[at[0]], at[1]))]


def _fresh(step: Step, cause: str) -> Step:
    members = {
        name: sorted(set(value)) if type(value) is list else value
        for name, value in step.items()
        if name != "type" and value is not False
    }
    return {"type": step["type"], "because": [cause], **members}


def _joined(kind: StepType, one: Step, other: Step, cause: str) -> Step:
    together = dict(one)
    for name, value in other.items():
        merge = kind.members[name].merge if name in kind.members else None
        if merge is not None and value is not False:
            together[name] = merge(one[name], value) if name in one else _fresh(other, cause)[name]
    if cause not in one["because"]:
        together["because"] = [*one["because"], cause]
    return together
