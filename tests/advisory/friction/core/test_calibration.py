"""Figures and flags of rules, counted by hand."""

from __future__ import annotations

from typing import Any

import pytest

from advisory.friction.core.calibration import Advised, Share, figures

pytestmark = pytest.mark.unit


def advised(**members: Any) -> Advised:
    plain: dict[str, Any] = {
        "in_force": ["AA-100", "BB-100"], "fired": ["AA-100"], "undecided": [], "has_steps": True,
        "codes": frozenset(), "verdicts": [], "completed_s": [], "is_pending": False, "is_adverse": None,
    }  # fmt: skip
    return Advised(**plain | members)


def of(rule: str, *told: Advised) -> Any:
    return next(one for one in figures(told) if one.rule == rule)


def test_each_rule_is_counted_where_it_was_in_force() -> None:
    told = [advised(), advised(fired=[], undecided=["BB-100"]), advised(in_force=["BB-100"], fired=[])]
    first, second = figures(told)
    assert (first.rule, first.evaluated, first.fired, first.undecided) == ("AA-100", 2, 1, 0)
    assert (second.rule, second.evaluated, second.fired, second.undecided) == ("BB-100", 3, 0, 1)


def test_a_bypass_counts_where_there_was_something_to_bypass() -> None:
    bypassed = advised(codes=frozenset({"emergency", "other"}), verdicts=["justified"])
    found = of("AA-100", bypassed, advised(), advised(has_steps=False))
    assert found.bypass_rate == Share(1, 2)
    assert (dict(found.codes), dict(found.verdicts)) == ({"emergency": 1, "other": 1}, {"justified": 1})
    assert found.bypass_rate.document() == {
        "count": 1, "of": 2, "ppm": 500_000, "interval_ppm": [94_531, 905_469],
    }  # fmt: skip


def test_time_to_completion_and_steps_that_were_hardly_read() -> None:
    found = of("AA-100", advised(completed_s=[4.0, 600.0]), advised(completed_s=[9.9, 10.0, 60.0]))
    assert (found.median_s, found.quick_share) == (10, Share(2, 5))
    assert of("AA-100", advised()).median_s is None


def test_outcomes_with_and_without_the_rule() -> None:
    told = [advised(is_adverse=n < 3) for n in range(10)]
    told += [advised(fired=[], is_adverse=n < 2) for n in range(20)]
    found = of("AA-100", *told)
    assert (found.adverse_when_fired, found.adverse_otherwise) == (Share(3, 10), Share(2, 20))
    # by hand: 0.3 / 0.1, and exp(1.96 * sqrt(1/3 - 1/10 + 1/2 - 1/20)) on both sides
    lift = found.document()["lift"]
    assert lift["milli"] == 3_000
    assert lift["interval_milli"] == pytest.approx([593, 15_174], abs=15)
    assert of("AA-100", *told[:10]).lift is None  # nothing to compare with
    assert of("AA-100", advised(is_adverse=None)).document()["adverse_when_fired"]["ppm"] is None


@pytest.mark.parametrize(
    ("told", "flags"),
    [
        ([advised(codes=frozenset({"other"}))] * 20, {"always_bypassed"}),
        ([advised(codes=frozenset({"other"}))] * 19, set()),
        ([advised(codes=frozenset({"other"}))] * 12 + [advised()] * 9, set()),
        ([advised(fired=[])] * 1_000, {"never_fires"}), ([advised(fired=[])] * 999, set()),
        ([advised()] * 81 + [advised(fired=[])] * 19, {"always_fires"}),
        ([advised()] * 80 + [advised(fired=[])] * 20, set()),
        ([advised(is_pending=True)], {"stale_pending"}),
        ([advised(is_adverse=n % 2 == 0) for n in range(20)] + [advised(fired=[], is_adverse=n % 2 == 0) for n in range(20)], {"noisy"}),
        ([advised(is_adverse=n < 19) for n in range(20)] + [advised(fired=[], is_adverse=n < 2) for n in range(20)], set()),
    ],
)  # fmt: skip
def test_flags_stand_on_enough_of_it(told: list[Advised], flags: set[str]) -> None:
    assert set(of("AA-100", *told).flags) == flags
