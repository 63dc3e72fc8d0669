"""What changed between two rule sets, in terms of their rules."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from advisory.friction.core.rules import RuleSet


@dataclass(frozen=True, slots=True)
class Change:
    """One member that differs; absent on one side is None there, so that JSON can say it."""

    path: str
    old: Any
    new: Any

    def document(self) -> dict[str, Any]:
        return {"path": self.path, "old": self.old, "new": self.new}


@dataclass(frozen=True, slots=True)
class Difference:
    old_hash: str
    new_hash: str
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: dict[str, tuple[Change, ...]]
    outside: tuple[Change, ...]
    reordered: bool

    def document(self) -> dict[str, Any]:
        return {
            "old_hash": self.old_hash,
            "new_hash": self.new_hash,
            "added": list(self.added),
            "removed": list(self.removed),
            "changed": {
                rule: [change.document() for change in changes] for rule, changes in self.changed.items()
            },
            "outside": [change.document() for change in self.outside],
            "reordered": self.reordered,
        }


def difference(old: RuleSet, new: RuleSet) -> Difference:
    before = {rule["id"]: rule for rule in old.document["rules"]}
    after = {rule["id"]: rule for rule in new.document["rules"]}
    kept = [rule for rule in before if rule in after]
    changed = {rule: _members(before[rule], after[rule]) for rule in kept}
    return Difference(
        old_hash=old.hash,
        new_hash=new.hash,
        added=tuple(rule for rule in after if rule not in before),
        removed=tuple(rule for rule in before if rule not in after),
        changed={rule: changes for rule, changes in changed.items() if changes},
        outside=tuple(_outside(old.document, new.document)),
        reordered=kept != [rule for rule in after if rule in before],
    )


def _members(old: Mapping[str, Any], new: Mapping[str, Any], within: str = "") -> tuple[Change, ...]:
    names = dict.fromkeys([*old, *new])
    return tuple(
        Change(within + name, old.get(name), new.get(name))
        for name in names
        if _form(old.get(name)) != _form(new.get(name)) or (name in old) != (name in new)
    )


def _form(value: Any) -> str:
    return json.dumps(value, sort_keys=True)  # unlike ==, tells 1 from true


def _outside(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """Changes of everything but the rules; fields, scoring and levels by their members."""
    changes: list[Change] = []
    for name in old:
        if name == "rules":
            continue
        if isinstance(old[name], dict):
            changes += _members(old[name], new[name], f"{name}.")
        elif _form(old[name]) != _form(new[name]):
            changes.append(Change(name, old[name], new[name]))
    return changes
