"""Shapes of charts: coordinates of known values, round tops, and nothing outside the frame."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecp_project.console.charts import HEIGHT, WIDTH, flow, round_top, spark, steps
from ecp_project.console.templatetags.figures import age

pytestmark = pytest.mark.unit


def test_a_stepped_line_goes_over_and_up() -> None:
    drawn = steps([0, 4, 1], top=4, width=30, height=8)
    assert drawn.line == "M0 8H10V0H20V6H30"
    assert drawn.area == "M0 8H10V0H20V6H30V8H0Z"


@pytest.mark.parametrize(
    ("highest", "top"),
    [(0, 1), (1, 1), (2, 2), (3, 4), (5, 6), (9, 10), (11, 20), (61, 80), (214, 400), (1001, 2000)],
)
def test_tops_are_round(highest: int, top: int) -> None:
    assert round_top(highest) == top


def test_half_of_the_top_is_told_where_it_is_whole() -> None:
    assert (flow([214]).half, flow([1]).half, flow([]).half) == (200, None, None)


def test_nothing_to_draw_is_an_empty_path() -> None:
    assert (flow([]).line, flow([]).area) == ("", "")


@given(st.lists(st.integers(min_value=0, max_value=10**9), min_size=1, max_size=400))
def test_drawings_stay_within_their_frame(values: list[int]) -> None:
    drawn = flow(values)
    across = [float(x) for x in re.findall(r"H([\d.]+)", drawn.line)]
    down = [float(y) for y in re.findall(r"(?:M0 |V)([\d.]+)", drawn.line)]
    assert len(across) == len(down) == len(values)
    assert across == sorted(across)
    assert across[-1] == WIDTH
    assert all(0 <= y <= HEIGHT for y in down)
    assert spark(values, max(1, *values)).line.startswith("M0 ")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-3, "0 s"),
        (0, "0 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7199, "119 min"),
        (7200, "2 h"),
        (172_800, "2 d"),
    ],
)
def test_ages_are_whole_units(seconds: int, words: str) -> None:
    now = datetime(2026, 3, 31, 12, tzinfo=UTC)
    assert age(now - timedelta(seconds=seconds), now) == words
