"""What becomes of advice: outcomes of steps, bypasses, standing bypasses, reviews (FRICTION 6)."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import IntegrityError, transaction

from advisory.friction import metrics
from advisory.friction.core import statements
from advisory.friction.core.waiting import PEOPLE_STEPS
from advisory.friction.models import (
    MAX_STANDING,
    AdviceMode,
    FrictionAdvice,
    FrictionBypass,
    FrictionStepOutcome,
    Level,
    Outcome,
    ReasonCode,
    StandingBypass,
    Verdict,
)
from advisory.friction.selectors import advice as advices
from advisory.friction.selectors.people import office_of
from advisory.friction.services.queueing import steps_settle
from advisory.friction.services.telling import agent_tell
from ecp_project.kernel.clock import format_time
from ecp_project.kernel.errors import BadRequest, Conflict, PermissionDenied
from ecp_project.kernel.ids import new_uuid7
from ledger.core.fields import short_reason, visible_characters
from ledger.core.statement import build_annotation
from ledger.selectors.entries import OrgScope
from ledger.services.ledger import TransparencyLedger
from ledger.services.staff import staff_act

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from ledger.models import Log

REVIEW_WITHIN = {Level.HIGH: timedelta(hours=24), Level.MEDIUM: timedelta(days=7)}
SYSTEM = "system:friction"
LOOK_S = 0.2


def kind_of(actor: str) -> str:
    """`staff`, `agent` or `system`."""
    return actor.partition(":")[0]


def refuse_short_bypass(reason: str) -> None:
    if detail := short_reason(reason):
        seen = visible_characters(reason)
        raise BadRequest("bypass_reason_too_short", detail, pointer="/reason_text", visible=seen)


def change_await(*, advice: FrictionAdvice, seen: int | None, seconds: int) -> None:
    """Return once more has become of an advice than was seen, at the latest after `seconds`."""
    deadline = time.monotonic() + seconds
    known = advices.change_count(uid=advice.pk) if seen is None else seen
    while advices.change_count(uid=advice.pk) == known and time.monotonic() < deadline:
        time.sleep(LOOK_S)


# --- bypass


def bypass_record(
    *,
    log: Log,
    advice: FrictionAdvice,
    steps: Sequence[int] | None,
    reason_code: str,
    reason_text: str,
    actor: str,
    key: str | None,
    now: datetime,
) -> tuple[FrictionBypass, bool]:
    """Record that advice is not followed; `steps` None means all that are left.

    Returns the row, and whether it is the first answer to a repeated request.
    """
    if reason_code not in statements.REASON_CODES:
        allowed = ", ".join(statements.REASON_CODES)
        raise BadRequest("value_invalid", f"reason_code must be one of {allowed}", pointer="/reason_code")
    refuse_short_bypass(reason_text)
    with transaction.atomic():
        row = _locked(advice)
        if key is not None and (first := FrictionBypass.objects.filter(pk=key).first()) is not None:
            if (first.advice_id, first.reason_code, first.reason_text) != (row.pk, reason_code, reason_text):
                raise Conflict("id_reused", "this Idempotency-Key belongs to another request")
            return first, True
        chosen = _steps_to_bypass(row, steps)
        stored = bypass_store(
            log=log, advice=row, steps=chosen, reason_code=reason_code, reason_text=reason_text, actor=actor,
            uid=UUID(key) if key is not None else UUID(new_uuid7(now)), now=now,
        )  # fmt: skip
    return stored, False


def _locked(advice: FrictionAdvice) -> FrictionAdvice:
    return FrictionAdvice.objects.select_for_update().get(pk=advice.pk)


def _steps_to_bypass(row: FrictionAdvice, steps: Sequence[int] | None) -> list[int]:
    if row.mode != AdviceMode.ACTIVE:
        raise Conflict("state_invalid", "nothing was suggested, so nothing can be bypassed")
    suggested = [step["n"] for step in row.result["steps"]]
    gone = advices.steps_done(row) | advices.steps_bypassed(row)
    if steps is None:
        left = [n for n in suggested if n not in gone]
        if not left:
            raise Conflict("step_already_done", "no step is left to bypass")
        return left
    for n in steps:
        if n not in suggested:
            raise BadRequest("step_unknown", f"the advice has no step {n}", pointer="/steps")
        if n in gone:
            raise Conflict("step_already_done", f"step {n} is done or bypassed already", pointer="/steps")
    return sorted(set(steps))


def bypass_store(
    *,
    log: Log,
    advice: FrictionAdvice,
    steps: list[int],
    reason_code: str,
    reason_text: str,
    actor: str,
    uid: UUID,
    now: datetime,
    decision_id: UUID | None = None,
    by_reconciler: bool = False,
) -> FrictionBypass:
    """Write row and entry inside the caller's transaction, which holds the advice's row."""
    agent = f"agent:{advice.agent}"
    standing = advice.standing if reason_code == ReasonCode.STANDING else None
    due = REVIEW_WITHIN.get(Level(advice.level))
    before = FrictionBypass.objects.filter(actor=actor, advice__organisation_id=advice.organisation_id)
    last = before.order_by("-pk").values_list("reason_text", flat=True).first()
    row = FrictionBypass.objects.create(
        id=uid,
        advice=advice,
        steps=steps,
        reason_code=reason_code,
        reason_text=reason_text,
        actor=actor,
        actor_kind=kind_of(actor),
        on_behalf_of=agent if actor != agent else "",
        by_reconciler=by_reconciler,
        same_text=kind_of(actor) != "system" and last == reason_text,
        standing=standing,
        at=now,
        review_due_at=now + due if due is not None else None,
        entry_seq=0,
    )
    stmt: dict[str, Any] = {
        "v": statements.BYPASS,
        "id": str(uid),
        "org": log.organisation.slug,
        "ts": format_time(now),
        "actor": actor,
        "advice_id": str(advice.pk),
        "steps": steps,
        "reason_code": reason_code,
        "reason_text": reason_text,
    }
    if row.on_behalf_of:
        stmt["on_behalf_of"] = row.on_behalf_of
    if decision_id is not None:
        stmt["decision_id"] = str(decision_id)
    if standing is not None:
        stmt["standing"] = _standing_named(standing)
    row.entry_seq = TransparencyLedger(log).append_statement(stmt, now=now).stored.seq
    row.save(update_fields=["entry_seq"])
    level, code = advice.level, reason_code
    steps_settle(advice=advice, steps=steps, now=now)
    transaction.on_commit(lambda: metrics.BYPASSES.labels(level=level, reason_code=code).inc())
    return row


def bypass_review(
    *, log: Log, bypass: FrictionBypass, verdict: Verdict, note: str, actor: str, now: datetime
) -> FrictionBypass:
    """Say what is thought of a bypass; once, by a person who is not its actor."""
    with transaction.atomic():
        row = FrictionBypass.objects.select_for_update().get(pk=bypass.pk)
        if row.review_verdict:
            raise Conflict("state_invalid", "this bypass has been reviewed")
        if row.actor == actor:
            raise PermissionDenied("four_eyes", "nobody reviews a bypass of their own")
        row.review_verdict, row.reviewed_by, row.reviewed_at = verdict, actor, now
        row.save(update_fields=["review_verdict", "reviewed_by", "reviewed_at"])
        text = f"review: {verdict.value}" + (f" ({note})" if note else "")
        _annotate(
            log=log, target=str(row.pk), text=text, actor=actor, now=now,
            status="success" if verdict == Verdict.JUSTIFIED else "partial",
        )  # fmt: skip
    return row


def _annotate(*, log: Log, target: str, text: str, status: str, actor: str, now: datetime) -> None:
    uid = new_uuid7(now)
    stmt = build_annotation(
        id_=uid,
        org=log.organisation.slug,
        ts=now,
        actor=actor,
        kind="outcome",
        target=target,
        text=text,
        status=status,
    )
    TransparencyLedger(log).append_statement(stmt, now=now)


# --- outcomes of steps


def outcome_record(
    *,
    log: Log,
    advice: FrictionAdvice,
    n: int,
    outcome: Outcome,
    note: str,
    evidence_url: str,
    actor: str,
    now: datetime,
) -> FrictionStepOutcome:
    """Report on one step. An agent reports on its own steps, but signs nothing off as a second person."""
    try:
        with transaction.atomic():
            row = _locked(advice)
            step = next((step for step in row.result["steps"] if step["n"] == n), None)
            if step is None or row.mode != AdviceMode.ACTIVE:
                raise BadRequest("step_unknown", f"the advice has no step {n}")
            if kind_of(actor) == "agent" and step["type"] == "second_review" and outcome == Outcome.COMPLETED:
                raise PermissionDenied("role_missing", "a second review is a person's to complete")
            if n in advices.steps_done(row):
                raise Conflict("step_already_done", f"step {n} is done already")
            _refuse_person(row, step, outcome, actor)
            text = f"step {n} {step['type']}: {outcome.value}"
            is_success = outcome in (Outcome.COMPLETED, Outcome.NOT_APPLICABLE)
            stored = FrictionStepOutcome(
                advice=row, n=n, outcome=outcome, actor=actor, actor_kind=kind_of(actor), note=note,
                evidence_url=evidence_url, at=now, id=UUID(new_uuid7(now)),
            )  # fmt: skip
            stored.save(force_insert=True)
            agent_tell(said=stored, now=now)
            stmt = build_annotation(
                id_=str(stored.id), org=log.organisation.slug, ts=now, actor=actor, kind="outcome",
                target=str(row.pk), text=text, status="success" if is_success else "partial",
            )  # fmt: skip
            TransparencyLedger(log).append_statement(stmt, now=now)
            # A review by two waits on after the first; an answer that completes nothing ends the waiting.
            if outcome != Outcome.COMPLETED or n in advices.steps_done(row):
                steps_settle(advice=row, steps=[n], now=now)
    except IntegrityError:  # one person completes a step once
        raise Conflict("step_already_done", f"you have completed step {n} already") from None
    return stored


def _refuse_person(row: FrictionAdvice, step: Mapping[str, Any], outcome: Outcome, actor: str) -> None:
    """Steps for people are answered by whoever holds their role, and never by one person twice."""
    if step["type"] not in PEOPLE_STEPS or outcome not in (Outcome.COMPLETED, Outcome.SKIPPED):
        return
    office = office_of(scope=OrgScope(row.organisation_id), actor=actor)
    if office is not None and (bar := office.bar(row, step)):
        raise PermissionDenied("role_missing", bar)


# --- standing bypasses


def standing_start(
    *,
    log: Log,
    rules: list[str],
    agents: list[str],
    actions: list[str],
    reason_text: str,
    expires_at: datetime,
    actor: str,
    now: datetime,
) -> StandingBypass:
    """A person answers for what is not followed from now on, for eight hours at most."""
    refuse_short_bypass(reason_text)
    if expires_at > now + MAX_STANDING:
        raise BadRequest("expiry_too_far", "a standing bypass lasts 8 hours at most", pointer="/expires_at")
    if expires_at <= now:
        raise BadRequest("bad_value", "expires_at must lie in the future", pointer="/expires_at")
    uid = new_uuid7(now)
    with transaction.atomic():
        row = StandingBypass.objects.create(
            id=UUID(uid),
            organisation_id=log.organisation.id,
            rules=rules,
            agents=agents,
            actions=actions,
            reason=reason_text,
            actor=actor,
            starts_at=now,
            expires_at=expires_at,
            entry=UUID(uid),
        )
        stmt = {
            "v": statements.BYPASS,
            "id": uid,
            "org": log.organisation.slug,
            "ts": format_time(now),
            "actor": actor,
            "standing": _standing_named(row),
            "steps": [],
            "reason_code": ReasonCode.STANDING.value,
            "reason_text": reason_text,
        }
        TransparencyLedger(log).append_statement(stmt, now=now)
    return row


def _standing_named(row: StandingBypass) -> dict[str, Any]:
    return {
        "id": str(row.pk),
        "scope": advices.standing_scope(row),
        "expires_at": format_time(row.expires_at),
    }


def standing_end(*, log: Log, standing: StandingBypass, actor: str, now: datetime) -> StandingBypass:
    """End it now; what has ended already stays as it is."""
    with transaction.atomic():
        row = StandingBypass.objects.select_for_update().get(pk=standing.pk)
        if row.ended_at is None and now < row.expires_at:
            row.ended_at = now
            row.save(update_fields=["ended_at"])
            staff_act(
                organisation=log.organisation,
                actor=actor,
                action="friction.standing_end",
                object_=str(row.pk),
                now=now,
            )
    return row
