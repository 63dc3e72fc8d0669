"""Giving advice: facts, rules, one entry, one row (FRICTION 1, 3 and 6). Nothing here stops an agent."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import F

from advisory.friction import metrics
from advisory.friction.core import statements
from advisory.friction.core.calculator import (
    ADVISORY_NOTE,
    ENGINE,
    FrictionCalculator,
    explained,
    input_sha256,
)
from advisory.friction.core.sources import CLOCK, from_body, history_of, is_body, is_context
from advisory.friction.core.values import FactState
from advisory.friction.models import AdviceMode, AdvisoryMode, DryRunCount, FrictionAdvice
from advisory.friction.selectors import advice as advices
from advisory.friction.selectors import rulesets
from advisory.friction.selectors.history import history_facts
from advisory.friction.services.notifying import notices_first
from advisory.friction.services.queueing import steps_wait
from advisory.friction.services.rulesets import ruleset_named
from ecp_project.kernel import canonical
from ecp_project.kernel.clock import format_time
from ecp_project.kernel.errors import Conflict
from ecp_project.kernel.ids import new_uuid7
from ledger.core.decision import Part
from ledger.core.sealing import OPENING_BYTES, commitment
from ledger.selectors.entries import OrgScope, agent_status
from ledger.services.ledger import TransparencyLedger, refuse_agent
from ledger.services.sealing import request_mac, seal_parts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from advisory.friction.core.calculator import Advice, Fact
    from advisory.friction.models import FrictionRuleSetVersion, StandingBypass
    from advisory.friction.selectors.history import HistoryFact
    from ecp_project.api.authentication import Principal
    from ledger.core.decision import DecisionRecord
    from ledger.models import Log

REPEAT_WITHIN = timedelta(hours=24)
NO_RULES = "no_active_ruleset"

# Members of a proposal that people may read beside the advice; the rest is private and stays with the facts.
_SHOWN = ("action", "agent", "explanation", "model", "subject", "alternatives", "risk", "zone")


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One evaluation on its way to the log; `version` is None where no rules are in force."""

    version: FrictionRuleSetVersion | None
    advice: Advice | None
    facts: list[dict[str, Any]]
    input_sha256: str
    elapsed_us: int

    @property
    def level(self) -> str:
        return self.advice.level if self.advice else "low"

    @property
    def steps(self) -> list[dict[str, Any]]:
        return [{"n": n, **step} for n, step in enumerate(self.advice.steps, start=1)] if self.advice else []


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
    mode = AdvisoryMode(rulesets.mode_of_organisation(log.organisation.id))
    version = rulesets.version_in_force(scope=OrgScope(log.organisation.id), at=now)
    evaluated = _evaluated(log, record, proposal, version, now)
    shadow = _shadow(log, record, proposal, now)
    uid = UUID(key) if key is not None else UUID(new_uuid7(now))
    stored_as = AdviceMode.OBSERVER if mode is AdvisoryMode.OBSERVER else AdviceMode.ACTIVE
    try:
        with transaction.atomic():
            row = _stored(
                log,
                record,
                evaluated,
                uid=uid,
                mode=stored_as,
                actor=actor,
                mac=mac,
                earlier=earlier,
                now=now,
            )
            if shadow is not None:
                _stored(
                    log, record, shadow, uid=UUID(new_uuid7(now)), mode=AdviceMode.SHADOW, actor=actor,
                    mac=mac, earlier=None, now=now,
                )  # fmt: skip
    except (
        IntegrityError,
        Conflict,
    ):  # an equal request with the same key was faster, or the id names something else
        first = _first_answer(scope, str(uid), mac)
        if first is None:
            raise
        return first, True
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
    version = rulesets.version_in_force(scope=OrgScope(log.organisation.id), at=now)
    evaluated = _evaluated(log, record, proposal, version, now)
    if principal.agent_slug is not None:
        DryRunCount.objects.get_or_create(
            organisation_id=log.organisation.id, agent=record.agent, day=now.date()
        )
        DryRunCount.objects.filter(
            organisation_id=log.organisation.id, agent=record.agent, day=now.date()
        ).update(count=F("count") + 1)
    mode = AdvisoryMode(rulesets.mode_of_organisation(log.organisation.id))
    row = FrictionAdvice(
        id=UUID(new_uuid7(now)),
        agent=record.agent,
        action=record.action,
        mode=AdviceMode.OBSERVER if mode is AdvisoryMode.OBSERVER else AdviceMode.ACTIVE,
        level=evaluated.level,
        score=evaluated.advice.score if evaluated.advice else 0,
        input_sha256=evaluated.input_sha256,
        evaluated_at=now,
        entry_seq=0,
        result=_result(evaluated, trace=False),
    )
    document = advices.advice_document(row, log=log.origin, staff=principal.kind == "staff")
    for name in ("id", "entry", "links"):
        document.pop(name, None)
    return document | {"dry_run": True}


