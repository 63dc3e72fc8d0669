"""The list of polls, the page of one and its print sheet. While a poll is open no choice is known here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.urls import reverse
from django.utils.translation import gettext as _

from advisory.polls import selectors
from advisory.polls.core.results import disclaimer
from advisory.polls.models import Poll, PollMinorityAct, State
from advisory.polls.panels import words
from advisory.polls.panels.addresses import (
    BY_HAND,
    LIST,
    NEW,
    POLL,
    SCHEDULES,
    SHEET,
    STEP,
    TREND,
    id_given,
    is_taking,
    links,
    poll_named,
    record_url,
    scope_of,
)
from advisory.polls.panels.charts import bars_of, percent, span
from advisory.polls.panels.narrowing import facets, list_url, narrowed
from advisory.polls.panels.privacy import step_after, told
from advisory.polls.selectors import console, privacy
from ledger.models import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ecp_project.kernel.panels import PanelContext

MAKERS = frozenset({Role.OPERATOR, Role.ADMIN})
ENDED_SHOWN = 25
AT_WORK_SHOWN = 200


# --- the list


def listed(about: PanelContext) -> Mapping[str, object]:
    scope = scope_of(about)
    before = id_given(about.given["before"]) if "before" in about.given else None
    narrowing, counts = narrowed(about)
    ended = console.poll_rows(
        scope=scope, states=selectors.FINAL, size=ENDED_SHOWN, before=before, narrowing=narrowing
    )
    at_work = (
        []
        if before
        else console.poll_rows(scope=scope, states=console.AT_WORK, size=AT_WORK_SHOWN, narrowing=narrowing)
    )
    page, to = ended[:ENDED_SHOWN], links(about)
    return {
        "facets": facets(to, narrowing, counts),
        "is_narrowed": bool(narrowing),
        "all_url": to(LIST),
        "at_work": [_line(to, row) for row in at_work[:AT_WORK_SHOWN]],
        "ended": [_line(to, row) for row in page],
        "older_url": list_url(to, narrowing, before=page[-1].poll.id) if len(ended) > ENDED_SHOWN else "",
        "newest_url": list_url(to, narrowing) if before else "",
        "new_url": to(NEW) if about.role in MAKERS else "",
        "schedules_url": to(SCHEDULES) if about.role == Role.OPERATOR else "",
        "now": about.now,
    }


def _line(to: Callable[..., str], row: console.Row) -> dict[str, Any]:
    poll = row.poll
    result = poll.results or {}
    return {
        "poll": poll,
        "row": row,
        "url": to(POLL, poll=poll.id),
        "trend_url": to(TREND, schedule=poll.schedule_id) if poll.schedule_id else "",
        "state": words.STATES[poll.state],
        "headline": result.get("headline", {}).get("text", ""),
        "n": result.get("n"),
        "of": result.get("frame_size"),
    }


# --- one poll


@dataclass(frozen=True, slots=True)
class Class:
    """A class of drawn agents in the delivery table."""

    name: object
    means: object
    agents: int


def poll_page(about: PanelContext) -> dict[str, object]:
    poll, to = poll_named(about), links(about)
    acts = privacy.acts_of(poll)
    found = shown(to, about, poll, acts)
    minority_step = step_after(poll, acts) if about.role in MAKERS else ""
    done = about.given.get("done", "")
    offered = words.OFFERED.get(poll.state, ()) if about.role in MAKERS else ()
    by_hand = (
        console.waiting_by_hand(poll) if about.role == Role.OPERATOR and poll.state == State.OPEN else []
    )
    return found | {
        "done": words.STEPS[done].done if done in words.STEPS else "",
        "steps": [{"words": words.STEPS[step], "url": to(STEP, poll=poll.id, step=step)} for step in offered],
        "minority_step": words.STEPS.get(minority_step),
        "minority_url": to(STEP, poll=poll.id, step=minority_step),
        "is_taking": is_taking(about),
        "by_hand": len(by_hand),
        "by_hand_url": to(BY_HAND, poll=poll.id),
        "list_url": to(LIST),
        "trend_url": to(TREND, schedule=poll.schedule_id) if poll.schedule_id else "",
        "sheet_url": to(SHEET, poll=poll.id),
        "proof_url": reverse("poll-proof", args=[poll.id]),
        "results_url": reverse("poll-results", args=[poll.id]),
        "responses_url": reverse("poll-responses", args=[poll.id]),
    }


def sheet(about: PanelContext) -> dict[str, object]:
    """The poll on paper: the same figures, nothing to press."""
    poll, to = poll_named(about), links(about)
    return shown(to, about, poll, privacy.acts_of(poll)) | {"poll_url": to(POLL, poll=poll.id)}


def shown(
    to: Callable[..., str], about: PanelContext, poll: Poll, acts: Sequence[PollMinorityAct]
) -> dict[str, object]:
    """Everything that reading a poll shows, on screen and on paper."""
    result = privacy.shown(poll, acts)
    drawn = sum(one["n"] for one in poll.strata)
    progress = selectors.progress_of(poll) if poll.drawn_id else None
    return {
        "poll": poll,
        "now": about.now,
        "state": words.STATES[poll.state],
        "drawn": drawn,
        "is_capped": poll.frame_size is not None and poll.n > poll.frame_size,
        "progress": progress if poll.state == State.OPEN else None,
        "classes": _classes(poll),
        "attempts": [
            row | {"words": words.TRANSPORTS[row["transport"]]} for row in console.attempts_of(poll)
        ] if poll.drawn_id else [],
        "rules": _rules(poll),
        "steps_taken": [
            {"name": words.TAKEN[step.name], "entry": step.entry, "url": record_url(step.entry.uid)}
            for _poll, step in console.steps_of([poll])
        ],
        "input_url": _input_url(poll),
        "secret": bytes(poll.secret).hex() if poll.secret else "",
        "seed": bytes(poll.seed).hex() if poll.seed else "",
        "weakness": selectors.WEAKNESS,
        "earlier": [
            row | {"url": to(POLL, poll=row["poll_id"]), "words": words.STATES[row["outcome"]]}
            for row in selectors.earlier_polls(poll)
        ],
        "decision_url": record_url(poll.decision_id),
        "result": result,
        "bars": bars_of(result) if result else None,
        **(_figures(result) if result else {}),
        "minority_acts": told(acts),
        "is_minority_hidden": privacy.is_hidden(acts),
        "method": words.METHODS.get(result.get("headline", {}).get("method", ""), ""),
        "disclaimer": result.get("disclaimer")
        or disclaimer(
            answered=progress["answered"] if progress else 0,
            drawn=drawn if poll.drawn_id else 0,
            frame_size=poll.frame_size or 0,
        ),
    }  # fmt: skip


def _figures(result: Mapping[str, Any]) -> dict[str, object]:
    """Figures beside the headline, in the form in which people read them."""
    option = result["headline"]["option"] or result["options"][0]["option"]
    worst = next(one["worst_case"] for one in result["options"] if one["option"] == option)
    models, minority = result["models"], result["minority_report"]
    low, high = models["interval"] or (None, None)
    return {
        "dissent": percent(result["dissent_index"]),
        "models": models
        | {
            "low": percent(low),
            "high": percent(high),
            "n_eff": _short(models["n_eff"]),
            "words": words.MODELS.get(models["note"], ""),
        },
        "worst": {
            "option": option.replace("_", " "),
            "interval": span(percent(worst[0]), percent(worst[1])),
        },
        "minority": minority["option"].replace("_", " ") if minority else "",
    }


def _short(number: float | None) -> str:
    return "" if number is None else f"{number:.1f}".removesuffix(".0")


def _classes(poll: Poll) -> list[Class]:
    """The delivery table: as it stands while the poll is open, as it ended once it is closed."""
    if poll.state == State.OPEN:
        numbers = console.deliveries_of(poll)
    elif poll.results:
        answered, abstained = poll.results["answered"], poll.results["abstained"]
        numbers = {"opinion": answered - abstained, "abstained": abstained} | poll.results["silence"]
    else:
        return []
    return [
        Class(name, means, numbers[code]) for code, (name, means) in words.CLASSES.items() if code in numbers
    ]


def _rules(poll: Poll) -> list[tuple[str, object]]:
    quorum = poll.quorum
    rules: list[tuple[str, object]] = [
        (_("Options"), ", ".join(poll.options)),
        (_("Agents to ask"), f"{poll.n:,}"),
        (
            _("Quorum"),
            _("%(number)s answers, and %(rate)s %% of those asked")
            % {"number": quorum["min_responses"], "rate": quorum["min_response_rate_pct"]},
        ),
        (_("Confidence"), f"{poll.confidence_pct} %"),
        (_("How answers are weighed"), words.ESTIMATORS[poll.estimator]),
        (_("If an agent answers twice"), words.REVISIONS[poll.revisions]),
        (_("Time to answer"), _("%(number)s minutes") % {"number": f"{poll.deadline_minutes:,}"}),
    ]
    if poll.strata_by:
        rules.append((_("Strata by label"), ", ".join(poll.strata_by)))
    if poll.filter:
        rules.append((_("Only agents with"), ", ".join(f"{k} = {v}" for k, v in sorted(poll.filter.items()))))
    return rules


def _input_url(poll: Poll) -> str:
    entry = console.input_entry_of(poll)
    return reverse("admin:ledger_entry_change", args=[entry.pk]) if entry else ""
