"""Figures of the overview, the charts and the dashboard API: always within the caller's scope (CONSOLE 11).

Hours and days come from the rollups. Shorter buckets are counted in the log itself, where times of receipt
never run backwards, so that each bucket is a stretch of positions; above `MAX_FINE` positions the chart shows
hours instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import connection
from django.db.models import Count, Q, Sum

from ecp_project.console.models import Rollup
from ecp_project.console.ranges import HOUR, Range
from ecp_project.console.rollups import counted_size, positions_at
from ecp_project.kernel.clock import format_time
from ecp_project.kernel.errors import NotFound
from ecp_project.kernel.panels import PanelContext, Slot, registry
from ledger.core.columns import DECISION
from ledger.models import Entry
from ledger.selectors import entries

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from django.db.models import QuerySet

    from ledger.models import Log
    from ledger.selectors.entries import OrgScope

VERSION = "ecp.dashboard/1"
MAX_FINE = 100_000
MAX_EVENTS = 100
AGENTS, POINTS = 20, 24
HIGH_RISKS = ("high", "critical")
EVENTS = {"ecp.mode/1": "mode", "ecp.key/1": "key"}
FINE_SQL = f"""
SELECT (SELECT count(*) FROM ledger_entry e
        WHERE e.log_id = %(log)s AND e.kind = '{DECISION}' AND e.seq >= b.low AND e.seq < b.high
          AND (%(agents)s::text[] IS NULL OR e.agent = ANY(%(agents)s)))
FROM unnest(%(low)s::bigint[], %(high)s::bigint[]) WITH ORDINALITY AS b(low, high, place) ORDER BY b.place
"""  # noqa: S608 - a constant of the code
POINTS_SQL = """
SELECT agent, date_bin(%(width)s, hour, %(since)s), sum(count)::bigint FROM console_rollup
WHERE log_id = %(log)s AND hour >= %(since)s AND hour < %(until)s AND agent = ANY(%(agents)s)
GROUP BY 1, 2
"""
HOURS_SQL = """
SELECT date_bin(%(width)s, hour, %(since)s), sum(count)::bigint FROM console_rollup
WHERE log_id = %(log)s AND hour >= %(since)s AND hour < %(until)s
  AND (%(agents)s::text[] IS NULL OR agent = ANY(%(agents)s))
GROUP BY 1
"""


@dataclass(frozen=True, slots=True)
class Series:
    """One value for each bucket."""

    name: str
    values: Sequence[int]

    @property
    def total(self) -> int:
        return sum(self.values)


@dataclass(frozen=True, slots=True)
class Chart:
    """What a chart draws: buckets by their start, series over them, the position below which it counts."""

    log: str
    size: int
    within: Range
    series: Sequence[Series]

    def document(self) -> dict[str, Any]:
        return dashboard_document(
            log=self.log,
            size=self.size,
            buckets=[format_time(start) for start in self.within.starts],
            series=[{"name": row.name, "values": list(row.values)} for row in self.series],
        )


def dashboard_document(*, log: str, size: int, buckets: object, series: object) -> dict[str, Any]:
    return {"v": VERSION, "as_of": {"log": log, "size": size}, "buckets": buckets, "series": series}


def dashboard_log(*, scope: OrgScope, slug: str | None) -> Log:
    """The log that is named, else the organisation's first."""
    if slug:
        return entries.log_of(scope=scope, slug=slug)
    log = entries.logs(scope=scope).first()
    if log is None:
        raise NotFound("not_found", "this organisation has no log")
    return log


def summary(*, scope: OrgScope, log: Log, within: Range) -> Chart:
    """Totals over the range, as one bucket."""
    whole = within.hourly()
    found = _rollups(scope, log, whole).aggregate(
        decisions=Sum("count"),
        high_risk=Sum("count", filter=Q(risk__in=HIGH_RISKS)),
        bypassed=Sum("count", filter=Q(bypassed=True)),
        agents=Count("agent", distinct=True),
    )
    series = [Series(name, [value or 0]) for name, value in found.items()]
    return Chart(
        log.slug, counted_size(log.pk), Range(whole.since, whole.until, whole.until - whole.since), series
    )


def decision_flow(*, scope: OrgScope, log: Log, within: Range) -> Chart:
    """Decisions by bucket, and how often the mode or a key changed in it."""
    size = counted_size(log.pk)
    fine = within.bucket < HOUR
    edges = within.edges if fine else [within.since, within.until]
    at = positions_at(log_id=log.pk, size=size, instants=edges)
    first, end = at[within.since], at[within.until]
    if fine and end - first <= MAX_FINE:
        decisions = _fine(scope, log, [at[edge] for edge in edges])
    else:
        within = within.hourly()
        decisions = _hours(scope, log, within)
    events = _events(log, within, first, end) if scope.agents is None else []
    return Chart(log.slug, size, within, [Series("decisions", decisions), *events])


