"""Bars of a result with their intervals: shares in, SVG coordinates and the same numbers as a table out.

Labels and numbers stand beside the drawing as text of the page, so it may be stretched to any width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WIDTH, HEIGHT = 400, 24
TOP, BOTTOM, MIDDLE, WHISKER = 4, 20, 12, 5


@dataclass(frozen=True, slots=True)
class Bar:
    """One option: its share as an area, its interval as a line with ends."""

    option: str
    count: int
    share: str
    low: str
    high: str
    interval: str
    agents: str  # the interval in agents, where it is exact
    area: str
    line: str


@dataclass(frozen=True, slots=True)
class Bars:
    n: int
    frame_size: int
    rows: Sequence[Bar]
    has_agents: bool
    width: int = WIDTH
    height: int = HEIGHT


def bars_of(result: Mapping[str, Any]) -> Bars:
    """Each option but the abstention, in the order in which they were offered."""
    estimates = result["options"]
    rows = [bar_of(one) for one in estimates]
    return Bars(result["n"], result["frame_size"], rows, any(row.agents for row in rows))


def bar_of(estimate: Mapping[str, Any]) -> Bar:
    share = estimate["share"]
    low, high = _x(estimate["low"]), _x(estimate["high"])
    percents = percent(estimate["low"]), percent(estimate["high"])
    area = "" if share is None else f"M0 {TOP}H{_x(share)}V{BOTTOM}H0Z"
    ends = "".join(f"M{x} {MIDDLE - WHISKER}V{MIDDLE + WHISKER}" for x in (low, high))
    return Bar(
        estimate["option"].replace("_", " "),
        estimate["count"],
        percent(share),
        *percents,
        span(*percents),
        span(f"{estimate['from']:,}", f"{estimate['to']:,}") if "from" in estimate else "",
        area,
        f"M{low} {MIDDLE}H{high}{ends}",
    )


def percent(share: float | None) -> str:
    """A share for people; nobody's opinion is no share of nought."""
    return "-" if share is None else f"{100 * share:.1f} %"


def span(low: str, high: str) -> str:
    return _("%(low)s to %(high)s") % {"low": low, "high": high}


def _x(share: float) -> str:
    return f"{WIDTH * share:.1f}".removesuffix(".0")
