"""Ranges of time that charts show, and the buckets they are cut into (CONSOLE section 11). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ecp_project.kernel.errors import BadRequest, Invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
MAX_RANGE = 400 * DAY
# Up to this length: width of a bucket, and the grain onto which both ends of the range are moved.
STEPS = (
    (2 * HOUR, MINUTE, MINUTE),
    (36 * HOUR, 15 * MINUTE, HOUR),
    (10 * DAY, HOUR, HOUR),
    (MAX_RANGE, DAY, DAY),
)
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
DEFAULT_SINCE, DEFAULT_UNTIL = "now-24h", "now"
_RELATIVE = re.compile(r"now(?:-([1-9][0-9]{0,3})([mhdw]))?")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?(?:Z|\+00:00)?"
)
_UNITS = {"m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}


@dataclass(frozen=True, slots=True)
class Range:
    """From `since` on and before `until`, in whole buckets."""

    since: datetime
    until: datetime
    bucket: timedelta

    @property
    def edges(self) -> list[datetime]:
        """Starts of all buckets, and the end of the last one."""
        number = (self.until - self.since) // self.bucket
        return [self.since + place * self.bucket for place in range(number + 1)]

    @property
    def starts(self) -> list[datetime]:
        return self.edges[:-1]

    def hourly(self) -> Range:
        """The same in buckets of at least an hour, as far as the counts are kept; ends go outward."""
        return Range(_floor(self.since, HOUR), _ceil(self.until, HOUR), max(self.bucket, HOUR))

    def in_points(self, number: int) -> Range:
        """At most `number` equal buckets of whole hours; the first one may begin earlier."""
        whole = self.hourly()
        width = max(1, -(-(whole.until - whole.since) // (number * HOUR))) * HOUR
        points = -(-(whole.until - whole.since) // width)
        return Range(whole.until - points * width, whole.until, width)


def range_of(*, since: datetime, until: datetime) -> Range:
    """Cut into buckets that suit its length.

    The end moves up onto a whole minute, hour or day and the start as much, then down: "the last 24 hours"
    are 24 whole hours, of which the last one still runs.
    """
    if since >= until:
        raise BadRequest("bad_value", "since must be earlier than until")
    if until - since > MAX_RANGE:
        raise Invalid("range_too_large", f"A range has at most {MAX_RANGE.days} days.")
    bucket, grain = next((bucket, grain) for longest, bucket, grain in STEPS if until - since <= longest)
    end = _ceil(until, grain)
    return Range(_floor(since + (end - until), grain), end, bucket)


def range_given(parameters: Mapping[str, str], now: datetime) -> Range:
    """The range that `since` and `until` of an address name; without them the last 24 hours."""
    since, until = parameters.get("since") or DEFAULT_SINCE, parameters.get("until") or DEFAULT_UNTIL
    return range_of(since=instant(since, "since", now), until=instant(until, "until", now))


def instant(text: str, name: str, now: datetime) -> datetime:
    """`now`, `now-24h`, a day, or an RFC 3339 time in UTC."""
    relative = _RELATIVE.fullmatch(text)
    try:
        if relative:
            return now - (int(relative[1]) * _UNITS[relative[2]] if relative[1] else timedelta())
        if _DAY.fullmatch(text) or _INSTANT.fullmatch(text):
            return datetime.fromisoformat(text.removesuffix("Z").removesuffix("+00:00")).replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        pass
    raise BadRequest("bad_value", f"{name} is now, now-24h, a day such as 2026-03-31, or 2026-03-31T12:00Z")


def _floor(at: datetime, grain: timedelta) -> datetime:
    return at - (at - EPOCH) % grain


def _ceil(at: datetime, grain: timedelta) -> datetime:
    try:
        return at + -(at - EPOCH) % grain
    except OverflowError:
        raise BadRequest("bad_value", "until is too far in the future") from None
