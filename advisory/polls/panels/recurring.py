"""Recurring polls: what is planned, what became of the last runs, and a form for a new schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext_lazy as _

from advisory.polls import selectors
from advisory.polls.core.schedule import is_near_clock_change, parse_cron
from advisory.polls.panels.addresses import LIST, POLL, SCHEDULES, TREND, id_given, links, scope_of, url
from advisory.polls.panels.fields import POLL_FIELDS, SCHEDULE_FIELDS, filled, is_placed, poll_body_of
from advisory.polls.services import schedules
from ecp_project.kernel.errors import BadRequest, EcpError
from ledger.models import Organisation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from advisory.polls.models import PollSchedule
    from ecp_project.kernel.panels import PanelContext

RUNS_SHOWN = 10
DONE = {
    "create": _("The schedule is set up."),
    "pause": _("The schedule is paused."),
    "resume": _("The schedule runs again."),
    "run": _("A poll was started now, beside the planned runs."),
}
FIELDS = (*SCHEDULE_FIELDS, *(field for field in POLL_FIELDS if field.name != "decision_id"))


def listed(about: PanelContext) -> dict[str, object]:
    return _shown(about, None)


def _shown(
    about: PanelContext, given: Mapping[str, str] | None, problem: EcpError | None = None
) -> dict[str, object]:
    rows = selectors.schedules(scope=scope_of(about))[: selectors.SCHEDULE_LIMIT]
    to = links(about)
    return {
        "schedules": [_row(to, about, schedule) for schedule in rows],
        "fields": filled(FIELDS, given, problem),
        "problem": problem,
        "general_problem": problem if problem and not is_placed(FIELDS, problem) else None,
        "done": DONE.get(about.given.get("done", ""), ""),
        "url": to(SCHEDULES),
        "list_url": to(LIST),
        "now": about.now,
    }


def _row(to: Callable[..., str], about: PanelContext, schedule: PollSchedule) -> dict[str, Any]:
    runs = schedule.history.select_related("poll").order_by("-due_at")[:RUNS_SHOWN]
    return {
        "schedule": schedule,
        "trend_url": to(TREND, schedule=schedule.id),
        "next_runs": schedules.upcoming(schedule, about.now),
        "warns": is_near_clock_change(parse_cron(schedule.cron)),
        "runs": [
            {"run": run, "url": to(POLL, poll=run.poll_id) if run.poll_id else "", "result": _result(run)}
            for run in runs
        ],
    }


def _result(run: Any) -> Mapping[str, Any]:
    """A line of the trend: share with interval, response rate and dissent of one run."""
    result: Mapping[str, Any] = (run.poll.results if run.poll else None) or {}
    return result


def act(about: PanelContext, form: Mapping[str, str]) -> str | Mapping[str, object]:
    what = form.get("do", "create")
    try:
        if what == "create":
            _create(about, form)
        elif what in DONE:
            _change(about, what, form.get("schedule", ""))
        else:
            raise BadRequest("value_invalid", "do is create, pause, resume or run", pointer="/do")
    except EcpError as problem:
        return _shown(about, form if what == "create" else None, problem)
    return url(SCHEDULES, about, done=what)


def _create(about: PanelContext, form: Mapping[str, str]) -> None:
    names = {field.name for field in SCHEDULE_FIELDS}
    document: dict[str, Any] = {
        name: value.strip() for name, value in form.items() if name in names and value.strip()
    }
    template = poll_body_of(form)
    template.pop("decision_id", None)
    schedules.schedule_create(
        organisation=Organisation(id=about.scope.organisation_id),
        document=document | {"template": template},
        created_by=about.actor,
        now=about.now,
    )


def _change(about: PanelContext, what: str, schedule: str) -> None:
    found = selectors.schedule_of(scope=scope_of(about), schedule_id=id_given(schedule))
    if what == "run":
        schedules.schedule_run(schedule_id=found.id, actor=about.actor, now=about.now)
    else:
        change = {"enabled": what == "resume"}
        schedules.schedule_update(schedule_id=found.id, document=change, actor=about.actor, now=about.now)
