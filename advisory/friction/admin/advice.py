"""Lists and pages of advice, where people read a proposal and answer its steps (FRICTION 10 and 10.1)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import admin, messages
from django.http import HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from advisory.friction.admin.desk import FrictionAdmin, desk_of, given, only_reads, written
from advisory.friction.models import FrictionAdvice, Level
from advisory.friction.selectors import advice as advices
from advisory.friction.selectors import rulesets
from advisory.friction.selectors.advice import RULE, AdviceFilter
from advisory.friction.selectors.shown import advice_shown
from advisory.friction.services.answering import Answer, step_answer
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import BadRequest, Conflict, EcpError, Unavailable
from ecp_project.kernel.privacy import opener

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from django.http import HttpRequest, HttpResponse
    from django_stubs_ext import StrOrPromise

    from advisory.friction.admin.desk import Desk

PAGE = 50
PARAMETERS = ("agent", "level", "rule", "bypassed", "undeclared", "before")
ANSWERS = (
    (Answer.DONE.value, gettext_lazy("Done")),
    (Answer.DECLINED.value, gettext_lazy("Decline")),
    (Answer.COMMENT.value, gettext_lazy("Only comment")),
)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_STEP = re.compile(r"[1-9][0-9]{0,3}")
_NAME = re.compile(r"[^\x00-\x1f]{1,64}")


@dataclass(frozen=True, slots=True)
class FacetLink:
    title: StrOrPromise
    number: int
    url: str
    is_current: bool


@dataclass(frozen=True, slots=True)
class Facet:
    title: StrOrPromise
    links: Sequence[FacetLink]


@admin.register(FrictionAdvice)
class AdviceAdmin(FrictionAdmin):
    title = gettext_lazy("Advice")

    def pages(self) -> Any:
        return (
            ("", self.list_view, "changelist"),
            ("<uuid:uid>/change/", self.advice_view, "change"),
        )

    def list_view(self, request: HttpRequest) -> HttpResponse:
        """Newest first, by key; the address is all of the filter."""
        only_reads(request)
        desk, asked = desk_of(request), given(request, *PARAMETERS)
        filters = _filters(asked)
        before = asked.pop("before", None)
        rows = advices.advice_page(scope=desk.scope, filters=filters, size=PAGE, before=_before(before))
        counted = advices.advice_counts(scope=desk.scope, filters=filters)
        version = rulesets.version_in_force(scope=desk.scope, at=utc_now())
        older = asked | {"log": desk.slug, "before": str(rows[PAGE - 1].pk)} if len(rows) > PAGE else None
        return self.shown(
            request,
            "friction/advice_list.html",
            self.title,
            rows=rows[:PAGE],
            asked=asked,
            slug=desk.slug,
            levels=Level.choices,
            rules=[rule.id for rule in rulesets.calculator_of(version).ruleset.rules] if version else [],
            counted=counted,
            facets=_facets(asked, counted, desk),
            older=urlencode(older) if older else "",
            is_first=before is None,
        )

    def advice_view(self, request: HttpRequest, uid: UUID) -> HttpResponse:
        """GET: the whole advice. POST: what a person says of one of its steps."""
        desk = desk_of(request, self.organisation_id_of(request, uid))
        row = advices.advice_of(scope=desk.scope, uid=uid)
        if request.method == "POST":
            return self._answer(request, desk, row)
        only_reads(request)
        return self._page(request, desk, row)

    def _page(
        self, request: HttpRequest, desk: Desk, row: FrictionAdvice, problem: EcpError | None = None
    ) -> HttpResponse:
        opening = opener(request, desk.scope.organisation_id)
        told = advice_shown(scope=desk.scope, row=row, actor=desk.actor, opening=opening)
        at = written(request, "n") if problem else ""
        forms = {str(step.n) for step in told.steps if step.is_open and not step.objection}
        return self.shown(
            request,
            "friction/advice.html",
            _("%(level)s: %(action)s") % {"level": row.get_level_display(), "action": row.action},
            problem,
            advice=told,
            slug=desk.slug,
            list_title=self.title,
            answers=ANSWERS,
            problem_at=int(at) if at in forms else 0,
        )

    def _answer(self, request: HttpRequest, desk: Desk, row: FrictionAdvice) -> HttpResponse:
        advices.refuse_bystander(scope=desk.scope, row=row, actor=desk.actor)
        try:
            n, answer = _step(written(request, "n")), _answer_of(written(request, "answer"))
            step_answer(
                log=desk.log, advice=row, n=n, answer=answer, note=written(request, "note"),
                evidence_url=written(request, "evidence_url"), actor=desk.actor, now=utc_now(),
            )  # fmt: skip
        except (BadRequest, Conflict, Unavailable) as problem:
            return self._page(request, desk, row, problem)
        messages.success(request, _("Recorded. The agent can read it now; nothing has held it up."))
        return HttpResponseRedirect(f"{request.path}#step-{n}")


def _step(text: str) -> int:
    if not _STEP.fullmatch(text):
        raise BadRequest("step_unknown", _("Say which step you answer."))
    return int(text)


def _answer_of(text: str) -> Answer:
    try:
        return Answer(text)
    except ValueError:
        raise BadRequest("bad_value", _("Choose: done, declined or a comment.")) from None


def _before(text: str | None) -> int | None:
    if text is None:
        return None
    if not _UUID.fullmatch(text):
        raise BadRequest("invalid_cursor", _("This address does not lead into the list."))
    return UUID(text).int


def _filters(asked: Mapping[str, str]) -> AdviceFilter:
    allowed = {"level": set(Level.values), "bypassed": {"true", "false"}, "undeclared": {"true"}}
    for name, values in allowed.items():
        if name in asked and asked[name] not in values:
            raise BadRequest("bad_value", f"{name} must be one of {', '.join(sorted(values))}")
    if "rule" in asked and not RULE.fullmatch(asked["rule"]):
        raise BadRequest("bad_value", "rule must be the id of a rule, such as PAY-100")
    if "agent" in asked and not _NAME.fullmatch(asked["agent"]):
        raise BadRequest("bad_value", "agent must be the name of an agent")
    return AdviceFilter(
        agent=asked.get("agent"),
        level=asked.get("level"),
        rule=asked.get("rule"),
        bypassed=asked["bypassed"] == "true" if "bypassed" in asked else None,
        undeclared="undeclared" in asked,
    )


def _facets(asked: Mapping[str, str], counted: advices.Counts, desk: Desk) -> list[Facet]:
    """Values that narrow the list; the one in force leads back."""

    def link(name: str, value: str, title: StrOrPromise, number: int) -> FacetLink:
        is_current = asked.get(name) == value
        rest = {key: kept for key, kept in asked.items() if key != name} | {"log": desk.slug}
        query = rest if is_current else rest | {name: value}
        url = f"{reverse('admin:friction_frictionadvice_changelist')}?{urlencode(query)}"
        return FacetLink(title, number, url, is_current)

    return [
        Facet(_("Level"), [link("level", level, Level(level).label, n) for level, n in counted.levels]),
        Facet(
            _("Bypassed"),
            [
                link("bypassed", "true", _("with a bypass"), counted.bypassed),
                link("undeclared", "true", _("found afterwards"), counted.undeclared),
            ],
        ),
        Facet(_("Agent"), [link("agent", agent, agent, n) for agent, n in counted.agents]),
    ]
