"""Intervals of a share by the score method of Wilson: polls, friction and the console draw the same ones.

And of the ratio of two shares, by the logarithm of Katz: Biometrics 34 (1978), 469.
"""

from __future__ import annotations

from math import exp, sqrt
from statistics import NormalDist

Interval = tuple[float, float]
EVERYTHING: Interval = (0.0, 1.0)


def normal_quantile(confidence: float) -> float:
    """Quantile z of a two-sided interval: 1.959964 at 0.95."""
    return NormalDist().inv_cdf(1 - (1 - confidence) / 2)


def wilson(share: float, n: float, *, confidence: float = 0.95) -> Interval:
    """Wilson's interval of a share among n; n may be an effective size, and of nobody nothing is known."""
    if n <= 0:
        return EVERYTHING
    z = normal_quantile(confidence)
    scale = 1 + z * z / n
    centre = (share + z * z / (2 * n)) / scale
    half = z / scale * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # Nobody and everybody end exactly where they are; the subtraction would leave a rest of rounding.
    low = 0.0 if share <= 0 else max(0.0, centre - half)
    high = 1.0 if share >= 1 else min(1.0, centre + half)
    return low, high


def ratio(
    one: int, of_one: int, other: int, of_other: int, *, confidence: float = 0.95
) -> tuple[float, Interval] | None:
    """The first share over the second one, with its interval; None where either counts nobody."""
    if not (one and other):
        return None
    found = (one / of_one) / (other / of_other)
    spread = normal_quantile(confidence) * sqrt(1 / one - 1 / of_one + 1 / other - 1 / of_other)
    return found, (found / exp(spread), found * exp(spread))
