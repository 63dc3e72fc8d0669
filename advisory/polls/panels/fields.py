"""Fields of the forms of polls, and how what was typed becomes the body that the API takes.

What cannot be read stays as it is: the rules of the body then name the field at fault.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext_lazy as _

from advisory.polls.core.bodies import DEFAULT_QUORUM
from advisory.polls.panels import words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django_stubs_ext import StrOrPromise

    from ecp_project.kernel.errors import EcpError

LONGEST_NUMBER = 9


@dataclass(frozen=True, slots=True)
class Field:
    """One question of a form. `kind` is line, number, text, choice or tick."""

    name: str
    label: StrOrPromise
    help: StrOrPromise = ""
    kind: str = "line"
    start: str = ""
    choices: Sequence[tuple[str, StrOrPromise]] = ()
    is_required: bool = False


@dataclass(frozen=True, slots=True)
class Filled:
    """A field with what stands in it, and what is wrong with that."""

    field: Field
    value: str
    problem: EcpError | None


POLL_FIELDS = (
    Field("question", _("Question, 10 to 2,000 characters"), kind="text", is_required=True),
    Field(
        "options",
        _("Options, one a line"),
        _("Lower-case words such as support or oppose. abstain is always offered too."),
        "text",
        "support\noppose",
        is_required=True,
    ),
    Field(
        "n",
        _("How many agents to ask"),
        _("More than there are is capped, and said."),
        "number",
        "8",
        is_required=True,
    ),
    Field(
        "deadline_minutes", _("Minutes to answer, up to 43,200"), kind="number", start="60", is_required=True
    ),
    Field("confidence_pct", _("Confidence of the interval in percent, 50 to 99"), kind="number", start="95"),
    Field("min_responses", _("Quorum: answers at least"), kind="number", start="5"),
    Field(
        "min_response_rate_pct",
        _("Quorum: percent of those asked at least"),
        _("Below the quorum a result is marked inconclusive; its figures are shown all the same."),
        "number",
        "30",
    ),
    Field(
        "strata_by",
        _("Strata: labels of agents, joined by commas"),
        _("Each stratum gets its share of the sample. Leave it empty to draw from all agents alike."),
    ),
    Field(
        "estimator",
        _("How answers are weighed"),
        kind="choice",
        start="srs",
        choices=tuple(words.ESTIMATORS.items()),
    ),
    Field(
        "revisions",
        _("If an agent answers twice"),
        kind="choice",
        start="none",
        choices=tuple(words.REVISIONS.items()),
    ),
    Field(
        "filter",
        _("Only agents with these labels, one a line"),
        _("Such as team = claims. Leave it empty to let every agent that accepts polls be drawn."),
        "text",
    ),
    Field(
        "decision_id",
        _("Id of the decision that it is about"),
        _("The agent that decided is then not asked."),
    ),
    Field("exclude_same_owner", _("Leave out the deciding agent's owner's other agents too"), kind="tick"),
)
SCHEDULE_FIELDS = (
    Field("title", _("Name of the schedule"), is_required=True),
    Field(
        "cron",
        _("When: minute, hour, day of month, month, weekday"),
        _("Five fields with numbers, such as 0 9 * * 1 for Mondays at 9. At least 5 minutes between runs."),
        start="0 9 * * 1",
        is_required=True,
    ),
    Field("timezone", _("Time zone, such as Europe/Vienna"), start="UTC"),
    Field(
        "if_open",
        _("If the poll before is still running"),
        kind="choice",
        start="skip",
        choices=(("skip", _("leave this run out")), ("run", _("run all the same"))),
    ),
    Field(
        "catch_up",
        _("After downtime"),
        kind="choice",
        start="none",
        choices=(("none", _("leave missed runs out")), ("one", _("run the latest missed one"))),
    ),
)
NUMBERS = frozenset({"n", "deadline_minutes", "confidence_pct", "min_responses", "min_response_rate_pct"})
QUORUM = ("min_responses", "min_response_rate_pct")


def filled(
    fields: Sequence[Field], given: Mapping[str, str] | None, problem: EcpError | None = None
) -> list[Filled]:
    """Fields with what was typed, or with their starting values on a form that nobody has sent yet."""
    faulty = fields_at(problem)
    return [
        Filled(
            field,
            field.start if given is None else given.get(field.name, ""),
            problem if field.name in faulty else None,
        )
        for field in fields
    ]


def fields_at(problem: EcpError | None) -> set[str]:
    """Names along the pointer of a problem, such as template, quorum and min_responses."""
    return set() if problem is None else set((problem.pointer or "").split("/")) - {""}


def is_placed(fields: Sequence[Field], problem: EcpError) -> bool:
    """Whether a field of the form can say what is wrong."""
    return bool(fields_at(problem) & {field.name for field in fields})


def poll_body_of(form: Mapping[str, str]) -> dict[str, Any]:
    """The body of POST /api/v1/polls/ that a form says."""
    given = {name: value.strip() for name, value in form.items() if value.strip()}
    names = {field.name for field in POLL_FIELDS} - set(QUORUM)
    body: dict[str, Any] = {
        name: _number(value) if name in NUMBERS else value for name, value in given.items() if name in names
    }
    quorum = {name: _number(given[name]) for name in QUORUM if name in given}
    body["options"] = _lines(given.get("options", ""))
    if quorum:
        body["quorum"] = DEFAULT_QUORUM | quorum
    if "strata_by" in given:
        body["strata_by"] = [label.strip() for label in given["strata_by"].split(",") if label.strip()]
    if "filter" in given:
        pairs = (line.partition("=") for line in _lines(given["filter"]))
        body["filter"] = {label.strip(): value.strip() for label, _sign, value in pairs}
    body["exclude_same_owner"] = "exclude_same_owner" in given
    return body


def _number(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= LONGEST_NUMBER else text


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]
