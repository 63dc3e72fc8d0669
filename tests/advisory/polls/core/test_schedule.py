"""When scheduled polls run: fields, both changes of the clocks, what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from advisory.polls.core.schedule import (
    is_near_clock_change,
    latest_run,
    next_run,
    next_runs,
    parse_cron,
)
from ecp_project.kernel.errors import BadRequest
from tests.advisory.polls.core.cases import cases

pytestmark = pytest.mark.unit
VIENNA = "Europe/Vienna"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def runs(cron: str, zone: str, after: str, count: int) -> list[str]:
    return [f"{run:%m-%dT%H:%M}" for run in next_runs(parse_cron(cron), zone, at(after), count)]


def test_schedule_vectors() -> None:
    for case in cases("schedule"):
        given_ = case["input"]
        after = datetime.fromisoformat(given_["after"])
        found = next_runs(parse_cron(given_["cron"]), given_["timezone"], after, given_["count"])
        assert [f"{run:%Y-%m-%dT%H:%M:%SZ}" for run in found] == case["expected"], case["id"]


def test_skipped_hour_of_spring_has_no_run() -> None:
    assert runs("30 2 * * *", VIENNA, "2026-03-27T12:00", 3) == ["03-28T01:30", "03-30T00:30", "03-31T00:30"]


def test_doubled_hour_of_autumn_runs_once() -> None:
    assert runs("30 2 * * *", VIENNA, "2026-10-24T12:00", 2) == ["10-25T00:30", "10-26T01:30"]


def test_doubled_hour_is_not_caught_up_after_its_first_half() -> None:
    assert runs("30 2 * * *", VIENNA, "2026-10-25T00:30", 1) == ["10-26T01:30"]


@pytest.mark.parametrize(
    ("cron", "after", "expected"),
    [
        ("0 9 * * 1-5", "2026-01-02T10:00", ["01-05T09:00"]),  # Friday to Monday
        ("0 9 * * 0", "2026-01-02T10:00", ["01-04T09:00"]),
        ("0 9 * * 7", "2026-01-02T10:00", ["01-04T09:00"]),
        ("0 12 13 * 5", "2026-02-10T00:00", ["02-13T12:00", "02-20T12:00"]),  # either day
        ("0 12 */2 * 5", "2026-02-01T13:00", ["02-03T12:00"]),  # a step is a restriction too
        ("10/25 8 * * *", "2026-01-01T00:00", ["01-01T08:10", "01-01T08:35", "01-02T08:10"]),
        ("0,30 0 1 1,7 *", "2026-01-01T00:00", ["01-01T00:30", "07-01T00:00"]),
        ("0 0 29 2 *", "2026-01-01T00:00", ["02-29T00:00"]),
        ("5-55/10 23 31 12 *", "2026-12-31T23:50", ["12-31T23:55", "12-31T23:05"]),
    ],
)
def test_fields(cron: str, after: str, expected: list[str]) -> None:
    assert runs(cron, "UTC", after, len(expected)) == expected


@pytest.mark.parametrize(
    "cron",
    ["", "* * * *", "0 9 * * 1 2026", "@daily", "0 9 * * MON", "0 9 * JAN *", "60 9 * * *", "0 24 * * *",
     "0 9 0 * *", "0 9 32 * *", "0 9 * 13 *", "0 9 * * 8", "0 9-8 * * *", "0/0 9 * * *", "*/0 9 * * *",
     "0  9 * * *", "0 9 * * *\n", "-1 9 * * *", "0 9 ? * *", "0 9 L * *", "0,,30 9 * * *", "0 9 * * 1#2",
     "\u0660 9 * * *"],
)  # fmt: skip
def test_what_is_no_cron_is_refused(cron: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_cron(cron)
    assert caught.value.code == "cron_invalid"


@pytest.mark.parametrize("cron", ["* * * * *", "*/4 * * * *", "0,3 9 * * *", "58 23,0 * * *", "0,58 * * * *"])
def test_runs_closer_than_five_minutes_are_refused(cron: str) -> None:
    if cron == "58 23,0 * * *":
        parse_cron(cron)  # an hour lies between
        return
    with pytest.raises(BadRequest, match="5 minutes"):
        parse_cron(cron)


def test_unknown_zone_is_refused() -> None:
    for name in ("Europe/Atlantis", "../etc/passwd", ""):
        with pytest.raises(BadRequest):
            next_run(parse_cron("0 9 * * *"), name, at("2026-01-01T00:00"))


def test_day_that_never_comes_has_no_run() -> None:
    assert next_run(parse_cron("0 9 31 2 *"), "UTC", at("2026-01-01T00:00")) is None


def test_after_downtime_only_the_latest_missed_run_counts() -> None:
    cron = parse_cron("0 9 * * *")
    found = latest_run(cron, "UTC", due=at("2026-01-02T09:00"), now=at("2026-01-05T08:00"))
    assert found == at("2026-01-04T09:00")
    assert latest_run(cron, "UTC", due=at("2026-01-02T09:00"), now=at("2026-01-02T09:30")) == at(
        "2026-01-02T09:00"
    )


@given(
    st.sampled_from(["*/5 * * * *", "30 2 * * *", "0,30 1-3 * * 0", "15 */6 1 * *"]),
    st.sampled_from([VIENNA, "UTC", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)),  # noqa: DTZ001 - the zone is added below
)
def test_runs_rise_and_keep_their_distance(cron: str, zone: str, after: datetime) -> None:
    start = after.replace(tzinfo=UTC)
    found = next_runs(parse_cron(cron), zone, start, 20)
    assert start < found[0]
    assert all(b - a >= timedelta(minutes=5) for a, b in pairwise(found))
    assert all(run.second == 0 for run in found)


def test_hours_of_the_night_are_warned_about() -> None:
    assert is_near_clock_change(parse_cron("0 2 * * *"))
    assert not is_near_clock_change(parse_cron("0 9 * * *"))
