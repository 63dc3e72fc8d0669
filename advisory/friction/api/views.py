"""REST endpoints of friction (FRICTION 5). No answer here refuses an act because of a level."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema

from advisory.friction.api import requests as bodies
from advisory.friction.core.difference import difference
from advisory.friction.core.document import MAX_BYTES
from advisory.friction.models import Level, Outcome, Verdict, VersionState
from advisory.friction.selectors import advice as advices
from advisory.friction.selectors import rulesets
from advisory.friction.selectors.advice import AdviceFilter
from advisory.friction.selectors.veil import sealed_document
from advisory.friction.services import advising, following
from advisory.friction.services.rulesets import ruleset_import, ruleset_state_change, ruleset_validate
from ecp_project.api.pagination import CursorSeal, page_size
from ecp_project.api.parsers import check_media_type, read_body
from ecp_project.api.permissions import allow
from ecp_project.api.renderers import serves
from ecp_project.kernel.clock import format_time, utc_now
from ecp_project.kernel.errors import BadRequest
from ledger.api import requests
from ledger.api.authentication import default_log_of
from ledger.api.base import READERS, LedgerView, actor_of, json_answer, waiting
from ledger.core.fields import Text

if TYPE_CHECKING:
    from django.http import HttpRequest
    from rest_framework.request import Request

    from advisory.friction.core.lint import LintWarning
    from advisory.friction.models import FrictionRuleSetVersion

SCOPE = "advice"
YAML = "application/yaml"
_NOTE = Text(0, 2_000)


class AdviceView(LedgerView):
    """Shared by all endpoints about advice: agents see their own, staff those of their organisation.

    People read no private value here, as they give no reason; who asks for advice has sent them himself.
    """

    def told(self, request: Request, row: Any, *, detail: bool = False) -> dict[str, Any]:
        principal = self.principal(request)
        document = advices.advice_detail if detail else advices.advice_document
        is_staff = principal.kind == "staff"
        told = document(row, log=default_log_of(principal).origin, staff=is_staff)
        return sealed_document(row, told) if is_staff and request.method != "POST" else told


def replayable(document: dict[str, Any], *, is_replay: bool) -> HttpResponse:
    response = json_answer(document, 200 if is_replay else 201)
    if is_replay:
        response.headers["Idempotency-Replayed"] = "true"
    return response


class AdviceList(AdviceView):
    """Ask how careful an act should be, or list what was advised."""

    def appends_one(self, request: HttpRequest) -> bool:
        return request.method == "POST"

    def get_permissions(self) -> list[Any]:
        if self.request.method == "POST":
            return [allow(scope=SCOPE, write=("operator",))()]
        return [allow(scope=SCOPE, read=READERS)()]

    @extend_schema(
        operation_id="advice_ask",
        request=OpenApiTypes.OBJECT,
        responses={201: OpenApiTypes.OBJECT, 200: OpenApiTypes.OBJECT},
        parameters=[
            OpenApiParameter("dry_run", description="1: store nothing, answer 200."),
            OpenApiParameter("Idempotency-Key", location="header", description="UUIDv7 of the advice."),
        ],
    )
    def post(self, request: Request) -> HttpResponse:
        principal = self.principal(request)
        values = requests.parameters(request, "dry_run")
        proposal, record, previous = bodies.proposal(request)
        log = default_log_of(principal)
        if "dry_run" in values:
            if values["dry_run"] != "1":
                raise BadRequest("bad_value", "dry_run is 1 or left out")
            return json_answer(
                advising.advice_try(
                    log=log, record=record, proposal=proposal, principal=principal, now=utc_now()
                )
            )
        row, is_replay = advising.advice_give(
            log=log, record=record, proposal=proposal, principal=principal, actor=actor_of(principal),
            key=bodies.key(request), previous=previous, now=utc_now(),
        )  # fmt: skip
        return replayable(self.told(request, row), is_replay=is_replay)

    @extend_schema(
        operation_id="advice_list",
        responses={200: OpenApiTypes.OBJECT},
        parameters=[
            OpenApiParameter(name, description=text)
            for name, text in (
                ("agent", "Agent slug."),
                ("level", "low, medium or high."),
                ("bypassed", "true or false."),
                ("since", "Given at or after (UTC)."),
                ("page_size", "1 to 200, default 50."),
                ("cursor", "From `next` of the page before."),
            )
        ],
    )
    def get(self, request: Request) -> HttpResponse:
        scope = self.scope(request)
        values = requests.parameters(request, "agent", "level", "bypassed", "since", "page_size", "cursor")
        if values.get("level", "low") not in Level.values:
            raise BadRequest("bad_value", f"level must be one of {', '.join(Level.values)}")
        if values.get("bypassed", "true") not in {"true", "false"}:
            raise BadRequest("bad_value", "bypassed must be true or false")
        filters = AdviceFilter(
            agent=values.get("agent"),
            level=values.get("level"),
            bypassed=values["bypassed"] == "true" if "bypassed" in values else None,
            since=requests.instant(values, "since"),
        )
        size = page_size(values)
        seal = CursorSeal("advice-list", scope.organisation_id, values)
        page = advices.advice_page(
            scope=scope, filters=filters, before=seal.read(values.get("cursor")), size=size
        )
        rows, more = page[:size], len(page) > size
        return json_answer(
            {
                "results": [self.told(request, row) for row in rows],
                "next": seal.write(rows[-1].pk.int) if more else None,
            }
        )


class AdviceDetail(AdviceView):
    permission_classes = [allow(scope=SCOPE, read=READERS)]

    @extend_schema(
        operation_id="advice_get",
        parameters=[
            OpenApiParameter("wait", int, description="1 to 30: seconds to wait for a change."),
            OpenApiParameter(
                "seen", int, description="`changes` of the answer before; default: as it is now."
            ),
        ],
        responses={200: OpenApiTypes.OBJECT},
    )
    def get(self, request: Request, uid: str) -> HttpResponse:
        values = requests.parameters(request, "wait", "seen")
        seconds, seen = requests.integer(values, "wait") or 0, requests.integer(values, "seen")
        if seconds > requests.MAX_WAIT_S:
            raise BadRequest("bad_value", f"wait is at most {requests.MAX_WAIT_S} seconds")
        scope, place = self.scope(request), requests.uid_of(uid)
        row = advices.advice_of(scope=scope, uid=place)
        if not seconds:
            return json_answer(self.told(request, row, detail=True))
        if not waiting.acquire(blocking=False):
            answer = json_answer(self.told(request, row, detail=True))
            answer.headers["Retry-After"] = "1"
            return answer
        try:
            following.change_await(advice=row, seen=seen, seconds=seconds)
        finally:
            waiting.release()
        return json_answer(self.told(request, advices.advice_of(scope=scope, uid=place), detail=True))


class AdviceBypass(AdviceView):
    permission_classes = [allow(scope=SCOPE, write=("operator",))]

    @extend_schema(
        operation_id="advice_bypass", request=OpenApiTypes.OBJECT, responses={201: OpenApiTypes.OBJECT}
    )
    def post(self, request: Request, uid: str) -> HttpResponse:
        principal = self.principal(request)
        document = bodies.body(request, ("steps", "reason_code", "reason_text"))
        code = bodies.text(document, "reason_code")
        row = advices.advice_of(scope=self.scope(request), uid=requests.uid_of(uid))
        log = default_log_of(principal)
        bypass, is_replay = following.bypass_record(
            log=log, advice=row, steps=bodies.steps(document), reason_code=code,
            reason_text=bodies.text(document, "reason_text"), actor=actor_of(principal),
            key=bodies.key(request), now=utc_now(),
        )  # fmt: skip
        told = advices.bypass_document(bypass) | {
            "recorded": True,
            "entry": {"log": log.origin, "seq": bypass.entry_seq},
        }
        return replayable(told, is_replay=is_replay)


class StepOutcome(AdviceView):
    permission_classes = [allow(scope=SCOPE, write=("operator",))]

    @extend_schema(
        operation_id="advice_step_outcome", request=OpenApiTypes.OBJECT, responses={201: OpenApiTypes.OBJECT}
    )
    def post(self, request: Request, uid: str, n: str) -> HttpResponse:
        principal = self.principal(request)
        document = bodies.body(request, ("outcome",), ("note", "evidence_url"))
        outcome = bodies.choice(document, "outcome", Outcome)
        evidence = bodies.text(document, "evidence_url")
        if evidence and not evidence.startswith(("https://", "http://")):
            raise BadRequest(
                "bad_value", "evidence_url must begin with https:// or http://", pointer="/evidence_url"
            )
        row = advices.advice_of(scope=self.scope(request), uid=requests.uid_of(uid))
        stored = following.outcome_record(
            log=default_log_of(principal), advice=row, n=bodies.number(n), outcome=outcome,
            note=bodies.text(document, "note"), evidence_url=evidence, actor=actor_of(principal),
            now=utc_now(),
        )  # fmt: skip
        return json_answer(
            {
                "id": str(stored.pk),
                "advice_id": str(row.pk),
                "n": stored.n,
                "outcome": stored.outcome,
                "recorded": True,
            },
            201,
        )


# --- rule sets


def version_document(row: FrictionRuleSetVersion) -> dict[str, Any]:
    return {
        "id": row.ruleset.slug,
        "version": row.version,
        "state": row.state,
        "hash": row.sha256,
        "proposed_by": row.proposed_by,
        "proposed_at": format_time(row.proposed_at),
        "activated_by": row.activated_by or None,
        "effective_at": format_time(row.effective_at) if row.effective_at else None,
    }


def warned(found: list[LintWarning]) -> list[dict[str, Any]]:
    return [warning.document() for warning in found]


def yaml_body(request: Request) -> bytes:
    check_media_type(request, YAML)
    return read_body(request, MAX_BYTES + 1, "body_too_large")


class RuleSetList(LedgerView):
    def get_permissions(self) -> list[Any]:
        if self.request.method == "POST":
            return [allow(scope=None, write=("operator",))()]
        return [allow(scope=None, read=READERS)()]

    @extend_schema(operation_id="ruleset_list", responses={200: OpenApiTypes.OBJECT})
    def get(self, request: Request) -> HttpResponse:
        requests.parameters(request)
        rows = rulesets.version_page(scope=self.scope(request))
        return json_answer({"results": [version_document(row) for row in rows]})

    @extend_schema(
        operation_id="ruleset_propose",
        request={YAML: OpenApiTypes.STR},
        responses={201: OpenApiTypes.OBJECT},
    )
    def post(self, request: Request) -> HttpResponse:
        principal = self.principal(request)
        row, found = ruleset_import(
            log=default_log_of(principal), source=yaml_body(request), actor=actor_of(principal), now=utc_now()
        )
        return json_answer(version_document(row) | {"warnings": warned(found)}, 201)


class RuleSetValidate(LedgerView):
    permission_classes = [allow(scope=None, write=READERS)]

    @extend_schema(
        operation_id="ruleset_validate",
        request={YAML: OpenApiTypes.STR},
        responses={200: OpenApiTypes.OBJECT},
    )
    def post(self, request: Request) -> HttpResponse:
        loaded, found = ruleset_validate(source=yaml_body(request), now=utc_now())
        return json_answer({"valid": True, "hash": loaded.hash, "warnings": warned(found)})


class RuleSetVersionDetail(LedgerView):
    renderer_classes = serves(YAML)
    permission_classes = [allow(scope=None, read=READERS)]

    @extend_schema(
        operation_id="ruleset_version_get",
        parameters=[OpenApiParameter("format", description="yaml: the file as it was imported.")],
        responses={200: OpenApiTypes.OBJECT},
    )
    def get(self, request: Request, slug: str, number: str) -> HttpResponse:
        values = requests.parameters(request, "format")
        if values.get("format", "yaml") != "yaml":
            raise BadRequest("bad_value", "format is yaml or left out")
        row = rulesets.version_of(scope=self.scope(request), slug=slug, number=bodies.number(number))
        if "format" in values:
            return HttpResponse(row.source_yaml, content_type=f"{YAML}; charset=utf-8")
        return json_answer(version_document(row) | {"source_yaml": row.source_yaml})


class RuleSetState(LedgerView):
    permission_classes = [allow(scope=None, write=("admin",))]

    @extend_schema(
        operation_id="ruleset_state", request=OpenApiTypes.OBJECT, responses={200: OpenApiTypes.OBJECT}
    )
    def post(self, request: Request, slug: str, number: str) -> HttpResponse:
        principal = self.principal(request)
        document = bodies.body(request, ("to", "reason"))
        to = bodies.choice(document, "to", VersionState)
        row = rulesets.version_of(scope=self.scope(request), slug=slug, number=bodies.number(number))
        changed = ruleset_state_change(
            log=default_log_of(principal), version=row, to=to, reason=bodies.text(document, "reason"),
            actor=actor_of(principal), now=utc_now(),
        )  # fmt: skip
        return json_answer(version_document(changed))


class RuleSetDiff(LedgerView):
    permission_classes = [allow(scope=None, read=READERS)]

    @extend_schema(
        operation_id="ruleset_diff",
        parameters=[OpenApiParameter("against", int, required=True, description="The older version.")],
        responses={200: OpenApiTypes.OBJECT},
    )
    def get(self, request: Request, slug: str, number: str) -> HttpResponse:
        values = requests.parameters(request, "against")
        against = requests.required(values, "against")
        scope = self.scope(request)
        new = rulesets.version_of(scope=scope, slug=slug, number=bodies.number(number))
        old = rulesets.version_of(scope=scope, slug=slug, number=against)
        found = difference(rulesets.calculator_of(old).ruleset, rulesets.calculator_of(new).ruleset)
        return json_answer({"id": slug, "old": against, "new": new.version} | found.document())


# --- standing bypasses and reviews


class StandingList(LedgerView):
    permission_classes = [allow(scope=None, read=("auditor", "operator", "admin"), write=("operator",))]

    @extend_schema(operation_id="standing_list", responses={200: OpenApiTypes.OBJECT})
    def get(self, request: Request) -> HttpResponse:
        requests.parameters(request)
        now = utc_now()
        rows = advices.standing_bypasses(scope=self.scope(request)).order_by("-starts_at", "-pk")[:200]
        return json_answer({"results": [advices.standing_document(row, now) for row in rows]})

    @extend_schema(
        operation_id="standing_start", request=OpenApiTypes.OBJECT, responses={201: OpenApiTypes.OBJECT}
    )
    def post(self, request: Request) -> HttpResponse:
        principal, now = self.principal(request), utc_now()
        document = bodies.body(request, ("reason_text",), ("rules", "agents", "actions", "expires_at"))
        if "expires_at" not in document:
            raise BadRequest("expiry_required", pointer="/expires_at")
        row = following.standing_start(
            log=default_log_of(principal), rules=bodies.names(document, "rules"),
            agents=bodies.names(document, "agents"), actions=bodies.names(document, "actions"),
            reason_text=bodies.text(document, "reason_text"), expires_at=bodies.time(document, "expires_at"),
            actor=actor_of(principal), now=now,
        )  # fmt: skip
        return json_answer(advices.standing_document(row, now), 201)


class StandingDetail(LedgerView):
    permission_classes = [allow(scope=None, write=("operator",))]

    @extend_schema(operation_id="standing_end", responses={200: OpenApiTypes.OBJECT})
    def delete(self, request: Request, uid: str) -> HttpResponse:
        principal, now = self.principal(request), utc_now()
        row = advices.standing_of(scope=self.scope(request), uid=requests.uid_of(uid))
        ended = following.standing_end(
            log=default_log_of(principal), standing=row, actor=actor_of(principal), now=now
        )
        return json_answer(advices.standing_document(ended, now))


class BypassList(LedgerView):
    permission_classes = [allow(scope=None, read=("viewer", "auditor", "operator", "admin"))]

    @extend_schema(
        operation_id="bypass_list",
        parameters=[
            OpenApiParameter("review", description="due: those that wait for a review."),
            OpenApiParameter("page_size", description="1 to 200, default 50."),
            OpenApiParameter("cursor", description="From `next` of the page before."),
        ],
        responses={200: OpenApiTypes.OBJECT},
    )
    def get(self, request: Request) -> HttpResponse:
        scope = self.scope(request)
        values = requests.parameters(request, "review", "page_size", "cursor")
        if values.get("review", "due") != "due":
            raise BadRequest("bad_value", "review is due or left out")
        size = page_size(values)
        seal = CursorSeal("bypass-list", scope.organisation_id, values)
        page = advices.bypass_page(
            scope=scope, due="review" in values, before=seal.read(values.get("cursor")), size=size
        )
        rows, more = page[:size], len(page) > size
        return json_answer(
            {
                "results": [advices.bypass_document(row) for row in rows],
                "next": seal.write(rows[-1].pk.int) if more else None,
            }
        )


class BypassReview(LedgerView):
    permission_classes = [allow(scope=None, write=("auditor",))]

    @extend_schema(
        operation_id="bypass_review", request=OpenApiTypes.OBJECT, responses={200: OpenApiTypes.OBJECT}
    )
    def post(self, request: Request, uid: str) -> HttpResponse:
        principal = self.principal(request)
        document = bodies.body(request, ("verdict",), ("note",))
        verdict = bodies.choice(document, "verdict", Verdict)
        row = advices.bypass_of(scope=self.scope(request), uid=requests.uid_of(uid))
        reviewed = following.bypass_review(
            log=default_log_of(principal), bypass=row, verdict=verdict,
            note=bodies.text(document, "note", _NOTE), actor=actor_of(principal), now=utc_now(),
        )  # fmt: skip
        return json_answer(advices.bypass_document(reviewed))
