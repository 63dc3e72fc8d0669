"""Ranges of time: what an address may say, which buckets follow, and where they begin and end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecp_project.console.ranges import DAY, HOUR, MAX_RANGE, MINUTE, range_given, range_of
from ecp_project.kernel.errors import BadRequest, Invalid

pytestmark = pytest.mark.unit
NOW = datetime(2026, 3, 31, 13, 27, 5, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("since", "until", "first", "end", "bucket"),
    [
        ("now-1h", "now", "2026-03-31T12:28", "2026-03-31T13:28", MINUTE),
        ("now-24h", "now", "2026-03-30T14:00", "2026-03-31T14:00", 15 * MINUTE),
        ("", "", "2026-03-30T14:00", "2026-03-31T14:00", 15 * MINUTE),
        ("now-7d", "now", "2026-03-24T14:00", "2026-03-31T14:00", HOUR),
        ("now-30d", "", "2026-03-02T00:00", "2026-04-01T00:00", DAY),
        ("now-2w", "now", "2026-03-18T00:00", "2026-04-01T00:00", DAY),
        ("2026-03-01", "2026-03-03", "2026-03-01T00:00", "2026-03-03T00:00", HOUR),
        ("2026-03-01T10:00Z", "2026-03-01T11:30:30+00:00", "2026-03-01T10:00", "2026-03-01T11:31", MINUTE),
        ("2026-03-01T10:00", "2026-03-01T16:20:00.5Z", "2026-03-01T10:00", "2026-03-01T17:00", 15 * MINUTE),
    ],
)
def test_address_to_buckets(since: str, until: str, first: str, end: str, bucket: timedelta) -> None:
    found = range_given({"since": since, "until": until}, NOW)
    assert (found.since, found.until, found.bucket) == (at(first), at(end), bucket)


@pytest.mark.parametrize(
    ("since", "until", "code"),
    [
        ("yesterday", "now", "bad_value"),
        ("now+1h", "now", "bad_value"),
        ("now-0h", "now", "bad_value"),
        ("now-99999h", "now", "bad_value"),
        ("2026-02-30", "now", "bad_value"),
        ("2026-03-01T25:00Z", "now", "bad_value"),
        ("2026-03-01T10:00+02:00", "now", "bad_value"),
        ("now", "now", "bad_value"),
        ("now", "now-1h", "bad_value"),
        ("9999-12-31T00:00Z", "9999-12-31T23:59:59Z", "bad_value"),
        ("now-401d", "now", "range_too_large"),
        ("now-9999w", "now", "range_too_large"),
    ],
)
def test_what_is_no_range_is_refused_by_its_code(since: str, until: str, code: str) -> None:
    with pytest.raises((BadRequest, Invalid)) as refused:
        range_given({"since": since, "until": until}, NOW)
    assert refused.value.code == code


instants = st.datetimes(min_value=datetime(2001, 1, 1), max_value=datetime(2100, 1, 1)).map(  # noqa: DTZ001 - below
    lambda at: at.replace(tzinfo=UTC)
)
lengths = st.timedeltas(min_value=timedelta(seconds=1), max_value=MAX_RANGE)


@given(until=instants, length=lengths)
def test_ranges_are_whole_buckets_that_end_at_or_after_what_was_asked(
    until: datetime, length: timedelta
) -> None:
    found = range_of(since=until - length, until=until)
    assert (found.until - found.since) % found.bucket == timedelta()
    assert found.edges[-1] == found.until >= until
    assert found.until - found.since >= length
    assert 1 <= len(found.starts) <= 1_000


@given(until=instants, length=lengths)
def test_points_cover_the_range_in_whole_hours(until: datetime, length: timedelta) -> None:
    within = range_of(since=until - length, until=until)
    points = within.in_points(24)
    assert 1 <= len(points.starts) <= 24
    assert points.since <= within.since
    assert points.until >= within.until
    assert points.bucket % HOUR == timedelta()
