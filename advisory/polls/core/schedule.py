"""When a scheduled poll runs: five cron fields in local wall time (POLLS section 7).

A run falls on the UTC minutes whose local time matches with fold 0. A time that the clocks skip in spring has
no run on that day; a time that comes twice in autumn runs once, the first time. Own code because the state of
a schedule is a row: a library's iterator would have to be asked what it already did.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice, pairwise
from typing import TYPE_CHECKING, NoReturn
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ecp_project.kernel.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day", 1, 31), ("month", 1, 12), ("weekday", 0, 7))
_PART = re.compile(r"(?:(\*)|([0-9]{1,2})(?:-([0-9]{1,2}))?)(?:/([0-9]{1,2}))?", re.ASCII)
MIN_DISTANCE = timedelta(minutes=5)
HORIZON_DAYS = 366 * 8 + 1  # the next 29 February is at most eight years away
LONGEST_CRON = 100
SUNDAY = 7


@dataclass(frozen=True, slots=True)
class Cron:
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool

    def runs_on(self, day: datetime) -> bool:
        if day.month not in self.months:
            return False
        in_month, in_week = day.day in self.days, day.isoweekday() % SUNDAY in self.weekdays
        # Both fields restricted: either is enough, as cron has always read it.
        return in_month or in_week if self.either_day else in_month and in_week


@lru_cache(maxsize=256)
def parse_cron(text: str) -> Cron:
    fields = text.split(" ")
    if len(text) > LONGEST_CRON or len(fields) != len(_FIELDS):
        raise BadRequest(
            "cron_invalid", "five fields are needed: minute hour day month weekday", pointer="/cron"
        )
    minute, hour, day, month, weekday = (
        _values(one, *rule) for one, rule in zip(fields, _FIELDS, strict=True)
    )
    cron = Cron(
        tuple(sorted(minute)),
        tuple(sorted(hour)),
        frozenset(day),
        frozenset(month),
        frozenset(number % SUNDAY for number in weekday),
        either_day=fields[2] != "*" and fields[4] != "*",
    )
    _demand_distance(cron)
    return cron


def zone_of(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadRequest(
            "bad_value", "no such time zone; write one like Europe/Vienna", pointer="/timezone"
        ) from None


def runs_after(cron: Cron, timezone: str, after: datetime) -> Iterator[datetime]:
    """UTC minutes at which the schedule runs, strictly later than `after`."""
    zone = zone_of(timezone)
    local = after.astimezone(zone)
    first = datetime(local.year, local.month, local.day)  # noqa: DTZ001 - wall time; the zone comes with each minute
    for offset in range(HORIZON_DAYS):
        day = first + timedelta(days=offset)
        if not cron.runs_on(day):
            continue
        found = []
        for hour in cron.hours:
            for minute in cron.minutes:
                wall = day.replace(hour=hour, minute=minute, tzinfo=zone, fold=0)
                instant = wall.astimezone(UTC)
                # A skipped wall time comes back as another one.
                if instant > after and instant.astimezone(zone).replace(tzinfo=None) == wall.replace(
                    tzinfo=None
                ):
                    found.append(instant)
        yield from sorted(found)


def next_run(cron: Cron, timezone: str, after: datetime) -> datetime | None:
    return next(runs_after(cron, timezone, after), None)


def next_runs(cron: Cron, timezone: str, after: datetime, count: int) -> list[datetime]:
    return list(islice(runs_after(cron, timezone, after), count))


def latest_run(cron: Cron, timezone: str, *, due: datetime, now: datetime) -> datetime:
    """Of `due`, which was a run, and those after it up to `now`, the last: what `catch_up: one` makes up."""
    latest = due
    for run in runs_after(cron, timezone, due):
        if run > now:
            break
        latest = run
    return latest


def is_near_clock_change(cron: Cron) -> bool:
    """Whether it runs from 01:00 to 03:59 local time, where most zones skip or repeat an hour."""
    return any(1 <= hour <= 3 for hour in cron.hours)  # noqa: PLR2004 - hours of the night


def _values(text: str, name: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            _refuse(name, "write *, numbers, ranges, lists and steps only")
        star, first, last, step = match.groups()
        start = low if star else int(first)
        # `a/step` goes on from a, `a` alone is a.
        end = high if star or (step and not last) else int(last or first)
        if not low <= start <= end <= high or step == "0" or (step and int(step) == 0):
            _refuse(name, f"must lie within {low} to {high}, ranges rise, a step is at least 1")
        found.update(range(start, end + 1, int(step or 1)))
    return found


def _refuse(name: str, detail: str) -> NoReturn:
    raise BadRequest("cron_invalid", f"{name}: {detail}", pointer="/cron", field=name)


def _demand_distance(cron: Cron) -> None:
    """At least five minutes between two runs of a day, and from the last of one to the first of the next."""
    times = [hour * 60 + minute for hour in cron.hours for minute in cron.minutes]
    distances = [after - before for before, after in pairwise(times)]
    distances.append(times[0] + 24 * 60 - times[-1])
    if min(distances) * 60 < MIN_DISTANCE.total_seconds():
        raise BadRequest("cron_invalid", "at least 5 minutes must lie between two runs", pointer="/cron")
