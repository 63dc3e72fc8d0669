"""What a person answers to a step: done, declined with a reason, or a comment (FRICTION 10.1).

The agent is not held up by any of it; it learns of the answer when it looks, or at its endpoint.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import transaction

from advisory.friction.models import FrictionAdvice, FrictionComment, Outcome
from advisory.friction.selectors.people import office_of
from advisory.friction.services.following import outcome_record
from advisory.friction.services.telling import agent_tell
from ecp_project.kernel.errors import BadRequest, Conflict, PermissionDenied
from ecp_project.kernel.ids import new_uuid7
from ledger.core.fields import Text, visible_characters
from ledger.core.statement import build_annotation
from ledger.selectors.entries import OrgScope
from ledger.services.ledger import TransparencyLedger

if TYPE_CHECKING:
    from datetime import datetime

    from ledger.models import Log

MIN_REASON = 10
_NOTE = Text(0, 2_000)


class Answer(Enum):
    DONE = "done"
    DECLINED = "declined"
    COMMENT = "comment"


def step_answer(
    *,
    log: Log,
    advice: FrictionAdvice,
    n: int,
    answer: Answer,
    note: str,
    evidence_url: str,
    actor: str,
    now: datetime,
) -> None:
    """Record what a person says of a step that waits for people."""
    step = next((step for step in advice.result["steps"] if step["n"] == n), None)
    if step is None:
        raise BadRequest("step_unknown", f"the advice has no step {n}")
    office = office_of(scope=OrgScope(advice.organisation_id), actor=actor)
    if office is None:
        raise PermissionDenied("role_missing")
    if bar := office.bar(advice, step):
        raise PermissionDenied("role_missing", bar)
    if answer is not Answer.COMMENT and office.has_answered(advice, n):
        raise Conflict("step_already_done", f"you have answered step {n}; it waits for another person")
    _NOTE.check(note)
    if answer is not Answer.DONE:
        _refuse_short(note)
    if evidence_url and not evidence_url.startswith(("https://", "http://")):
        raise BadRequest(
            "bad_value", "the address must begin with https:// or http://", pointer="/evidence_url"
        )
    _NOTE.check(evidence_url)
    if answer is Answer.COMMENT:
        _comment(log=log, advice=advice, n=n, text=note, actor=actor, now=now)
        return
    outcome_record(
        log=log, advice=advice, n=n, note=note, evidence_url=evidence_url, actor=actor, now=now,
        outcome=Outcome.COMPLETED if answer is Answer.DONE else Outcome.SKIPPED,
    )  # fmt: skip


def _refuse_short(note: str) -> None:
    visible = visible_characters(note)
    if visible < MIN_REASON:
        detail = f"the text has {visible} visible characters, at least {MIN_REASON} are needed"
        raise BadRequest("explanation_too_short", detail, pointer="/note", visible=visible)


def _comment(*, log: Log, advice: FrictionAdvice, n: int, text: str, actor: str, now: datetime) -> None:
    uid = new_uuid7(now)
    stmt = build_annotation(
        id_=uid, org=log.organisation.slug, ts=now, actor=actor, kind="note", target=str(advice.pk),
        text=f"step {n}: {text}",
    )  # fmt: skip
    with transaction.atomic():
        said = FrictionComment.objects.create(
            id=UUID(uid), advice=advice, n=n, actor=actor, text=text, at=now
        )
        agent_tell(said=said, now=now)
        TransparencyLedger(log).append_statement(stmt, now=now)
