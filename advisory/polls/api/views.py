"""REST endpoints of polls (POLLS section 6). A view parses, calls one service or selector, and renders."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema

from advisory.polls import export, selectors
from advisory.polls.core import aggregate, bodies
from advisory.polls.models import State
from advisory.polls.services import NetworkOpinionPoll, answers, delivery, lifecycle, schedules
from ecp_project.api.pagination import CursorSeal, page_size
from ecp_project.api.parsers import JSON, MAX_DOCUMENT, check_media_type, read_body, read_document
from ecp_project.api.permissions import allow
from ecp_project.api.renderers import serves
from ecp_project.api.throttling import take
from ecp_project.kernel.canonical import parse_document
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import BadRequest, PermissionDenied
from ledger.api import requests
from ledger.api.base import READERS, LedgerView, actor_of, json_answer, waiting
from ledger.models import Organisation

if TYPE_CHECKING:
    from rest_framework.request import Request

    from advisory.polls.models import Poll
    from ecp_project.api.authentication import Principal

MAKERS = ("operator", "admin")
MAX_WAIT_S = 25
STEP_S = 0.5
CSV, JSONL = "text/csv", "application/x-ndjson"

READ = allow(scope="polls:read", read=READERS)
WRITE = allow(scope="polls:write", write=MAKERS)
ANSWER = allow(scope="polls:answer")


class PollView(LedgerView):
    def poll(self, request: Request, poll_id: str) -> Poll:
        return selectors.poll_of(scope=self.scope(request), poll_id=requests.uid_of(poll_id))

    def organisation(self, request: Request) -> Organisation:
        return Organisation(id=self.principal(request).organisation_id)

    def document(self, request: Request, members: Any) -> dict[str, Any]:
        """Body with a closed set of members; no body is an empty one."""
        check_media_type(request, JSON)
        raw = read_body(request, MAX_DOCUMENT, "body_too_large")
        document = parse_document(raw) if raw.strip() else {}
        bodies.checked(members, document)
        return document


def agent_of(principal: Principal) -> int:
    """Name the agent that a key speaks for; a key of the organisation answers no question."""
    if principal.agent_id is None:
        raise PermissionDenied("agent_not_allowed", "only an agent's own key answers polls")
    return principal.agent_id


class PollList(PollView):
    """Draft a poll, or list what was asked."""

    def get_permissions(self) -> list[Any]:
        return [WRITE()] if self.request.method == "POST" else [READ()]

    @extend_schema(
        operation_id="poll_create", request=OpenApiTypes.OBJECT, responses={201: OpenApiTypes.OBJECT}
    )
    def post(self, request: Request) -> HttpResponse:
        principal = self.principal(request)
        take("poll", str(principal.organisation_id))
        poll = lifecycle.poll_create(
            organisation=self.organisation(request),
            scope=self.scope(request),
            document=read_document(request),
            created_by=actor_of(principal),
            now=utc_now(),
        )
        response = json_answer(selectors.poll_document(poll), 201)
        response.headers["Location"] = f"/api/v1/polls/{poll.id}/"
        return response

    @extend_schema(
        operation_id="poll_list",
        responses={200: OpenApiTypes.OBJECT},
        parameters=[
            OpenApiParameter(name, description=text)
            for name, text in (
                ("state", "draft, committed, drawn, open, closed or cancelled."),
                ("page_size", "1 to 200, default 50."),
                ("cursor", "From `next` of the page before."),
            )
        ],
    )
    def get(self, request: Request) -> HttpResponse:
        scope = self.scope(request)
        values = requests.parameters(request, "state", "page_size", "cursor")
        if "state" in values and values["state"] not in State.values:
            raise BadRequest("bad_value", f"state must be one of {', '.join(State.values)}")
        size = page_size(values)
        seal = CursorSeal("poll-list", scope.organisation_id, values)
        position = seal.read(values.get("cursor"))
        before = None if position is None else UUID(int=position)
        page = selectors.poll_page(scope=scope, state=values.get("state"), before=before, size=size)
        rows = page[:size]
        return json_answer(
            {
                "results": [selectors.poll_document(poll) for poll in rows],
                "next": seal.write(rows[-1].id.int) if len(page) > size else None,
            }
        )


class PollDetail(PollView):
    permission_classes = [READ]

    @extend_schema(operation_id="poll_get", responses={200: OpenApiTypes.OBJECT})
    def get(self, request: Request, poll_id: str) -> HttpResponse:
        poll = self.poll(request, poll_id)
        return json_answer(selectors.poll_document(poll) | {"earlier": selectors.earlier_polls(poll)})


class PollCommit(PollView):
    permission_classes = [WRITE]

    @extend_schema(operation_id="poll_commit", request=None, responses={200: OpenApiTypes.OBJECT})
    def post(self, request: Request, poll_id: str) -> HttpResponse:
        face = NetworkOpinionPoll(self.poll(request, poll_id))
        poll = face.commit(actor=actor_of(self.principal(request)), now=utc_now())
        return json_answer(selectors.poll_document(poll))


class PollDraw(PollView):
    permission_classes = [WRITE]

    @extend_schema(operation_id="poll_draw", request=None, responses={200: OpenApiTypes.OBJECT})
    def post(self, request: Request, poll_id: str) -> HttpResponse:
        face = NetworkOpinionPoll(self.poll(request, poll_id))
        poll = face.draw(actor=actor_of(self.principal(request)), now=utc_now())
        return json_answer(selectors.poll_document(poll))


class PollOpen(PollView):
    permission_classes = [WRITE]

    @extend_schema(operation_id="poll_open", request=None, responses={200: OpenApiTypes.OBJECT})
    def post(self, request: Request, poll_id: str) -> HttpResponse:
        face = NetworkOpinionPoll(self.poll(request, poll_id))
        poll = face.open(actor=actor_of(self.principal(request)), now=utc_now())
        return json_answer(selectors.poll_document(poll))


class PollClose(PollView):
    """Close; before the deadline this needs a reason."""

    permission_classes = [WRITE]

    @extend_schema(
        operation_id="poll_close", request=OpenApiTypes.OBJECT, responses={200: OpenApiTypes.OBJECT}
    )
    def post(self, request: Request, poll_id: str) -> HttpResponse:
        document = self.document(request, bodies.REASON)
        face = NetworkOpinionPoll(self.poll(request, poll_id))
        actor = actor_of(self.principal(request))
        poll = face.close(actor=actor, now=utc_now(), reason=document.get("reason"))
        return json_answer(selectors.poll_document(poll))


class PollCancel(PollView):
    permission_classes = [WRITE]

    @extend_schema(
        operation_id="poll_cancel", request=OpenApiTypes.OBJECT, responses={200: OpenApiTypes.OBJECT}
    )
    def post(self, request: Request, poll_id: str) -> HttpResponse:
        document = self.document(request, bodies.REASON)
        face = NetworkOpinionPoll(self.poll(request, poll_id))
        actor = actor_of(self.principal(request))
        poll = face.cancel(actor=actor, now=utc_now(), reason=document.get("reason", ""))
        return json_answer(selectors.poll_document(poll))


class PollProgress(PollView):
    permission_classes = [READ]

    @extend_schema(operation_id="poll_progress", responses={200: OpenApiTypes.OBJECT})
    def get(self, request: Request, poll_id: str) -> HttpResponse:
        return json_answer(selectors.progress_of(self.poll(request, poll_id)))


class PollResults(PollView):
    permission_classes = [READ]

    @extend_schema(operation_id="poll_results", responses={200: OpenApiTypes.OBJECT})
    def get(self, request: Request, poll_id: str) -> HttpResponse:
        return json_answer(NetworkOpinionPoll(self.poll(request, poll_id)).results())


class PollProof(PollView):
    permission_classes = [READ]

    @extend_schema(operation_id="poll_proof", responses={200: OpenApiTypes.OBJECT})
    def get(self, request: Request, poll_id: str) -> HttpResponse:
        return json_answer(NetworkOpinionPoll(self.poll(request, poll_id)).proof())


class PollResponses(PollView):
    """Answer as an invited agent, or take all answers of a closed poll."""

    renderer_classes = serves(CSV, JSONL)

    def get_permissions(self) -> list[Any]:
        return [ANSWER()] if self.request.method == "POST" else [READ()]

    @extend_schema(
        operation_id="poll_answer", request=OpenApiTypes.OBJECT, responses={201: OpenApiTypes.OBJECT}
    )
    def post(self, request: Request, poll_id: str) -> HttpResponse:
        now = utc_now()
        agent_id = agent_of(self.principal(request))
        check_media_type(request, JSON)
        raw = read_body(request, MAX_DOCUMENT, "body_too_large")
        declined = answers.declined_invitation(raw)
        if declined is not None:
            answers.answer_decline(
                poll_id=requests.uid_of(poll_id), invitation_id=declined, agent_id=agent_id, now=now
            )
            return json_answer({"declined": "yes"})
        found = answers.answer_receive(
            poll_id=requests.uid_of(poll_id), document=answers.read_answer(raw), agent_id=agent_id, now=now
        )
        return json_answer(found.document(), 200 if found.is_duplicate else 201)

    @extend_schema(
        operation_id="poll_responses",
        responses={(200, JSONL): OpenApiTypes.STR},
        parameters=[OpenApiParameter("format", description="csv or jsonl (default).")],
    )
    def get(self, request: Request, poll_id: str) -> HttpResponse:
        values = requests.parameters(request, "format")
        form = values.get("format", "jsonl")
        if form not in {"csv", "jsonl"}:
            raise BadRequest("bad_value", "format must be csv or jsonl")
        poll = self.poll(request, poll_id)
        content = export.responses_csv(poll) if form == "csv" else export.responses_jsonl(poll)
        response = HttpResponse(content, content_type=CSV if form == "csv" else JSONL)
        response.headers["Content-Disposition"] = f'attachment; filename="poll-responses.{form}"'
        return response


class PollManual(PollView):
    permission_classes = [allow(scope=None, write=("operator",))]

    @extend_schema(
        operation_id="poll_answer_by_hand",
        request=OpenApiTypes.OBJECT,
        responses={201: OpenApiTypes.OBJECT},
    )
    def post(self, request: Request, poll_id: str) -> HttpResponse:
        document = self.document(request, bodies.MANUAL)
        poll = self.poll(request, poll_id)
        pseudonym = self.principal(request).pseudonym
        assert pseudonym is not None, "a person with a role has a membership"
        found = answers.answer_enter(poll_id=poll.id, entry=document, pseudonym=pseudonym, now=utc_now())
        return json_answer(found.document(), 201)


class PollInbox(PollView):
    permission_classes = [ANSWER]

    @extend_schema(
        operation_id="poll_inbox",
        responses={200: OpenApiTypes.OBJECT},
        parameters=[OpenApiParameter("wait", description="Seconds to wait for a question, 0 to 25.")],
    )
    def get(self, request: Request) -> HttpResponse:
        values = requests.parameters(request, "wait")
        wait = requests.integer(values, "wait", 0) or 0
        if wait > MAX_WAIT_S:
            raise BadRequest("bad_value", f"wait is a whole number from 0 to {MAX_WAIT_S}")
        scope, agent_id = self.scope(request), agent_of(self.principal(request))
        found = delivery.inbox_read(scope=scope, agent_id=agent_id, now=utc_now())
        if not found and wait and waiting.acquire(blocking=False):
            try:
                end = time.monotonic() + wait
                while not found and time.monotonic() < end:
                    time.sleep(STEP_S)
                    found = delivery.inbox_read(scope=scope, agent_id=agent_id, now=utc_now())
            finally:
                waiting.release()
        return json_answer({"results": [selectors.invitation_document(one) for one in found]})


class PollSize(PollView):
    """Help with the size of a sample; nothing is stored."""

    permission_classes = [allow(scope="polls:read", write=READERS)]

    @extend_schema(
        operation_id="poll_size", request=OpenApiTypes.OBJECT, responses={200: OpenApiTypes.OBJECT}
    )
    def post(self, request: Request) -> HttpResponse:
        document = self.document(request, bodies.SIZE)
        confidence_pct = document.get("confidence_pct", 95)
        n = aggregate.sample_size(
            frame=document["frame_size"],
            margin=document["margin_pct"] / 100,
            confidence=confidence_pct / 100,
        )
        return json_answer(document | {"confidence_pct": confidence_pct, "n": n})


class ScheduleList(PollView):
    permission_classes = [allow(scope=None, read=("operator",), write=("operator",))]

    @extend_schema(operation_id="poll_schedule_list", responses={200: OpenApiTypes.OBJECT})
    def get(self, request: Request) -> HttpResponse:
        now = utc_now()
        rows = selectors.schedules(scope=self.scope(request))[: selectors.SCHEDULE_LIMIT]
        return json_answer(
            {"results": [selectors.schedule_document(row, schedules.upcoming(row, now)) for row in rows]}
        )

    @extend_schema(
        operation_id="poll_schedule_create",
        request=OpenApiTypes.OBJECT,
        responses={201: OpenApiTypes.OBJECT},
    )
    def post(self, request: Request) -> HttpResponse:
        principal, now = self.principal(request), utc_now()
        schedule = schedules.schedule_create(
            organisation=self.organisation(request),
            document=read_document(request),
            created_by=actor_of(principal),
            now=now,
        )
        return json_answer(selectors.schedule_document(schedule, schedules.upcoming(schedule, now)), 201)


class ScheduleDetail(PollView):
    permission_classes = [allow(scope=None, write=("operator",))]

    @extend_schema(
        operation_id="poll_schedule_change",
        request=OpenApiTypes.OBJECT,
        responses={200: OpenApiTypes.OBJECT},
    )
    def patch(self, request: Request, schedule_id: str) -> HttpResponse:
        found = selectors.schedule_of(scope=self.scope(request), schedule_id=requests.uid_of(schedule_id))
        actor, now = actor_of(self.principal(request)), utc_now()
        schedule = schedules.schedule_update(
            schedule_id=found.id, document=read_document(request), actor=actor, now=now
        )
        return json_answer(selectors.schedule_document(schedule, schedules.upcoming(schedule, now)))


class ScheduleRunNow(PollView):
    permission_classes = [allow(scope=None, write=("operator",))]

    @extend_schema(operation_id="poll_schedule_run", request=None, responses={201: OpenApiTypes.OBJECT})
    def post(self, request: Request, schedule_id: str) -> HttpResponse:
        found = selectors.schedule_of(scope=self.scope(request), schedule_id=requests.uid_of(schedule_id))
        run = schedules.schedule_run(
            schedule_id=found.id, actor=actor_of(self.principal(request)), now=utc_now()
        )
        document = {"poll_id": str(run.poll_id) if run.poll_id else None, "skipped": run.skipped or None}
        return json_answer(document, 201)