def evaluate_version(
    *,
    log: Log,
    record: DecisionRecord,
    proposal: Mapping[str, Any],
    version: FrictionRuleSetVersion,
    now: datetime,
) -> Advice:
    """Judge a proposal under one version, in force or not; nothing is stored and nothing counted."""
    advice = _evaluated(log, record, proposal, version, now).advice
    assert advice is not None, version.pk
    return advice


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


# --- evaluating


def _shadow(log: Log, record: DecisionRecord, proposal: Mapping[str, Any], now: datetime) -> Evaluated | None:
    version = rulesets.shadow_version(scope=OrgScope(log.organisation.id))
    return _evaluated(log, record, proposal, version, now) if version is not None else None


def _evaluated(
    log: Log,
    record: DecisionRecord,
    proposal: Mapping[str, Any],
    version: FrictionRuleSetVersion | None,
    now: datetime,
) -> Evaluated:
    if version is None:
        return Evaluated(None, None, [], input_sha256({"action": record.action}), 0)
    calculator = rulesets.calculator_of(version)
    values, origins = _values(calculator, log, record, proposal, now)
    started = time.perf_counter()
    advice = calculator.evaluate_fields(values, now)
    elapsed = time.perf_counter() - started
    metrics.EVAL_SECONDS.observe(elapsed)
    facts = [_fact(fact, origins.get(fact.field)) for fact in advice.facts]
    return Evaluated(version, advice, facts, advice.input_sha256, round(elapsed * 1_000_000))


def _values(
    calculator: FrictionCalculator,
    log: Log,
    record: DecisionRecord,
    proposal: Mapping[str, Any],
    now: datetime,
) -> tuple[dict[str, Any], dict[str, HistoryFact]]:
    """Values by field name, and where those of the past were read.

    A body field is read whether or not a rule in force uses it: the input hash covers them all.
    """
    read = {field.name for field in calculator.ruleset.read_fields(now)}
    fields = [
        field for field in calculator.ruleset.fields.values() if field.name in read or is_body(field.source)
    ]
    wanted = {fact for field in fields if (fact := history_of(field.source)) is not None}
    past = history_facts(
        log=log, agent=record.agent, action=record.action, wanted=sorted(wanted, key=str), now=now
    )
    values: dict[str, Any] = {}
    origins: dict[str, HistoryFact] = {}
    for field in fields:
        if is_body(field.source):
            values[field.name] = from_body(field.source, proposal)
        elif field.source == CLOCK:
            values[field.name] = format_time(now)
        elif (fact := history_of(field.source)) is not None:
            origins[field.name] = past[fact]
            values[field.name] = past[fact].value
    return values, origins


def _fact(fact: Fact, origin: HistoryFact | None) -> dict[str, Any]:
    members: dict[str, Any] = {"field": fact.field, "from": fact.source, "state": fact.state.value}
    if fact.value is not None:
        members["value"] = fact.value
    if fact.sensitive:
        members["sensitive"] = True
    if origin is not None:
        members["as_of"] = origin.as_of
        if origin.error is not None:
            members["error"] = origin.error
    return members


# --- storing


def _stored(
    log: Log,
    record: DecisionRecord,
    evaluated: Evaluated,
    *,
    uid: UUID,
    mode: AdviceMode,
    actor: str,
    mac: bytes,
    earlier: FrictionAdvice | None,
    now: datetime,
) -> FrictionAdvice:
    scope = OrgScope(log.organisation.id)
    fired = [one.rule for one in evaluated.advice.fired] if evaluated.advice else []
    standing = None
    if mode is AdviceMode.ACTIVE and evaluated.steps:
        standing = advices.standing_for(
            scope=scope, agent=record.agent, action=record.action, fired=fired, at=now
        )
    stmt, part = _statement(
        log=log, record=record, evaluated=evaluated, uid=uid, mode=mode, actor=actor, earlier=earlier,
        standing=standing, now=now,
    )  # fmt: skip
    row = FrictionAdvice.objects.create(
        id=uid,
        organisation_id=log.organisation.id,
        agent=record.agent,
        action=record.action,
        ruleset_version=evaluated.version,
        sha256=evaluated.version.sha256 if evaluated.version else "",
        engine_version=ENGINE,
        mode=mode,
        level=evaluated.level,
        score=evaluated.advice.score if evaluated.advice else 0,
        input_sha256=evaluated.input_sha256,
        request_mac=mac,
        facts=evaluated.facts,
        proposal={name: value for name in _SHOWN if (value := getattr(record, name)) is not None},
        result=_result(evaluated, trace=True),
        evaluated_at=now,
        elapsed_us=evaluated.elapsed_us,
        entry_seq=0,
        actor=actor,
        previous_advice=earlier,
        repeat_of=_repeated(scope, record.agent, evaluated.input_sha256, now)
        if mode is not AdviceMode.SHADOW
        else None,
        standing=standing,
    )
    parts, keys = seal_parts(
        origin=log.origin, organisation=log.organisation.slug, uid=uid, parts=[part],
        data_subject=record.data_subject, data_subjects={}, now=now,
    )  # fmt: skip
    receipt = TransparencyLedger(log).append_statement(stmt, now=now, parts=parts, keys=keys)
    if receipt.is_replay:
        raise Conflict("id_reused", "this Idempotency-Key belongs to another statement")
    FrictionAdvice.objects.filter(pk=uid).update(entry_seq=receipt.stored.seq)
    row.entry_seq = receipt.stored.seq
    if mode is AdviceMode.ACTIVE:
        steps_wait(advice=row, now=now)
        notices_first(advice=row, now=now)
    return row


