"""Charts as pages show them: shapes, labels, a sentence that says what is seen, and the table behind."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ecp_project.console import charts
from ecp_project.console.links import decisions_url
from ecp_project.console.ranges import DAY, HOUR, Range

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from ecp_project.console.dashboard import Chart
    from ledger.models import Log

PARTS = (6, 5, 7, 4)  # into how many parts labels cut the range


@dataclass(frozen=True, slots=True)
class Line:
    """A row of the table behind a chart; `url` leads to the decisions that it counts."""

    title: str
    values: Sequence[int]
    url: str


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened to the log itself, at its place across the drawing."""

    x: int
    text: str


@dataclass(frozen=True, slots=True)
class Flow:
    """Decisions over time."""

    sentence: str
    drawing: charts.Steps
    labels: Sequence[str]
    marks: Sequence[Mark]
    lines: Sequence[Line]
    total: int
    size: int


@dataclass(frozen=True, slots=True)
class Activity:
    """An agent's line of the activity table."""

    agent: str
    total: int
    drawing: charts.Steps
    values: Sequence[int]
    url: str


@dataclass(frozen=True, slots=True)
class Agents:
    sentence: str
    rows: Sequence[Activity]
    starts: Sequence[str]
    size: int


def flow_figure(chart: Chart, log: Log, agent: str = "") -> Flow:
    decisions = chart.series[0]
    within = chart.within
    edges = within.edges
    lines = [
        Line(
            bucket_title(start, within.bucket),
            values,
            decisions_url(log, since=start, until=end, agent=agent),
        )
        for start, end, *values in zip(edges, edges[1:], *(row.values for row in chart.series), strict=False)
        if any(values)
    ]
    return Flow(
        sentence=_flow_sentence(decisions.values, decisions.total, within),
        drawing=charts.flow(decisions.values),
        labels=_labels(within),
        marks=list(_marks(chart)),
        lines=lines,
        total=decisions.total,
        size=chart.size,
    )


def agents_figure(chart: Chart, log: Log) -> Agents:
    within = chart.within
    top = max((value for row in chart.series for value in row.values), default=0)
    rows = [
        Activity(
            row.name,
            row.total,
            charts.spark(row.values, top),
            row.values,
            decisions_url(log, since=within.since, until=within.until, agent=row.name),
        )
        for row in chart.series
    ]
    return Agents(
        _agents_sentence(rows, within),
        rows,
        [bucket_title(at, within.bucket) for at in within.starts],
        chart.size,
    )


def range_words(within: Range) -> str:
    since, until = f"{within.since:%Y-%m-%d %H:%M}", f"{within.until:%Y-%m-%d %H:%M}"
    return _("%(since)s to %(until)s UTC") % {"since": since, "until": until}


def bucket_title(start: datetime, bucket: timedelta) -> str:
    return f"{start:%Y-%m-%d}" if bucket % DAY == timedelta() else f"{start:%Y-%m-%d %H:%M}"


def bucket_words(bucket: timedelta) -> str:
    if bucket >= DAY:
        return _("a day")
    if bucket >= HOUR:
        return _("an hour")
    return _("a minute") if bucket == timedelta(minutes=1) else _("15 minutes")


def _flow_sentence(values: Sequence[int], total: int, within: Range) -> str:
    if not total:
        return _("No decision from %(range)s.") % {"range": range_words(within)}
    most = max(values)
    told: Mapping[str, str] = {
        "count": f"{total:,}",
        "range": range_words(within),
        "most": f"{most:,}",
        "at": bucket_title(within.starts[list(values).index(most)], within.bucket),
        "bucket": bucket_words(within.bucket),
    }
    text = ngettext(
        "%(count)s decision from %(range)s; the most in %(bucket)s, %(most)s, from %(at)s.",
        "%(count)s decisions from %(range)s; the most in %(bucket)s, %(most)s, from %(at)s.",
        total,
    )
    return text % told


def _agents_sentence(rows: Sequence[Activity], within: Range) -> str:
    if not rows:
        return _("No agent decided anything from %(range)s.") % {"range": range_words(within)}
    first = {"agent": rows[0].agent, "count": f"{rows[0].total:,}", "range": range_words(within)}
    return _("Most active from %(range)s: %(agent)s with %(count)s decisions.") % first


def _labels(within: Range) -> list[str]:
    """A few instants, evenly spread, at whole hours or days where the range allows."""
    length = within.until - within.since
    is_short = length <= 36 * HOUR
    unit = within.bucket if is_short else DAY
    number = next((parts for parts in PARTS if length % (parts * unit) == timedelta()), PARTS[-1])
    form = "%H:%M" if is_short else "%d %b"
    return [f"{within.since + length * place / number:{form}}" for place in range(number + 1)]


def _marks(chart: Chart) -> Iterator[Mark]:
    words = {"mode": _("mode changed"), "key": _("key changed")}
    number = max(1, len(chart.within.starts))
    for row in chart.series[1:]:
        for place, count in enumerate(row.values):
            if count:
                when = bucket_title(chart.within.starts[place], chart.within.bucket)
                yield Mark(round(charts.WIDTH * (place + 0.5) / number), f"{when}: {words[row.name]}")
