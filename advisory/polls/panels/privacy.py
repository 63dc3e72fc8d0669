"""The quoted reason of a minority on the pages of a poll: who hid or showed it, and what may follow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from advisory.polls.models import State
from advisory.polls.panels import words
from advisory.polls.panels.addresses import record_url
from advisory.polls.selectors import privacy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from advisory.polls.models import Poll, PollMinorityAct

HIDE, SHOW = "hide-minority", "show-minority"


def step_after(poll: Poll, acts: Sequence[PollMinorityAct]) -> str:
    """The step that can follow; empty while there is nothing to hide."""
    if poll.state != State.CLOSED or not privacy.quoted(poll):
        return ""
    return SHOW if privacy.is_hidden(acts) else HIDE


def is_offered(poll: Poll, step: str) -> bool:
    if step in {HIDE, SHOW}:
        return step == step_after(poll, privacy.acts_of(poll))
    return step in words.OFFERED.get(poll.state, ())


def told(acts: Sequence[PollMinorityAct]) -> list[dict[str, object]]:
    return [{"act": act, "url": record_url(act.id)} for act in acts]
