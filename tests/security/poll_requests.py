"""What the rows of polls in the matrix are about: a poll in the right state, and the body of each act."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from advisory.polls.models import PollSchedule
from advisory.polls.services.schedules import schedule_create
from ecp_project.kernel.canonical import encode
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.ids import new_uuid7
from ledger.models import Agent
from tests.factories.polls import BODY, Story, asked_agents, brought_to, signed_answer

if TYPE_CHECKING:
    from tests.ledger.signing import Pen
    from tests.people import People

STATES = {
    "poll-list": "open", "poll-detail": "open", "poll-progress": "open", "poll-results": "closed",
    "poll-proof": "closed", "poll-responses": "closed", "poll-commit": "draft", "poll-draw": "drawn",
    "poll-open": "drawn", "poll-close": "closed", "poll-cancel": "open", "poll-manual": "open",
}  # fmt: skip
SCHEDULE = {"title": "Weekly mood", "cron": "0 9 * * 1", "template": BODY, "if_open": "run"}
WITHOUT_POLL = {"poll-size", "poll-inbox", "poll-schedule-list"}


class PollRequests:
    """Polls of Acme, made when a row asks for them: about a decision, or answered by the agent itself."""

    def __init__(self, people: People, decision_id: str, pen: Pen) -> None:
        self.people = people
        self.decision_id = decision_id
        self.pen = pen
        self._stories: dict[tuple[str, str], Story] = {}

    def story(self, route: str, method: str) -> Story:
        if (route, method) not in self._stories:
            prefix = f"voter{len(self._stories)}"
            asked_agents(self.people, 3, prefix=prefix, keys=route != "poll-manual")
            is_answer = (route, method) == ("poll-responses", "POST")
            body: dict[str, Any] = {} if is_answer else {"decision_id": self.decision_id}
            if is_answer:
                Agent.objects.filter(pk=self.people.ada_agent.agent.pk).update(accepts_polls=True)
            state = "open" if is_answer else STATES[route]
            self._stories[route, method] = brought_to(self.people, state, **body)
        return self._stories[route, method]

    def place(self, route: str, method: str, uid: str) -> dict[str, str]:
        """Arguments of the address; `uid` names something that nobody has made."""
        if route == "poll-list":
            self.story(route, method)
        if route in {*WITHOUT_POLL, "poll-list"}:
            return {}
        if route.startswith("poll-schedule-"):
            return {"schedule_id": uid or self._schedule(method)}
        return {"poll_id": uid or str(self.story(route, method).id)}

    def _schedule(self, method: str) -> str:
        if method == "GET":
            return new_uuid7(utc_now())
        found = PollSchedule.objects.filter(organisation=self.people.acme).first()
        made = found or schedule_create(
            organisation=self.people.acme, document=SCHEDULE, created_by="system:test", now=utc_now()
        )
        return str(made.id)

    def body(self, route: str, method: str, uid: str) -> bytes:
        if route == "poll-responses":
            mine = self.people.ada_agent.agent.id
            invitations = self.story(route, method).invitations()
            (invitation,) = [one for one in invitations if one.agent_id == mine]
            return encode(signed_answer(invitation, seed=self.pen.seed))
        bodies: dict[str, dict[str, Any]] = {
            "poll-list": BODY | {"decision_id": uid or self.decision_id},
            "poll-size": {"frame_size": 200, "margin_pct": 10},
            "poll-cancel": {"reason": "Nobody needs it any more."},
            "poll-schedule-list": SCHEDULE,
            "poll-schedule-detail": {"title": "Monthly mood"},
        }
        if route == "poll-manual":
            invitation = self.story(route, method).invitations()[0]
            bodies[route] = {
                "invitation_id": str(invitation.id), "choice": "support", "reason": "Asked by telephone.",
            }  # fmt: skip
        return encode(bodies.get(route, {}))
