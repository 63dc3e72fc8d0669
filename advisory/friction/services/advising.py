"""Giving advice: facts, rules, one entry, one row (FRICTION 1, 3 and 6). Nothing here stops an agent."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from django.db.models import F

from advisory.friction import metrics
from advisory.friction.core import statements
from advisory.friction.models import (
    AdviceMode,
    AdvisoryMode,
    DryRunCount,
    FrictionAdvice,
    FrictionNotice,
    FrictionWait,
)
from advisory.friction.selectors import advice as advices
from advisory.friction.selectors.inforce import in_force
from advisory.friction.services.evaluating import (
    advice_row,
    advice_statement,
    evaluate,
    is_private,
)
from advisory.friction.services.notifying import first_notices
from advisory.friction.services.queueing import waits
from advisory.friction.services.storing import Derived, together
from ecp_project.kernel import canonical
from ecp_project.kernel.errors import Conflict
from ecp_project.kernel.ids import new_uuid7
from ledger import sequencer
from ledger.core.decision import Part
from ledger.core.sealing import OPENING_BYTES, commitment
from ledger.core.statement import validate
from ledger.selectors.entries import OrgScope, agent_status
from ledger.services.ledger import TransparencyLedger, plain_work, refuse_agent
from ledger.services.sealing import request_mac, seal_parts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    import psycopg
    from django.db.models import Model

    from advisory.friction.selectors.inforce import InForce
    from advisory.friction.services.evaluating import Evaluated
    from advisory.friction.services.storing import Rows
    from ecp_project.api.authentication import Principal
    from ledger.core.decision import DecisionRecord
    from ledger.models import Log
    from ledger.rows import Work

# An agent that asks the same again may be shopping for milder advice; it shows.
_REPEATED = Derived(
    "repeat_of_id",
    """(
    SELECT id FROM friction_frictionadvice
    WHERE organisation_id = {organisation_id} AND input_sha256 = {input_sha256} AND agent = {agent}
        AND evaluated_at >= {evaluated_at} - interval '24 hours' AND mode <> 'shadow'
    ORDER BY id DESC LIMIT 1
)""",
)

# Members of a proposal that people may read beside the advice; the rest is private and stays with the facts.
_SHOWN = ("action", "agent", "explanation", "model", "subject", "alternatives", "risk", "zone")


def advice_give(
    *,
    log: Log,
    record: DecisionRecord,
    proposal: Mapping[str, Any],
    principal: Principal,
    actor: str,
    key: str | None,
    previous: UUID | None,
    now: datetime,
) -> tuple[FrictionAdvice, bool]:
    """Advise on a proposal; returns the row, and whether it is the first answer to a repeated request."""
    scope = _judged_caller(log, record, principal)
    mac = request_mac(canonical.encode_any({"proposal": dict(proposal), "previous": str(previous)}), now)
    if key is not None and (first := _first_answer(scope, key, mac)) is not None:
        return first, True
    earlier = advices.advice_of(scope=scope, uid=previous) if previous is not None else None
    rules = in_force(organisation_id=log.organisation.id, at=now)
    judge = partial(evaluate, log=log, agent=record.agent, action=record.action, proposal=proposal, now=now)
    evaluated = judge(version=rules.active)
    shadow = judge(version=rules.shadow) if rules.shadow is not None else None
    stored_as = AdviceMode.OBSERVER if rules.mode is AdvisoryMode.OBSERVER else AdviceMode.ACTIVE
    prepare = partial(_prepared, log=log, record=record, rules=rules, actor=actor, mac=mac, now=now)
    with sequencer.batcher.building():
        row, rows, work = prepare(
            evaluated=evaluated, mode=stored_as, uid=UUID(key or new_uuid7(now)), earlier=earlier,
        )  # fmt: skip
        works = [work]
        if shadow is not None:
            works.append(prepare(evaluated=shadow, mode=AdviceMode.SHADOW, uid=UUID(new_uuid7(now))).work)
    try:
        row.entry_seq = TransparencyLedger(log).append_together(works)[0].seq
    except Conflict:  # an equal request with the same key was faster, or the id names something else
        first = _first_answer(scope, str(row.pk), mac)
        if first is None:
            raise
        return first, True
    row.repeat_of_id = rows.derived()
    _counted(row, evaluated)
    return row, False


def advice_try(
    *,
    log: Log,
    record: DecisionRecord,
    proposal: Mapping[str, Any],
    principal: Principal,
    now: datetime,
) -> dict[str, Any]:
    """What the advice would be. Nothing is stored, but an agent's dry runs are counted."""
    _judged_caller(log, record, principal)
    rules = in_force(organisation_id=log.organisation.id, at=now)
    evaluated = evaluate(
        version=rules.active, log=log, agent=record.agent, action=record.action, proposal=proposal, now=now
    )
    if principal.agent_slug is not None:
        DryRunCount.objects.get_or_create(
            organisation_id=log.organisation.id, agent=record.agent, day=now.date()
        )
        DryRunCount.objects.filter(
            organisation_id=log.organisation.id, agent=record.agent, day=now.date()
        ).update(count=F("count") + 1)
    row = FrictionAdvice(
        id=UUID(new_uuid7(now)),
        agent=record.agent,
        action=record.action,
        mode=AdviceMode.OBSERVER if rules.mode is AdvisoryMode.OBSERVER else AdviceMode.ACTIVE,
        level=evaluated.level,
        score=evaluated.advice.score if evaluated.advice else 0,
        input_sha256=evaluated.input_sha256,
        evaluated_at=now,
        entry_seq=0,
        result=evaluated.told,
    )
    document = advices.advice_document(row, log=log.origin, staff=principal.kind == "staff")
    for name in ("id", "entry", "links"):
        document.pop(name, None)
    return document | {"dry_run": True}


