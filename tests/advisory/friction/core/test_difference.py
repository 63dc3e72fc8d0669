"""What changed between two rule sets, rule by rule."""

from __future__ import annotations

import pytest

from advisory.friction.core.difference import difference
from tests.advisory.friction.rulefile import HEAD, SCALE, calculator, rule

pytestmark = pytest.mark.unit


def test_the_same_rules_in_other_words_are_no_change() -> None:
    one = calculator(rule(more="tags: [a]\nowner: x")).ruleset
    other = calculator(rule("{value: 5, op: gte, field: n}", more="owner: x\ntags: [a]")).ruleset
    found = difference(one, other)
    assert found.old_hash == found.new_hash
    assert (found.added, found.removed, found.changed, found.outside, found.reordered) == (
        (),
        (),
        {},
        (),
        False,
    )


def test_rules_added_removed_changed_and_moved() -> None:
    one = calculator(rule(), rule(name="BB-100"), rule(name="CC-100"), rule(name="DD-100")).ruleset
    other = calculator(
        rule(name="CC-100"),
        rule(name="BB-100", points=20, more="floor: high"),
        rule(name="DD-100"),
        rule(name="EE-100"),
    ).ruleset
    assert difference(one, other).document() == {
        "old_hash": one.hash,
        "new_hash": other.hash,
        "added": ["EE-100"],
        "removed": ["AA-100"],
        "changed": {
            "BB-100": [
                {"path": "points", "old": 10, "new": 20},
                {"path": "floor", "old": None, "new": "high"},
            ]
        },
        "outside": [],
        "reordered": True,
    }


def test_changes_outside_the_rules_are_named_by_their_path() -> None:
    one = calculator(rule()).ruleset
    head = HEAD.replace("version: 1", "version: 2")
    other = calculator(
        rule(), head=head, scale=SCALE.replace("medium: 30", "medium: 40").replace("cap: 100", "cap: 90")
    ).ruleset
    assert [(change.path, change.old, change.new) for change in difference(one, other).outside] == [
        ("version", 1, 2),
        ("scoring.cap", 100, 90),
        ("scoring.bands", {"low": 0, "medium": 30, "high": 60}, {"low": 0, "medium": 40, "high": 60}),
    ]


def test_true_and_one_are_told_apart() -> None:
    one = calculator(rule("{field: b, op: eq, value: true}")).ruleset
    other = calculator(rule("{field: m, op: eq, value: 1}")).ruleset
    [change] = difference(one, other).changed["AA-100"]
    assert (change.old["value"], change.new["value"]) == (True, 1)
