"""Steps of a poll, each with a confirmation of its own; and answers that a person types in for an agent."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from django.utils.translation import gettext as _

from advisory.polls.core import bodies
from advisory.polls.models import State
from advisory.polls.panels import privacy, words
from advisory.polls.panels.addresses import (
    BY_HAND,
    POLL,
    STEP,
    is_taking,
    poll_named,
    url,
)
from advisory.polls.selectors import console
from advisory.polls.services import NetworkOpinionPoll, answers
from ecp_project.kernel.errors import EcpError, NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from advisory.polls.models import Poll
    from ecp_project.kernel.panels import PanelContext

NEED_REASON = frozenset({"cancel", privacy.HIDE, privacy.SHOW})


def _step_named(about: PanelContext) -> str:
    step = about.given.get("step", "")
    if step not in words.STEPS:
        raise NotFound("not_found", "there is no such step")
    return step


def confirmation(about: PanelContext) -> dict[str, object]:
    """What the step makes irrevocable, and the button that does it."""
    poll, step = poll_named(about), _step_named(about)
    is_early = step == "close" and poll.deadline is not None and about.now < poll.deadline
    return {
        "poll": poll,
        "words": words.STEPS[step],
        "state": words.STATES[poll.state],
        "is_possible": privacy.is_offered(poll, step),
        "needs_reason": step in NEED_REASON or is_early,
        "numbers": _numbers(poll, step),
        "url": url(STEP, about, poll=poll.id, step=step),
        "back_url": url(POLL, about, poll=poll.id),
        "is_taking": is_taking(about),
        "reason": "",
    }


def _numbers(poll: Poll, step: str) -> str:
    """What the step is about, in numbers."""
    if step == "commit":
        return _("Up to %(n)s agents will be asked, with %(minutes)s minutes to answer.") % {
            "n": f"{poll.n:,}", "minutes": f"{poll.deadline_minutes:,}",
        }  # fmt: skip
    drawn = sum(one["n"] for one in poll.strata)
    if step in {"draw", "open"}:
        return _("%(drawn)s of %(of)s agents.") % {"drawn": f"{drawn:,}", "of": f"{poll.frame_size or 0:,}"}
    if poll.state == State.OPEN:
        answered = console.deliveries_of(poll)["answered"]
        return _("%(answered)s of %(drawn)s agents have answered.") % {
            "answered": f"{answered:,}", "drawn": f"{drawn:,}",
        }  # fmt: skip
    return ""


def take_step(about: PanelContext, form: Mapping[str, str]) -> str | Mapping[str, object]:
    poll, step = poll_named(about), _step_named(about)
    reason = form.get("reason", "")
    face = NetworkOpinionPoll(poll)
    try:
        if step == "commit":
            face.commit(actor=about.actor, now=about.now)
        elif step == "draw":
            face.draw(actor=about.actor, now=about.now)
        elif step == "open":
            face.open(actor=about.actor, now=about.now)
        elif step == "close":
            face.close(actor=about.actor, now=about.now, reason=reason or None)
        elif step == privacy.HIDE:
            face.hide_minority(actor=about.actor, now=about.now, reason=reason)
        elif step == privacy.SHOW:
            face.show_minority(actor=about.actor, now=about.now, reason=reason)
        else:
            face.cancel(actor=about.actor, now=about.now, reason=reason)
    except EcpError as problem:
        return confirmation(about) | {"problem": problem, "reason": reason}
    return url(POLL, about, poll=poll.id, done=step)


# --- answers by hand


def by_hand(about: PanelContext) -> dict[str, object]:
    poll = poll_named(about)
    return {
        "poll": poll,
        "waiting": console.waiting_by_hand(poll) if poll.state == State.OPEN else [],
        "url": url(BY_HAND, about, poll=poll.id),
        "back_url": url(POLL, about, poll=poll.id),
        "is_taking": is_taking(about),
        "given": {},
        "was_recorded": "done" in about.given,
    }


def answer_by_hand(about: PanelContext, form: Mapping[str, str]) -> str | Mapping[str, object]:
    poll = poll_named(about)
    names = ("invitation_id", "choice", "reason", "rationale")
    entry = {name: form[name] for name in names if form.get(name)}
    try:
        bodies.checked(bodies.MANUAL, entry)
        answers.answer_enter(
            poll_id=poll.id, entry=entry, pseudonym=UUID(about.actor.removeprefix("staff:")), now=about.now
        )
    except EcpError as problem:
        field = (problem.pointer or "").rpartition("/")[2]
        faulty = field if field in {"choice", "reason"} else ""
        return by_hand(about) | {"problem": problem, "faulty": faulty, "given": form}
    return url(BY_HAND, about, poll=poll.id, done="yes")
