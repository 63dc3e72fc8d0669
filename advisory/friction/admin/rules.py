"""Rule sets: versions, what changed between them, a dry run, the switch of the mode (FRICTION 7 and 10)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.http import HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from advisory.friction.admin.desk import FrictionAdmin, desk_of, given, only, only_reads, written
from advisory.friction.core.difference import difference
from advisory.friction.core.document import MAX_BYTES
from advisory.friction.core.rules import LEVELS
from advisory.friction.models import (
    AdvisoryMode,
    FrictionMode,
    FrictionRuleSetVersion,
    VersionState,
)
from advisory.friction.selectors import rulesets
from advisory.friction.selectors.words import step_words, value_words
from advisory.friction.services.rulesets import (
    FOLLOWING,
    advisory_mode_switch,
    ruleset_import,
    ruleset_state_change,
)
from advisory.friction.services.trying import proposal_try
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import BadRequest, Conflict, EcpError, PermissionDenied, TooLarge, Unavailable
from ledger.models import Log, Role
from ledger.selectors.staffacts import names_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from django.http import HttpRequest, HttpResponse

    from advisory.friction.admin.desk import Desk
    from advisory.friction.core.difference import Difference
    from advisory.friction.core.rules import RuleSet

EXAMPLE = """{
  "action": "payment.transfer",
  "agent": "pay-agent-3",
  "explanation": "Pay supplier invoice 4711 that is due today.",
  "context": {
    "environment": "prod", "amount_minor": 2500000, "currency": "EUR", "reversible": false,
    "affected_people": 1, "confidence_pct": 91, "data_classes": []
  }
}"""


@dataclass(frozen=True, slots=True)
class Side:
    """One line of a comparison: what stood there before, and what stands there now."""

    name: str
    old: str
    new: str


@admin.register(FrictionRuleSetVersion)
class VersionAdmin(FrictionAdmin):
    title = gettext_lazy("Rule sets")

    def pages(self) -> Any:
        return (
            ("", self.list_view, "changelist"),
            ("try/", self.try_view, "try"),
            ("<int:pk>/change/", self.version_view, "change"),
        )

    def list_view(self, request: HttpRequest) -> HttpResponse:
        """GET: all versions. POST: an operator proposes a file."""
        desk = desk_of(request)
        if request.method != "POST":
            only_reads(request)
            given(request)
            return self._list(request, desk)
        only(desk, Role.OPERATOR)
        try:
            row, found = ruleset_import(
                log=_whole(desk), source=_file(request), actor=desk.actor, now=utc_now()
            )
        except (BadRequest, Conflict, TooLarge, Unavailable) as problem:
            return self._list(request, desk, problem)
        messages.success(request, _("Proposed. Another person, an admin, puts it in force."))
        for warning in found:
            messages.warning(
                request, _("Line %(line)s: %(text)s") % {"line": warning.line, "text": warning.message}
            )
        return HttpResponseRedirect(reverse("admin:friction_frictionrulesetversion_change", args=[row.pk]))

    def _list(self, request: HttpRequest, desk: Desk, problem: EcpError | None = None) -> HttpResponse:
        rows = rulesets.version_page(scope=desk.scope)
        actors = [actor for row in rows for actor in (row.proposed_by, row.activated_by)]
        names = names_of(organisation_id=desk.scope.organisation_id, actors=actors)
        return self.shown(
            request,
            "friction/ruleset_list.html",
            self.title,
            problem,
            rows=[
                (
                    row,
                    names.get(row.proposed_by, row.proposed_by),
                    names.get(row.activated_by, row.activated_by),
                )
                for row in rows
            ],
            errors=problem.extensions.get("errors", []) if problem else [],
            may_propose=desk.role == Role.OPERATOR,
            slug=desk.slug,
        )

    def version_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """GET: one version, beside another if asked. POST: an admin who did not propose it decides."""
        desk = desk_of(request, self.organisation_id_of(request, pk))
        row = rulesets.versions(scope=desk.scope).get(pk=pk)
        if request.method != "POST":
            only_reads(request)
            return self._version(request, desk, row)
        only(desk, Role.ADMIN)
        try:
            changed = ruleset_state_change(
                log=_whole(desk), version=row, to=_state(written(request, "to")),
                reason=written(request, "reason"), actor=desk.actor, now=utc_now(),
            )  # fmt: skip
        except (BadRequest, Conflict, PermissionDenied, Unavailable) as problem:
            return self._version(request, desk, row, problem)
        messages.success(request, _("Now: %(state)s.") % {"state": changed.get_state_display()})
        return HttpResponseRedirect(request.path)

    def _version(
        self, request: HttpRequest, desk: Desk, row: FrictionRuleSetVersion, problem: EcpError | None = None
    ) -> HttpResponse:
        asked = given(request, "against")
        others = [other for other in rulesets.version_page(scope=desk.scope) if other.pk != row.pk]
        older = next((other for other in others if str(other.pk) == asked.get("against")), None)
        if "against" in asked and older is None:
            raise BadRequest("bad_value", _("There is no such version to compare with."))
        loaded = rulesets.calculator_of(row).ruleset
        names = names_of(
            organisation_id=desk.scope.organisation_id, actors=[row.proposed_by, row.activated_by]
        )
        found = difference(rulesets.calculator_of(older).ruleset, loaded) if older else None
        return self.shown(
            request,
            "friction/ruleset.html",
            _("%(id)s, version %(number)d") % {"id": row.ruleset.slug, "number": row.version},
            problem,
            row=row,
            rules=[_rule(loaded, place) for place in range(len(loaded.rules))],
            loaded=loaded,
            proposed_by=names.get(row.proposed_by, row.proposed_by),
            activated_by=names.get(row.activated_by, row.activated_by),
            others=others,
            older=older,
            found=found,
            sides=_sides(found) if found else {},
            states=[(to.value, to.label) for to in VersionState if to in FOLLOWING[VersionState(row.state)]]
            if desk.role == Role.ADMIN
            else [],
            is_own=row.proposed_by == desk.actor,
            list_title=self.title,
            slug=desk.slug,
        )

    def try_view(self, request: HttpRequest) -> HttpResponse:
        """A pasted proposal under any version; nothing is recorded."""
        desk = desk_of(request)
        rows = rulesets.version_page(scope=desk.scope)
        force = rulesets.version_in_force(scope=desk.scope, at=utc_now())
        chosen = written(request, "version") or (str(force.pk) if force else "")
        version = next((row for row in rows if str(row.pk) == chosen), None)
        text = request.POST.get("proposal", EXAMPLE)
        problem: EcpError | None = None
        tried = None
        if request.method == "POST":
            try:
                tried = proposal_try(
                    log=desk.log,
                    version=_chosen(version),
                    source=text.encode(errors="surrogatepass"),
                    now=utc_now(),
                )
            except (BadRequest, TooLarge) as refused:
                problem = refused
        return self.shown(
            request,
            "friction/try.html",
            _("Try a proposal"),
            problem,
            versions=rows,
            chosen=chosen,
            text=text,
            tried=tried,
            slug=desk.slug,
        )


def _chosen(version: FrictionRuleSetVersion | None) -> FrictionRuleSetVersion:
    if version is None:
        raise BadRequest("bad_value", _("Choose a version of a rule set."), pointer="/version")
    return version


def _whole(desk: Desk) -> Log:
    return Log.objects.select_related("organisation").get(pk=desk.log.pk)


def _file(request: HttpRequest) -> bytes:
    """The uploaded file, else what was pasted."""
    upload = request.FILES.get("file")
    if upload is None:
        pasted = request.POST.get("source", "").encode(errors="surrogatepass")
        if not pasted.strip():
            raise BadRequest("bad_value", _("Choose a file, or paste its text."), pointer="/file")
        return pasted
    if upload.size is None or upload.size > MAX_BYTES:
        raise TooLarge("body_too_large")
    return bytes(upload.read())


def _state(text: str) -> VersionState:
    try:
        return VersionState(text)
    except ValueError:
        raise BadRequest("bad_value", _("Choose a state."), pointer="/to") from None


def _rule(loaded: RuleSet, place: int) -> dict[str, Any]:
    """A rule of the file as people read it."""
    rule, document = loaded.rules[place], loaded.document["rules"][place]
    return {
        "id": rule.id,
        "title": rule.title,
        "reason": document["reason"],
        "when": " ".join(condition_words(document["when"])),
        "points": rule.points,
        "floor": LEVELS[rule.floor] if rule.floor else "",
        "enabled": rule.enabled,
        "steps": [step_words(step) for step in rule.steps],
    }


def condition_words(node: Mapping[str, Any]) -> Iterator[str]:
    """A condition as one line with brackets; the words are those of the file."""
    for kind in ("all", "any"):
        if kind in node:
            joined = {"all": _("and"), "any": _("or")}[kind]
            parts = [" ".join(condition_words(part)) for part in node[kind]]
            yield f"({f' {joined} '.join(parts)})" if len(parts) > 1 else parts[0]
            return
    if "not" in node:
        yield _("not")
        yield from condition_words(node["not"])
        return
    operand = "" if "value" not in node else f" {value_words(node['value'])}"
    yield f"{node['field']} {node['op'].replace('_', ' ')}{operand}"


def _sides(found: Difference) -> dict[str, list[Side]]:
    """What changed, rule by rule, both sides as text."""
    sides = {
        rule: [Side(change.path, _text(change.old), _text(change.new)) for change in changes]
        for rule, changes in found.changed.items()
    }
    if found.outside:
        sides[_("Outside the rules")] = [
            Side(change.path, _text(change.old), _text(change.new)) for change in found.outside
        ]
    return sides


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@admin.register(FrictionMode)
class ModeAdmin(FrictionAdmin):
    title = gettext_lazy("Observer or friction mode")

    def pages(self) -> Any:
        return (("", self.mode_view, "changelist"),)

    def mode_view(self, request: HttpRequest) -> HttpResponse:
        """GET: the mode. POST: an admin switches it, with a reason."""
        desk = desk_of(request)
        if request.method != "POST":
            only_reads(request)
            given(request)
            return self._page(request, desk)
        only(desk, Role.ADMIN)
        try:
            to = _mode(written(request, "to"))
            advisory_mode_switch(
                log=_whole(desk), to=to, reason=written(request, "reason"), actor=desk.actor, now=utc_now()
            )
        except (BadRequest, Conflict, Unavailable) as problem:
            return self._page(request, desk, problem)
        messages.success(request, _("Switched: %(mode)s.") % {"mode": to.label})
        return HttpResponseRedirect(f"{reverse('admin:friction_frictionmode_changelist')}?log={desk.slug}")

    def _page(self, request: HttpRequest, desk: Desk, problem: EcpError | None = None) -> HttpResponse:
        organisation_id = desk.scope.organisation_id
        mode = AdvisoryMode(rulesets.mode_of_organisation(organisation_id))
        row = FrictionMode.objects.filter(organisation_id=organisation_id).first()
        names = names_of(organisation_id=organisation_id, actors=[row.actor] if row else [])
        return self.shown(
            request,
            "friction/mode.html",
            self.title,
            problem,
            mode=mode,
            other=next(one for one in AdvisoryMode if one is not mode),
            row=row,
            who=names.get(row.actor, row.actor) if row else "",
            may_switch=desk.role == Role.ADMIN,
            slug=desk.slug,
        )


def _mode(text: str) -> AdvisoryMode:
    try:
        return AdvisoryMode(text)
    except ValueError:
        raise BadRequest("bad_value", _("Choose a mode."), pointer="/to") from None