def _repeated(scope: OrgScope, agent: str, digest: str, now: datetime) -> FrictionAdvice | None:
    """An agent that asks the same again may be shopping for milder advice; it shows."""
    rows = FrictionAdvice.objects.filter(
        organisation_id=scope.organisation_id, agent=agent, input_sha256=digest,
        evaluated_at__gte=now - REPEAT_WITHIN,
    ).exclude(mode=AdviceMode.SHADOW)  # fmt: skip
    return rows.order_by("-pk").first()


def _result(evaluated: Evaluated, *, trace: bool) -> dict[str, Any]:
    advice = evaluated.advice
    if advice is None:
        return {
            "level": "low", "score": 0, "raw_score": 0, "level_from": "score", "ruleset": None, "fired": [],
            "undecided_rules": [], "missing_fields": [], "near_misses": [], "steps": [], "note": NO_RULES,
            "explanation": f"No rules are in force. {ADVISORY_NOTE}",
        }  # fmt: skip
    document = advice.document()
    told = {name: value for name, value in document.items() if name not in ("advisory", "blocking")}
    told["explanation"] = explained(advice)
    if trace:
        told["trace"] = [judged.document() for judged in advice.trace]
    return told


def _statement(
    *,
    log: Log,
    record: DecisionRecord,
    evaluated: Evaluated,
    uid: UUID,
    mode: AdviceMode,
    actor: str,
    earlier: FrictionAdvice | None,
    standing: StandingBypass | None,
    now: datetime,
) -> tuple[dict[str, Any], Part]:
    """The public statement, and the sealed part with all that came out of the private proposal."""
    advice = evaluated.advice
    private = {
        "facts": [
            {"field": fact["field"], "value": fact.get("value")}
            for fact in evaluated.facts
            if _is_private(fact)
        ],
        "input_sha256": evaluated.input_sha256,
    }
    opening, value = os.urandom(OPENING_BYTES), canonical.encode_any(private)
    part = Part(
        statements.FACTS_PTR, opening, value, commitment(opening, str(uid), statements.FACTS_PTR, value)
    )
    told = _result(evaluated, trace=False)
    stmt: dict[str, Any] = {
        "v": statements.ADVICE,
        "id": str(uid),
        "org": log.organisation.slug,
        "ts": format_time(now),
        "actor": actor,
        "agent": record.agent,
        "engine": ENGINE,
        "mode": mode.value,
        "evaluated_at": format_time(now),
        "facts": [_public_fact(fact) for fact in evaluated.facts],
        "sealed": [{"ptr": part.ptr, "c": part.c}],
        "level": evaluated.level,
        "score": told["score"],
        "raw_score": told["raw_score"],
        "level_from": told["level_from"],
        "fired": [{name: one[name] for name in ("rule", "points", "via")} for one in told["fired"]],
        "undecided_rules": told["undecided_rules"],
        "missing_fields": told["missing_fields"],
        "steps": told["steps"],
    }
    if evaluated.version is not None and advice is not None:
        stmt["ruleset"] = ruleset_named(evaluated.version)
    if earlier is not None:
        stmt["previous_advice_id"] = str(earlier.id)
    if standing is not None:
        stmt["standing_bypass"] = str(standing.id)
    if len(canonical.encode(stmt)) > canonical.MAX_STATEMENT_BYTES:
        for name in ("facts", "fired"):
            stmt[f"{name}_sha256"] = input_sha256({name: stmt.pop(name)})
        stmt["detached"] = True
    return stmt, part


def _is_private(fact: Mapping[str, Any]) -> bool:
    return is_context(fact["from"]) or "sensitive" in fact


def _public_fact(fact: Mapping[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {name: fact[name] for name in ("field", "from", "state")}
    if fact["state"] == FactState.PRESENT.value and not _is_private(fact):
        shown["value"] = fact["value"]
    as_of: dict[str, Any] = fact.get("as_of", {})
    return shown | as_of


def _counted(row: FrictionAdvice, evaluated: Evaluated) -> None:
    metrics.SUGGESTIONS.labels(level=row.level, mode=row.mode).inc()
    for one in evaluated.advice.fired if evaluated.advice else ():
        metrics.RULE_FIRED.labels(rule=one.rule, via=one.via).inc()
