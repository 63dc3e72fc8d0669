"""Shapes of charts, drawn by the server: plain numbers in, SVG coordinates out (CONSOLE section 11). Pure.

Labels stand outside the drawing as text of the page, so a drawing may be stretched to any width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH, HEIGHT = 960, 160
SPARK_WIDTH, SPARK_HEIGHT = 120, 24


@dataclass(frozen=True, slots=True)
class Steps:
    """Outline and area of a stepped line, with the value at its top and at half its height."""

    line: str
    area: str
    top: int
    width: int
    height: int

    @property
    def half(self) -> int | None:
        """None where half of the top is no whole number."""
        return None if self.top % 2 else self.top // 2


def steps(values: Sequence[int], *, top: int, width: int = WIDTH, height: int = HEIGHT) -> Steps:
    """One step for each value."""
    heights = [_short(height - height * value / max(1, top)) for value in values]
    step = width / max(1, len(values))
    line = "".join(
        f"{'V' if place else 'M0 '}{y}H{_short(place * step + step)}" for place, y in enumerate(heights)
    )
    return Steps(line, f"{line}V{height}H0Z" if line else "", top, width, height)


def flow(values: Sequence[int]) -> Steps:
    return steps(values, top=round_top(max(values, default=0)))


def spark(values: Sequence[int], top: int) -> Steps:
    """A small drawing; all rows of a table share one top, so that they can be compared."""
    return steps(values, top=top, width=SPARK_WIDTH, height=SPARK_HEIGHT)


def round_top(highest: int) -> int:
    """1, 2, 4, 6, 8, 10, 20, 40 … : the least of these that is not below, so that half of it reads well."""
    unit = 1
    while True:
        for factor in (1, 2, 4, 6, 8):
            if factor * unit >= highest:
                return factor * unit
        unit *= 10


def _short(number: float) -> str:
    """At most one digit behind the point: a chart of many buckets stays light."""
    return f"{number:.1f}".removesuffix(".0")