def agent_activity(*, scope: OrgScope, log: Log, within: Range) -> Chart:
    """The agents that decided most, each with at most 24 points over the range."""
    within = within.in_points(POINTS)
    totals = _rollups(scope, log, within).values("agent").annotate(total=Sum("count"))
    names = [row["agent"] for row in totals.order_by("-total", "agent")[:AGENTS]]
    values: dict[str, dict[datetime, int]] = {name: {} for name in names}
    with connection.cursor() as cursor:
        cursor.execute(POINTS_SQL, _parameters(log, within) | {"agents": names})
        for name, start, count in cursor.fetchall():
            values[name][start] = count
    series = [Series(name, [values[name].get(start, 0) for start in within.starts]) for name in names]
    return Chart(log.slug, counted_size(log.pk), within, series)


def activity_of(*, scope: OrgScope, log: Log, agent: str, within: Range) -> Chart:
    """Decisions of one agent by bucket, from the rollups."""
    only = _only(scope, agent)
    within = within.hourly()
    return Chart(log.slug, counted_size(log.pk), within, [Series("decisions", _hours(only, log, within))])


CHARTS: dict[str, Callable[..., Chart]] = {"decision-flow": decision_flow, "agent-activity": agent_activity}


def chart_document(*, scope: OrgScope, log: Log, name: str, within: Range, now: datetime) -> dict[str, Any]:
    """A chart by its name in the address: one of the console's own, or one that an installed app brings.

    An app's chart is a panel of the overview; its `load` gives `buckets` and `series` beside what its
    template shows. `friction.bypass_rate` is called `bypass-rate` here.
    """
    if name in CHARTS:
        return CHARTS[name](scope=scope, log=log, within=within).document()
    for panel in registry.panels(Slot.OVERVIEW_CHART):
        if chart_name(panel.key) == name:
            about = PanelContext(scope, log.pk, None, within.since, within.until, now)
            found = panel.load(about) or {}
            return dashboard_document(
                log=log.slug,
                size=counted_size(log.pk),
                buckets=found.get("buckets", []),
                series=found.get("series", []),
            )
    raise NotFound("not_found", "no installed app has this chart")


def chart_name(key: str) -> str:
    return key.rpartition(".")[2].replace("_", "-")


def _only(scope: OrgScope, agent: str) -> OrgScope:
    seen = scope.agents is None or agent in scope.agents
    return entries.OrgScope(scope.organisation_id, frozenset({agent} if seen else ()))


def _rollups(scope: OrgScope, log: Log, within: Range) -> QuerySet[Rollup]:
    rows = Rollup.objects.filter(log_id=log.pk, hour__gte=within.since, hour__lt=within.until)
    return rows if scope.agents is None else rows.filter(agent__in=scope.agents)


def _parameters(log: Log, within: Range) -> dict[str, Any]:
    return {"log": log.pk, "since": within.since, "until": within.until, "width": within.bucket}


def _fine(scope: OrgScope, log: Log, positions: Sequence[int]) -> list[int]:
    values = {
        "log": log.pk,
        "agents": _named(scope),
        "low": list(positions[:-1]),
        "high": list(positions[1:]),
    }
    with connection.cursor() as cursor:
        cursor.execute(FINE_SQL, values)
        return [count for (count,) in cursor.fetchall()]


def _hours(scope: OrgScope, log: Log, within: Range) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute(HOURS_SQL, _parameters(log, within) | {"agents": _named(scope)})
        counts = dict(cursor.fetchall())
    return [counts.get(start, 0) for start in within.starts]


def _named(scope: OrgScope) -> list[str] | None:
    return None if scope.agents is None else sorted(scope.agents)


def _events(log: Log, within: Range, first: int, end: int) -> list[Series]:
    rows = Entry.objects.filter(log_id=log.pk, kind__in=EVENTS, seq__gte=first, seq__lt=end).order_by("seq")
    values = {name: [0] * len(within.starts) for name in EVENTS.values()}
    for kind, rcvd in rows.values_list("kind", "rcvd")[:MAX_EVENTS]:
        values[EVENTS[kind]][(rcvd - within.since) // within.bucket] += 1
    return [Series(name, counts) for name, counts in values.items()]
