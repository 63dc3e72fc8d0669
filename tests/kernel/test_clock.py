"""Instants have one spelling of 27 characters."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecp_project.kernel.clock import format_time, parse_time, utc_now

pytestmark = pytest.mark.unit


def test_a_time_is_written_in_utc_with_six_digits() -> None:
    instant = datetime(2026, 3, 2, 10, 0, 0, 250_000, tzinfo=timezone(timedelta(hours=1)))
    assert format_time(instant) == "2026-03-02T09:00:00.250000Z"
    assert len(format_time(utc_now())) == 27


@given(st.datetimes(timezones=st.just(UTC)))
def test_reading_undoes_writing(instant: datetime) -> None:
    assert parse_time(format_time(instant)) == instant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-03-02T09:00:00Z",
        "2026-03-02T09:00:00.000000+00:00",
        "2026-03-02 09:00:00.000000Z",
        "2026-03-02T09:00:00.000000Z\n",
        "2026-02-30T09:00:00.000000Z",
        "2026-03-02T24:00:00.000000Z",
        "2026-03-02T23:59:60.000000Z",
        "0000-03-02T09:00:00.000000Z",
        "\u0662026-03-02T09:00:00.000000Z",
    ],
)
def test_another_spelling_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"form|day|year"):
        parse_time(text)


def test_a_naive_instant_is_a_bug() -> None:
    with pytest.raises(AssertionError):
        format_time(datetime(2026, 3, 2))  # noqa: DTZ001 - the point of the test
