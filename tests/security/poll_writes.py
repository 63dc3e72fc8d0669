"""Forms of the pages of polls: each step, an answer by hand, and recurring polls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from advisory.polls.core.statements import CLOSED, COMMITTED, DRAWN, RESPONSE
from advisory.polls.models import Poll, PollSchedule, State
from advisory.polls.services import lifecycle
from ecp_project.kernel.clock import utc_now
from tests.console.desk import decision, record
from tests.factories.polls import Story, furnish_polls
from tests.security.writes import LOG, TEXT, Write

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.security.writes import World

REASON = "Everybody that we need to hear has answered."
FORM = {
    "question": "Should refund batch 88 go out tonight?", "options": "support\noppose", "n": "5",
    "deadline_minutes": "60",
}  # fmt: skip
SCHEDULE = FORM | {"title": "Weekly mood", "cron": "0 9 * * 1", "timezone": "UTC", "if_open": "run"}


def furnish(world: World) -> None:
    """One poll in each state, two entries behind each commitment, so that no draw has to wait."""
    furnished = furnish_polls(world.people, world.decided.uid)
    Story(world.people).commit()
    drawn = Story(world.people).commit()
    record(world.people.log, decision(), decision())
    lifecycle.poll_draw(poll_id=drawn.id, actor="system:test", now=utc_now())
    PollSchedule.objects.filter(pk=furnished.schedule.pk).update(if_open="run")


def at(step: str, state: str) -> Callable[[World], list[Any]]:
    return lambda _: [*LOG.items(), ("poll", Poll.objects.get(state=state).id), ("step", step)]


def in_log(_: World) -> list[Any]:
    return [*LOG.items()]


def of_open_poll(_: World) -> list[Any]:
    return [*LOG.items(), ("poll", Poll.objects.get(state=State.OPEN).id)]


def nothing(_: World) -> dict[str, Any]:
    return {}


def reason(_: World) -> dict[str, Any]:
    return {"reason": REASON}


def typed_in(_: World) -> dict[str, Any]:
    invitation = Poll.objects.get(state=State.OPEN).invitations.filter(transport="manual").earliest("id")
    return {"invitation_id": invitation.id, "choice": "support", "reason": TEXT}


def set_up(_: World) -> dict[str, Any]:
    return SCHEDULE | {"do": "create"}


def pressed(do: str) -> Callable[[World], dict[str, Any]]:
    return lambda _: {"do": do, "schedule": PollSchedule.objects.get().id}


STEP, SCHEDULES = "polls/step/", "polls/schedules/"
WRITES = (
    Write(STEP, "operator", "", nothing, at("commit", State.DRAFT), v=COMMITTED),
    Write(STEP, "admin", "", nothing, at("draw", State.COMMITTED), v=DRAWN),
    Write(STEP, "admin", "polls.open", nothing, at("open", State.DRAWN)),
    Write(STEP, "operator", "", reason, at("close", State.OPEN), REASON, v=CLOSED),
    Write(STEP, "admin", "", reason, at("cancel", State.OPEN), REASON, v=CLOSED),
    Write("polls/by-hand/", "operator", "", typed_in, of_open_poll, TEXT, v=RESPONSE),
    Write(SCHEDULES, "operator", "polls.schedule_create", set_up, in_log, "Weekly mood"),
    Write(SCHEDULES, "operator", "polls.schedule_change", pressed("pause"), in_log),
    Write(SCHEDULES, "operator", "polls.schedule_run", pressed("run"), in_log),
)
UNRECORDED = {"polls/new/": "a draft, which asks nobody; committing it is on record"}
