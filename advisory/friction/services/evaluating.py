"""From a proposal to what is told of it: facts, judgement, statement and row (FRICTION 3 and 6)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from advisory.friction import metrics
from advisory.friction.core import statements
from advisory.friction.core.calculator import ADVISORY_NOTE, ENGINE, explained, input_sha256
from advisory.friction.core.sources import CLOCK, from_body, history_of, is_body, is_context
from advisory.friction.core.values import FactState
from advisory.friction.models import FrictionAdvice
from advisory.friction.selectors.history import history_facts
from ecp_project.kernel import canonical
from ecp_project.kernel.clock import format_time

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime
    from uuid import UUID

    from advisory.friction.core.calculator import Advice, Fact, FrictionCalculator
    from advisory.friction.models import AdviceMode, StandingBypass
    from advisory.friction.selectors.history import HistoryFact
    from advisory.friction.selectors.inforce import VersionRef
    from ledger.core.decision import Part
    from ledger.models import Log

NO_RULES = "no_active_ruleset"


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One evaluation on its way to the log; `version` is None where no rules are in force."""

    version: VersionRef | None
    advice: Advice | None
    facts: list[dict[str, Any]]
    input_sha256: str
    elapsed_us: int
    told: dict[str, Any]  # what the answer says of it

    @property
    def level(self) -> str:
        return self.advice.level if self.advice else "low"

    @property
    def steps(self) -> list[dict[str, Any]]:
        steps: list[dict[str, Any]] = self.told["steps"]
        return steps


def evaluate(
    *,
    version: VersionRef | None,
    log: Log,
    agent: str,
    action: str,
    proposal: Mapping[str, Any],
    now: datetime,
) -> Evaluated:
    """Gather the facts and judge them. Call it outside transactions: facts of the past have a time limit."""
    if version is None:
        return Evaluated(None, None, [], input_sha256({"action": action}), 0, told_of(None))
    calculator = version.calculator
    values, origins = _values(calculator, log, agent, action, proposal, now)
    started = time.perf_counter()
    advice = calculator.evaluate_fields(values, now)
    elapsed = time.perf_counter() - started
    metrics.EVAL_SECONDS.observe(elapsed)
    facts = [_fact(fact, origins.get(fact.field)) for fact in advice.facts]
    elapsed_us = round(elapsed * 1_000_000)
    return Evaluated(version, advice, facts, advice.input_sha256, elapsed_us, told_of(advice))


def _values(  # noqa: PLR0917 - the arguments of `evaluate`, passed on
    calculator: FrictionCalculator,
    log: Log,
    agent: str,
    action: str,
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
    past = history_facts(log=log, agent=agent, action=action, wanted=sorted(wanted, key=str), now=now)
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


def is_private(fact: Mapping[str, Any]) -> bool:
    return is_context(fact["from"]) or "sensitive" in fact


# --- what is told


def told_of(advice: Advice | None) -> dict[str, Any]:
    if advice is None:
        return {
            "level": "low", "score": 0, "raw_score": 0, "level_from": "score", "ruleset": None, "fired": [],
            "undecided_rules": [], "missing_fields": [], "near_misses": [], "steps": [], "note": NO_RULES,
            "explanation": f"No rules are in force. {ADVISORY_NOTE}",
        }  # fmt: skip
    document = advice.document()
    told = {name: value for name, value in document.items() if name not in ("advisory", "blocking")}
    return told | {"explanation": explained(advice)}


def advice_row(
    *,
    log: Log,
    agent: str,
    action: str,
    evaluated: Evaluated,
    uid: UUID,
    mode: AdviceMode,
    actor: str,
    now: datetime,
) -> FrictionAdvice:
    """The row, not yet stored, and without what only a request knows."""
    version = evaluated.version
    return FrictionAdvice(
        id=uid,
        organisation_id=log.organisation.id,
        agent=agent,
        action=action,
        ruleset_version_id=version.pk if version else None,
        sha256=version.sha256 if version else "",
        engine_version=ENGINE,
        mode=mode,
        level=evaluated.level,
        score=evaluated.advice.score if evaluated.advice else 0,
        input_sha256="",
        request_mac=b"",
        facts=evaluated.facts,
        proposal={"action": action, "agent": agent},
        result=evaluated.told,
        evaluated_at=now,
        elapsed_us=evaluated.elapsed_us,
        entry_seq=0,
        actor=actor,
    )


def advice_statement(
    *,
    log: Log,
    agent: str,
    evaluated: Evaluated,
    uid: UUID,
    mode: AdviceMode,
    actor: str,
    now: datetime,
    part: Part | None = None,
    earlier: FrictionAdvice | None = None,
    standing: StandingBypass | None = None,
) -> tuple[dict[str, Any], bytes]:
    """`ecp.friction.advice/1` and its bytes; `part` holds what is private."""
    told = evaluated.told
    stmt: dict[str, Any] = {
        "v": statements.ADVICE,
        "id": str(uid),
        "org": log.organisation.slug,
        "ts": format_time(now),
        "actor": actor,
        "agent": agent,
        "engine": ENGINE,
        "mode": mode.value,
        "evaluated_at": format_time(now),
        "facts": [_public_fact(fact) for fact in evaluated.facts],
        "level": evaluated.level,
        "score": told["score"],
        "raw_score": told["raw_score"],
        "level_from": told["level_from"],
        "fired": [{name: one[name] for name in ("rule", "points", "via")} for one in told["fired"]],
        "undecided_rules": told["undecided_rules"],
        "missing_fields": told["missing_fields"],
        "steps": told["steps"],
    }
    if part is not None:
        stmt["sealed"] = [{"ptr": part.ptr, "c": part.c}]
    if told["ruleset"] is not None:
        stmt["ruleset"] = told["ruleset"]
    if earlier is not None:
        stmt["previous_advice_id"] = str(earlier.id)
    if standing is not None:
        stmt["standing_bypass"] = str(standing.id)
    raw = canonical.encode(stmt)
    if len(raw) > canonical.MAX_STATEMENT_BYTES:
        for name in ("facts", "fired"):
            stmt[f"{name}_sha256"] = input_sha256({name: stmt.pop(name)})
        stmt["detached"] = True
        raw = canonical.encode(stmt)
    return stmt, raw


def _public_fact(fact: Mapping[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {name: fact[name] for name in ("field", "from", "state")}
    if fact["state"] == FactState.PRESENT.value and not is_private(fact):
        shown["value"] = fact["value"]
    as_of: dict[str, Any] = fact.get("as_of", {})
    return shown | as_of
