"""What API, tasks and console call. `NetworkOpinionPoll` is the face of it (POLLS, first paragraph)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from advisory.polls import selectors
from advisory.polls.services import answers, lifecycle, privacy

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from advisory.polls.models import Poll, PollMinorityAct
    from ledger.models import Agent


class NetworkOpinionPoll:
    """One poll, from its commitment to its proof. It describes what agents think and decides nothing."""

    def __init__(self, poll: Poll) -> None:
        self.row = poll

    def commit(self, *, actor: str, now: datetime) -> Poll:
        return lifecycle.poll_commit(poll_id=self.row.id, actor=actor, now=now)

    def draw(self, *, actor: str, now: datetime) -> Poll:
        return lifecycle.poll_draw(poll_id=self.row.id, actor=actor, now=now)

    def open(self, *, actor: str, now: datetime) -> Poll:
        return lifecycle.poll_open(poll_id=self.row.id, actor=actor, now=now)

    def receive(self, *, document: Mapping[str, Any], agent: Agent, now: datetime) -> answers.Received:
        return answers.answer_receive(poll_id=self.row.id, document=document, agent_id=agent.id, now=now)

    def close(self, *, actor: str, now: datetime, reason: str | None = None) -> Poll:
        return lifecycle.poll_close(poll_id=self.row.id, actor=actor, now=now, reason=reason)

    def cancel(self, *, actor: str, now: datetime, reason: str) -> Poll:
        return lifecycle.poll_cancel(poll_id=self.row.id, actor=actor, now=now, reason=reason)

    def hide_minority(self, *, actor: str, now: datetime, reason: str) -> PollMinorityAct:
        return privacy.minority_hide(poll_id=self.row.id, actor=actor, now=now, reason=reason)

    def show_minority(self, *, actor: str, now: datetime, reason: str) -> PollMinorityAct:
        return privacy.minority_show(poll_id=self.row.id, actor=actor, now=now, reason=reason)

    def results(self) -> dict[str, Any]:
        return selectors.results_of(self.row)

    def proof(self) -> dict[str, Any]:
        return selectors.proof_of(self.row)
