"""Simulations: what other rules would have said, asked for, watched and read (FRICTION 8 and 10)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.http import HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from advisory.friction.admin.desk import FrictionAdmin, desk_of, given, only, only_reads, written
from advisory.friction.core.rules import LEVELS
from advisory.friction.models import FrictionSimulation, Level
from advisory.friction.selectors import rulesets, simulations
from advisory.friction.selectors.recorded import RecordedFilter
from advisory.friction.selectors.shown import who
from advisory.friction.services.replaying import OPEN, simulation_ask, simulation_cancel
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import BadRequest, Conflict, EcpError, Unavailable
from ledger.models import Role
from ledger.selectors.staffacts import names_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from django.http import HttpRequest, HttpResponse

    from advisory.friction.admin.desk import Desk
    from advisory.friction.models import FrictionRuleSetVersion

SHOWN = 50
SIZES = (1_000, 10_000, 100_000)
# How much of the history a figure stands on; shown beside it, whatever it says.
KEPT = (
    ("replayable", gettext_lazy("replayed with everything the rules read")),
    ("partially_replayable", gettext_lazy("replayed with something unknown")),
    ("not_replayable", gettext_lazy("not replayed, because no facts are kept")),
)


@admin.register(FrictionSimulation)
class SimulationAdmin(FrictionAdmin):
    title = gettext_lazy("Simulations")

    def pages(self) -> Any:
        return (
            ("", self.list_view, "changelist"),
            ("<uuid:uid>/change/", self.simulation_view, "change"),
        )

    def list_view(self, request: HttpRequest) -> HttpResponse:
        """GET: the newest. POST: ask for one of a stored version."""
        desk = desk_of(request)
        only(desk, Role.OPERATOR)
        versions = rulesets.version_page(scope=desk.scope)
        if request.method != "POST":
            only_reads(request)
            given(request)
            return self._list(request, desk, versions)
        try:
            row = _asked(request, desk, versions)
        except (BadRequest, Conflict, Unavailable) as problem:
            return self._list(request, desk, versions, problem)
        messages.success(request, _("Queued. A worker runs it; look at this page again in a moment."))
        return HttpResponseRedirect(reverse("admin:friction_frictionsimulation_change", args=[row.pk]))

    def _list(
        self,
        request: HttpRequest,
        desk: Desk,
        versions: Sequence[FrictionRuleSetVersion],
        problem: EcpError | None = None,
    ) -> HttpResponse:
        rows = simulations.simulation_page(scope=desk.scope, before=None, size=SHOWN)[:SHOWN]
        names = names_of(organisation_id=desk.scope.organisation_id, actors=[row.actor for row in rows])
        return self.shown(
            request,
            "friction/simulation_list.html",
            self.title,
            problem,
            rows=[(row, who(row.actor, names), _judge(row.sha256, versions)) for row in rows],
            versions=versions,
            sizes=SIZES,
            slug=desk.slug,
        )

    def simulation_view(self, request: HttpRequest, uid: UUID) -> HttpResponse:
        """GET: how far it has come, and its result. POST: stop it."""
        desk = desk_of(request, self.organisation_id_of(request, uid))
        only(desk, Role.OPERATOR)
        row = simulations.simulation_of(scope=desk.scope, uid=uid)
        if request.method == "POST":
            simulation_cancel(simulation=row, now=utc_now())
            return HttpResponseRedirect(request.path)
        only_reads(request)
        given(request)
        names = names_of(organisation_id=desk.scope.organisation_id, actors=[row.actor])
        judge = _judge(row.sha256, rulesets.version_page(scope=desk.scope))
        return self.shown(
            request,
            "friction/simulation.html",
            _("Simulation of %(rules)s") % {"rules": judge},
            row=row,
            who=who(row.actor, names),
            is_open=row.state in OPEN,
            told=_told(row.result) if row.result else None,
            list_title=self.title,
            slug=desk.slug,
        )


def _asked(
    request: HttpRequest, desk: Desk, versions: Sequence[FrictionRuleSetVersion]
) -> FrictionSimulation:
    chosen = next((row for row in versions if str(row.pk) == written(request, "version")), None)
    if chosen is None:
        raise BadRequest("bad_value", _("Choose a version of a rule set."), pointer="/version")
    last = next((size for size in SIZES if str(size) == written(request, "last")), None)
    if last is None:
        raise BadRequest("bad_value", _("Choose how much advice is judged anew."), pointer="/last")
    row = rulesets.versions(scope=desk.scope).get(pk=chosen.pk)
    return simulation_ask(
        log=desk.log, source=row.source_yaml, sha256=row.sha256, against=None,
        wanted=RecordedFilter(last=last), actor=desk.actor, now=utc_now(),
    )  # fmt: skip


def _judge(sha256: str, versions: Sequence[FrictionRuleSetVersion]) -> str:
    """The rules that judge: a version that is stored, else the hash of a file that was only tried."""
    found = next((row for row in versions if row.sha256 == sha256), None)
    if found is None:
        return _("a file, %(hash)s") % {"hash": f"{sha256[7:15]}…"}
    return _("%(id)s, version %(number)d") % {"id": found.ruleset.slug, "number": found.version}


def _told(result: Mapping[str, Any]) -> dict[str, Any]:
    """The result as the tables of the page want it."""
    matrix = result["matrix"]
    return {
        "levels": [Level(level).label for level in LEVELS],
        "matrix": [(Level(old).label, [(matrix[old][new], old == new) for new in LEVELS]) for old in LEVELS],
        "kept": [(title, result[name]) for name, title in KEPT],
        "rules": [(rule, fires["old"], fires["new"]) for rule, fires in result["rules"].items()],
        "steps": [(*name.split(":", 1), count) for name, count in result["steps"].items()],
        "examples": [
            (one["advice_id"], Level(one["old"]).label, Level(one["new"]).label) for one in result["examples"]
        ],
    }
