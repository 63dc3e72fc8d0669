"""The trend of a schedule: what each of its runs found, side by side. Open runs have nothing to show yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from advisory.polls.models import State
from advisory.polls.panels import words
from advisory.polls.panels.addresses import LIST, POLL, SCHEDULES, id_given, links, scope_of
from advisory.polls.panels.charts import HEIGHT, WIDTH, Bar, bar_of, percent
from advisory.polls.selectors import runs
from ledger.models import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from advisory.polls.models import PollRun
    from ecp_project.kernel.panels import PanelContext

RUNS_SHOWN = 26  # half a year of weeks


@dataclass(frozen=True, slots=True)
class Line:
    """One run; `bars` are in the order of the options of the whole trend, None where it did not offer one."""

    run: PollRun
    url: str
    state: object
    skipped: object
    rate: str
    answered: int | None
    drawn: int | None
    dissent: str
    bars: Sequence[Bar | None]


@dataclass(frozen=True, slots=True)
class Share:
    """One option over the runs that have a result."""

    option: str
    rows: Sequence[tuple[Line, Bar]]


def trend(about: PanelContext) -> dict[str, object]:
    scope, to = scope_of(about), links(about)
    schedule = runs.schedule_seen(scope=scope, schedule_id=id_given(about.given.get("schedule", "")))
    found = runs.runs_seen(scope=scope, schedule=schedule, most=RUNS_SHOWN)
    shown = found[:RUNS_SHOWN]
    told = [(run, _result(run)) for run in shown]
    options = list(dict.fromkeys(one["option"] for _run, result in told for one in result.get("options", ())))
    lines = [_line(to, run, result, options) for run, result in told]
    newest = next((result for _run, result in told if result), None)
    return {
        "schedule": schedule,
        "lines": lines,
        "options": [option.replace("_", " ") for option in options],
        "shares": [
            Share(
                option.replace("_", " "),
                [(line, bar) for line in lines if (bar := line.bars[place]) is not None],
            )
            for place, option in enumerate(options)
        ],
        "newest": newest,
        "is_cut": len(found) > RUNS_SHOWN,
        "most": RUNS_SHOWN,
        "is_mixed": len({run.poll.question_hash for run in shown if run.poll is not None}) > 1,
        "width": WIDTH,
        "height": HEIGHT,
        "list_url": to(LIST),
        "polls_url": to(LIST, schedule=schedule.id),
        "schedules_url": to(SCHEDULES) if about.role == Role.OPERATOR else "",
    }


def _result(run: PollRun) -> Mapping[str, Any]:
    return (run.poll.results if run.poll else None) or {}


def _line(to: Callable[..., str], run: PollRun, result: Mapping[str, Any], options: Sequence[str]) -> Line:
    poll = run.poll
    estimates = {one["option"]: one for one in result.get("options", ())}
    answered, drawn = result.get("answered"), result.get("drawn")
    return Line(
        run,
        to(POLL, poll=poll.id) if poll else "",
        words.STATES[State(poll.state)] if poll else "",
        words.SKIPPED.get(run.skipped, ""),
        percent(answered / drawn) if answered is not None and drawn else "",
        answered,
        drawn,
        percent(result["dissent_index"]) if result else "",
        [bar_of(estimates[option]) if option in estimates else None for option in options],
    )
