"""REST endpoints for those who set the points: simulations, calibration, the mode (FRICTION 7 to 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema

from advisory.friction.api import requests as bodies
from advisory.friction.models import AdvisoryMode
from advisory.friction.selectors import calibration, rulesets, simulations
from advisory.friction.services import replaying
from advisory.friction.services.rulesets import advisory_mode_switch, ruleset_validate
from ecp_project.api.pagination import CursorSeal, page_size
from ecp_project.api.permissions import allow
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import BadRequest
from ledger.api import requests
from ledger.api.authentication import default_log_of
from ledger.api.base import LedgerView, actor_of, json_answer

if TYPE_CHECKING:
    from django.http import HttpResponse
    from rest_framework.request import Request


class SimulationList(LedgerView):
    permission_classes = [allow(scope=None, read=("operator",), write=("operator",))]

    @extend_schema(
        operation_id="simulation_list",
        parameters=[
            OpenApiParameter("page_size", description="1 to 200, default 50."),
            OpenApiParameter("cursor", description="From `next` of the page before."),
        ],
        responses={200: OpenApiTypes.OBJECT},
    )
    def get(self, request: Request) -> HttpResponse:
        scope = self.scope(request)
        values = requests.parameters(request, "page_size", "cursor")
        size = page_size(values)
        seal = CursorSeal("simulation-list", scope.organisation_id, values)
        page = simulations.simulation_page(scope=scope, before=seal.read(values.get("cursor")), size=size)
        rows, more = page[:size], len(page) > size
        return json_answer(
            {
                "results": [simulations.simulation_document(row) for row in rows],
                "next": seal.write(rows[-1].pk.int) if more else None,
            }
        )

    @extend_schema(
        operation_id="simulation_ask", request=OpenApiTypes.OBJECT, responses={202: OpenApiTypes.OBJECT}
    )
    def post(self, request: Request) -> HttpResponse:
        principal, now = self.principal(request), utc_now()
        asked, scope = bodies.simulation(request), self.scope(request)
        if asked.source is not None:
            loaded, _ = ruleset_validate(source=asked.source, now=now)
            slug, sha256, source = loaded.id, loaded.hash, asked.source.decode()
        else:
            slug = asked.ruleset or ""
            row = rulesets.version_of(scope=scope, slug=slug, number=asked.version or 0)
            sha256, source = row.sha256, row.source_yaml
        older = asked.against
        against = None if older is None else rulesets.version_of(scope=scope, slug=slug, number=older)
        queued = replaying.simulation_ask(
            log=default_log_of(principal), source=source, sha256=sha256, against=against,
            wanted=asked.wanted, actor=actor_of(principal), now=now,
        )  # fmt: skip
        answer = json_answer(simulations.simulation_document(queued), 202)
        answer.headers["Location"] = f"/api/v1/friction/simulations/{queued.pk}/"
        return answer


class SimulationDetail(LedgerView):
    permission_classes = [allow(scope=None, read=("operator",), write=("operator",))]

    @extend_schema(operation_id="simulation_get", responses={200: OpenApiTypes.OBJECT})
    def get(self, request: Request, uid: str) -> HttpResponse:
        requests.parameters(request)
        row = simulations.simulation_of(scope=self.scope(request), uid=requests.uid_of(uid))
        return json_answer(simulations.simulation_document(row))

    @extend_schema(operation_id="simulation_cancel", responses={200: OpenApiTypes.OBJECT})
    def delete(self, request: Request, uid: str) -> HttpResponse:
        row = simulations.simulation_of(scope=self.scope(request), uid=requests.uid_of(uid))
        return json_answer(
            simulations.simulation_document(replaying.simulation_cancel(simulation=row, now=utc_now()))
        )


class Calibration(LedgerView):
    permission_classes = [allow(scope=None, read=("auditor",))]

    @extend_schema(
        operation_id="calibration",
        parameters=[
            OpenApiParameter("from", description="Given at or after (UTC); default 30 days ago."),
            OpenApiParameter("to", description="Given before (UTC); default now."),
            OpenApiParameter("rule", description="One rule alone."),
        ],
        responses={200: OpenApiTypes.OBJECT},
    )
    def get(self, request: Request) -> HttpResponse:
        values, now = requests.parameters(request, "from", "to", "rule"), utc_now()
        until = requests.instant(values, "to") or now
        since = requests.instant(values, "from") or until - calibration.PERIOD
        if since >= until:
            raise BadRequest("bad_value", "from must lie before to")
        found = calibration.calibration(scope=self.scope(request), since=since, until=until, now=now)
        return json_answer(calibration.calibration_document(found, rule=values.get("rule")))


class Mode(LedgerView):
    """What the organisation does with its rules."""

    permission_classes = [
        allow(scope=None, read=("viewer", "auditor", "operator", "manufacturer", "admin"), write=("admin",))
    ]

    @extend_schema(operation_id="advisory_mode", responses={200: OpenApiTypes.OBJECT})
    def get(self, request: Request) -> HttpResponse:
        requests.parameters(request)
        return json_answer(rulesets.mode_document(self.scope(request).organisation_id))

    @extend_schema(
        operation_id="advisory_mode_switch",
        request=OpenApiTypes.OBJECT,
        responses={200: OpenApiTypes.OBJECT},
    )
    def post(self, request: Request) -> HttpResponse:
        principal = self.principal(request)
        document = bodies.body(request, ("to", "reason"))
        log = default_log_of(principal)
        advisory_mode_switch(
            log=log, to=bodies.choice(document, "to", AdvisoryMode), reason=bodies.text(document, "reason"),
            actor=actor_of(principal), now=utc_now(),
        )  # fmt: skip
        return json_answer(rulesets.mode_document(log.organisation_id))