def _judged_caller(log: Log, record: DecisionRecord, principal: Principal) -> OrgScope:
    status = principal.agent_status
    if principal.agent_slug != record.agent:
        status = agent_status(organisation_id=log.organisation.id, slug=record.agent)
    refuse_agent(principal, {record.agent: status}, record.agent, at="/proposal/agent")
    agents = frozenset({record.agent}) if principal.agent_slug is not None else None
    return OrgScope(log.organisation.id, agents)


def _first_answer(scope: OrgScope, key: str, mac: bytes) -> FrictionAdvice | None:
    first = advices.advice(scope=scope).filter(pk=key).first()
    if first is not None and bytes(first.request_mac) != mac:
        raise Conflict("id_reused", "this Idempotency-Key belongs to another request")
    return first


# --- storing


class _Prepared(NamedTuple):
    """Ready to be stored in one transaction; `rows` holds the advice and what goes with it."""

    advice: FrictionAdvice
    rows: Rows
    work: Work


def _prepared(
    *,
    log: Log,
    record: DecisionRecord,
    rules: InForce,
    evaluated: Evaluated,
    uid: UUID,
    mode: AdviceMode,
    actor: str,
    mac: bytes,
    now: datetime,
    earlier: FrictionAdvice | None = None,
) -> _Prepared:
    standing = None
    if rules.has_standing and mode is AdviceMode.ACTIVE and evaluated.steps:
        fired = [one.rule for one in evaluated.advice.fired] if evaluated.advice else []
        standing = advices.standing_for(
            scope=OrgScope(log.organisation.id), agent=record.agent, action=record.action, fired=fired, at=now
        )
    part = _private_part(uid, evaluated)
    stmt, raw = advice_statement(
        log=log, agent=record.agent, evaluated=evaluated, uid=uid, mode=mode, actor=actor, part=part, now=now,
        earlier=earlier, standing=standing,
    )  # fmt: skip
    row = advice_row(
        log=log, agent=record.agent, action=record.action, evaluated=evaluated, uid=uid, mode=mode,
        actor=actor, now=now,
    )  # fmt: skip
    row.input_sha256, row.request_mac = evaluated.input_sha256, mac
    row.proposal = {name: value for name in _SHOWN if (value := getattr(record, name)) is not None}
    row.previous_advice, row.standing = earlier, standing
    validate(stmt)
    work = plain_work(stmt, raw)
    work.parts, work.keys = seal_parts(
        origin=log.origin, organisation=log.organisation.slug, uid=uid, parts=[part],
        data_subject=record.data_subject, data_subjects={}, now=now,
    )  # fmt: skip
    beside: list[tuple[type[Model], Mapping[str, Any]]] = [(FrictionAdvice, vars(row))]
    if mode is AdviceMode.ACTIVE:
        beside += ((FrictionWait, one) for one in waits(advice=row, now=now))
        notices = first_notices(advice=row, targets=rules.targets, now=now)
        beside += ((FrictionNotice, one) for one in notices)
    rows = together(beside, None if mode is AdviceMode.SHADOW else _REPEATED)
    work.beside = partial(_insert, rows)
    return _Prepared(row, rows, work)


def _insert(rows: Rows, cursor: psycopg.Cursor[Any], seq: int) -> None:
    rows.insert(cursor, entry_seq=seq)


def _private_part(uid: UUID, evaluated: Evaluated) -> Part:
    """All that came out of the private proposal, sealed."""
    private = {
        "facts": [
            {"field": fact["field"], "value": fact.get("value")}
            for fact in evaluated.facts
            if is_private(fact)
        ],
        "input_sha256": evaluated.input_sha256,
    }
    opening, value = os.urandom(OPENING_BYTES), canonical.encode_any(private)
    return Part(
        statements.FACTS_PTR, opening, value, commitment(opening, str(uid), statements.FACTS_PTR, value)
    )


def _counted(row: FrictionAdvice, evaluated: Evaluated) -> None:
    metrics.SUGGESTIONS.labels(level=row.level, mode=row.mode).inc()
    for one in evaluated.advice.fired if evaluated.advice else ():
        metrics.rule_fired(one.rule, one.via).inc()
