"""Wilson's interval and the ratio of two shares, against figures worked out by hand."""

from __future__ import annotations

import pytest

from ecp_project.kernel.stats import EVERYTHING, ratio, wilson

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("share", "n", "interval"),
    [
        (0.5, 2, (0.0945, 0.9055)), (0.1, 100, (0.0552, 0.1744)), (0.0, 10, (0.0, 0.2775)),
        (1.0, 10, (0.7225, 1.0)),
    ],
)  # fmt: skip
def test_wilson(share: float, n: int, interval: tuple[float, float]) -> None:
    assert wilson(share, n) == pytest.approx(interval, abs=5e-5)


def test_of_nobody_nothing_is_known() -> None:
    assert wilson(0.0, 0) == EVERYTHING


def test_a_ratio_has_an_interval_around_it_on_the_scale_of_logarithms() -> None:
    found = ratio(30, 100, 10, 100)
    assert found is not None
    value, (low, high) = found
    assert value == pytest.approx(3.0)
    assert (low, high) == pytest.approx((1.5516, 5.8003), abs=5e-3)
    assert low * high == pytest.approx(value**2)


@pytest.mark.parametrize(("one", "other"), [(0, 5), (5, 0), (0, 0)])
def test_without_cases_on_both_sides_there_is_no_ratio(one: int, other: int) -> None:
    assert ratio(one, 10, other, 10) is None
