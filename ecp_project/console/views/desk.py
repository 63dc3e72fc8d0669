"""What pages with figures have in common: which log, whose scope, which range, in which words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from ecp_project.console.figures import range_words
from ecp_project.console.ranges import DEFAULT_SINCE, DEFAULT_UNTIL, Range, range_given
from ecp_project.console.views.panels import parts
from ecp_project.kernel.errors import BadRequest, NotFound
from ecp_project.kernel.panels import PanelContext
from ledger.selectors.console import chosen_log, logs_for
from ledger.selectors.entries import OrgScope

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from django.http import HttpRequest
    from django_stubs_ext import StrOrPromise

    from ecp_project.console.views.panels import Part
    from ecp_project.kernel.panels import Slot
    from ledger.models import Log
    from ledger.selectors.console import LogState, Viewer

PRESETS = (
    ("now-1h", _("1 hour")),
    ("now-24h", _("24 hours")),
    ("now-7d", _("7 days")),
    ("now-30d", _("30 days")),
)
PARAMETERS = ("log", "since", "until")
FULL = ("full",)  # of pages with parts that are fetched: draw them at once
INPUT = "%Y-%m-%dT%H:%M"  # what a field for date and time takes


@dataclass(frozen=True, slots=True)
class Preset:
    title: StrOrPromise
    query: str
    is_current: bool


@dataclass(frozen=True, slots=True)
class Desk:
    """A viewer looks at one log over one range; `states` are all logs that he may see."""

    states: Sequence[LogState]
    state: LogState
    scope: OrgScope
    within: Range
    now: datetime
    role: str  # of the viewer in the organisation of the log
    actor: str  # how that log names the viewer
    parameters: Mapping[str, str]  # of the range, as they were given
    own: Mapping[str, str]  # those of this page alone

    @property
    def log(self) -> Log:
        return self.state.log

    @property
    def about(self) -> PanelContext:
        return PanelContext(
            self.scope,
            self.log.pk,
            None,
            self.within.since,
            self.within.until,
            self.now,
            given={name: value for name, value in self.own.items() if name not in FULL},
            role=self.role,
            actor=self.actor,
        )

    @property
    def words(self) -> str:
        return range_words(self.within)

    @property
    def presets(self) -> list[Preset]:
        since, until = (
            self.parameters.get("since", DEFAULT_SINCE),
            self.parameters.get("until", DEFAULT_UNTIL),
        )
        return [
            Preset(
                title, urlencode({"log": self.log.slug, "since": value}), since == value and until == "now"
            )
            for value, title in PRESETS
        ]

    @property
    def brief(self) -> str:
        """The range where there is little room: exact times only for those that the person gave."""
        chosen = next((preset.title for preset in self.presets if preset.is_current), None)
        return _in_the_last(chosen) if chosen else self.words

    @property
    def is_own(self) -> bool:
        return not any(preset.is_current for preset in self.presets)

    @property
    def since_field(self) -> str:
        return self.within.since.strftime(INPUT)

    @property
    def until_field(self) -> str:
        return self.within.until.strftime(INPUT)

    @property
    def query(self) -> str:
        """The range and the log, for a link to another page of figures."""
        return urlencode({"log": self.log.slug} | dict(self.parameters))


def desk_of(
    request: HttpRequest, viewer: Viewer, now: datetime, parameters: Sequence[str] = ()
) -> Desk | None:
    """None when the viewer's organisations have no log yet; `parameters` are those of the page alone."""
    given = _parameters(request, parameters)
    states = logs_for(viewer)
    if not states:
        return None
    log = chosen_log([state.log for state in states], given.pop("log", ""), viewer.log)
    if log is None:
        raise NotFound("not_found", "there is no such log")
    state = next(state for state in states if state.log is log)
    own = {name: given.pop(name) for name in parameters if name in given}
    return Desk(
        states, state, scope_in(viewer, state.log), range_given(given, now), now,
        viewer.roles[log.organisation_id], viewer.actor(log.organisation_id), given, own,
    )  # fmt: skip


def parts_of(request: HttpRequest, desk: Desk, slot: Slot) -> list[Part]:
    """What installed apps bring to this place, as far as the viewer's role sees it."""
    return parts(request, slot, desk.about, {desk.role}, {"log": desk.log.slug} | dict(desk.parameters))


def scope_in(viewer: Viewer, log: Log) -> OrgScope:
    return OrgScope(log.organisation_id, viewer.agents.get(log.organisation_id))


def _in_the_last(span: StrOrPromise) -> str:
    return gettext("in the last %(span)s") % {"span": span}


def _parameters(request: HttpRequest, more: Sequence[str]) -> dict[str, str]:
    given: dict[str, Any] = {}
    for name, values in request.GET.lists():
        if name not in {*PARAMETERS, *more}:
            raise BadRequest("unknown_key", f"this page takes: {', '.join((*PARAMETERS, *more))}")
        if len(values) > 1:
            raise BadRequest("bad_value", f"{name} is given twice")
        if values[0]:
            given[name] = values[0]
    return given
