"""Linking decisions with their advice, so that silence cannot hide a bypass (FRICTION 1).

The reconciler reads the log behind its own cursor; the ledger knows nothing of it. One slice is one
transaction: links, bypass entries and the cursor come together, and a second reconciler waits for its turn.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import transaction

from advisory.friction import metrics
from advisory.friction.core.sources import ACTION, from_body, is_body
from advisory.friction.core.steps import PRE_ACTION
from advisory.friction.core.values import FactState
from advisory.friction.models import AdviceMode, AdvisoryMode, FrictionAdvice, Outcome, ReasonCode
from advisory.friction.selectors import rulesets
from advisory.friction.services.following import SYSTEM, bypass_store
from ecp_project.kernel import canonical
from ecp_project.kernel.ids import new_uuid7
from ledger.core.entry import parse_entry
from ledger.models import POSITIONS_PER_LOG, Cursor, Entry
from ledger.services.sealing import open_parts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ledger.models import Log

NAME = "friction.reconcile"
SLICE = 200
DECISION = "ecp.decision/1"
ERASURE = "ecp.erasure/1"
ERASED = "(erased)"
UNDECLARED = "steps were neither completed nor bypassed before the decision"


def reconcile(*, log: Log, now: datetime, limit: int = SLICE) -> int:
    """Read at most `limit` further entries; returns how many. Safe to run twice, or at once."""
    with transaction.atomic():
        Cursor.objects.get_or_create(name=NAME, log_id=log.id)
        cursor = Cursor.objects.select_for_update().get(name=NAME, log_id=log.id)
        base = log.id * POSITIONS_PER_LOG
        entries = list(
            Entry.objects.filter(
                id__gte=base + cursor.next_seq, id__lt=base + cursor.next_seq + limit
            ).order_by("id")
        )
        if not entries:
            return 0
        Cursor.objects.filter(name=NAME, log_id=log.id).update(next_seq=entries[-1].id - base + 1)
        gives_advice = rulesets.mode_of_organisation(log.organisation.id) == AdvisoryMode.FRICTION
        for entry in entries:
            if entry.kind == DECISION:
                _decided(log, entry, now, gives_advice=gives_advice)
            elif entry.kind == ERASURE:
                _erased(log, entry, now)
    return len(entries)


def _decided(log: Log, entry: Entry, now: datetime, *, gives_advice: bool) -> None:
    stmt = parse_entry(bytes(entry.entry)).stmt
    named = stmt.get("advisory", {}).get("advice_id")
    if named is None:
        named = next((ref["id"] for ref in stmt.get("refs", ()) if ref["rel"] == "advice"), None)
    if named is None:
        if gives_advice:
            metrics.UNADVISED.inc()
        return
    advice = (
        FrictionAdvice.objects.select_for_update(of=("self",))
        .select_related("standing")
        .filter(pk=named, organisation_id=log.organisation.id, agent=stmt["agent"], decision_id__isnull=True)
        .first()
    )
    if advice is None:  # unknown, of somebody else, or linked already: the decision stands all the same
        return
    advice.decision_id, advice.decided_at, advice.linked_at = entry.uid, entry.rcvd, now
    advice.changed_fields = changed_fields(log, advice, stmt)
    advice.save(update_fields=["decision_id", "decided_at", "linked_at", "changed_fields"])
    if advice.mode == AdviceMode.ACTIVE:
        _bypassed(log, advice, stmt, entry, now)


def _bypassed(log: Log, advice: FrictionAdvice, stmt: Mapping[str, Any], entry: Entry, now: datetime) -> None:
    """At most one record: under the standing bypass, as the decision declares, or as nobody declared."""
    declared = [bypass for bypass in advice.bypasses.all() if bypass.at <= entry.rcvd]
    said = stmt.get("advisory", {})
    left = _left_undone(advice, entry.rcvd)
    agent = f"agent:{advice.agent}"
    store: dict[str, Any] = {
        "log": log, "advice": advice, "uid": UUID(new_uuid7(now)), "now": now, "decision_id": entry.uid,
        "by_reconciler": True,
    }  # fmt: skip
    if advice.standing is not None:
        bypass_store(
            **store,
            steps=left,
            reason_code=ReasonCode.STANDING.value,
            reason_text=advice.standing.reason,
            actor=SYSTEM,
        )
    elif said.get("bypassed") and not declared:
        bypass_store(
            **store,
            steps=left,
            reason_code=ReasonCode.OTHER.value,
            reason_text=said["bypass_reason"],
            actor=agent,
        )
    elif left:
        bypass_store(
            **store, steps=left, reason_code=ReasonCode.UNDECLARED.value, reason_text=UNDECLARED, actor=SYSTEM
        )


def _left_undone(advice: FrictionAdvice, acted_at: datetime) -> list[int]:
    """Steps before acting that nobody completed or bypassed by then; a delay is done by waiting."""
    people: dict[int, set[str]] = {}
    gone = {n for bypass in advice.bypasses.all() if bypass.at <= acted_at for n in bypass.steps}
    for outcome in advice.outcomes.filter(at__lte=acted_at):
        if outcome.outcome == Outcome.NOT_APPLICABLE:
            gone.add(outcome.n)
        elif outcome.outcome == Outcome.COMPLETED:
            people.setdefault(outcome.n, set()).add(outcome.actor)
    waited = acted_at - advice.evaluated_at
    return [
        step["n"]
        for step in advice.result["steps"]
        if step["type"] in PRE_ACTION
        and step["n"] not in gone
        and len(people.get(step["n"], ())) < step.get("count", 1)
        and not (step["type"] == "delay" and waited >= timedelta(minutes=step["minutes"]))
    ]


# --- whether the advice was for this proposal


def changed_fields(log: Log, advice: FrictionAdvice, stmt: Mapping[str, Any]) -> list[str]:
    """Fields whose value in the decision is not that of the advice; what was erased tells nothing."""
    if advice.facts_erased_at is not None:
        return []
    body, erased = _decided_body(log, stmt)
    return [
        fact["field"]
        for fact in advice.facts
        if is_body(fact["from"])
        and not (erased and fact["from"] != ACTION)
        and not _is_same(fact.get("value"), from_body(fact["from"], body))
    ]


def _is_same(advised: Any, decided: Any) -> bool:
    """A sealed `7.0` comes back as `7`, since that is its RFC 8785 form; the advice had read it as "7"."""
    if type(advised) is str and type(decided) is int:
        return advised == str(decided)
    return canonical.encode_any(advised) == canonical.encode_any(decided)


def _decided_body(log: Log, stmt: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """The decision as it was submitted, as far as its private parts still exist."""
    sealed = {part["ptr"] for part in stmt.get("sealed", ())}
    parts = open_parts(log_id=log.id, origin=log.origin, uid=UUID(stmt["id"])) if sealed else []
    context = {
        name: value
        for name, value in stmt.get("context_summary", {}).items()
        if name != "_other" and f"/context/{name}" not in sealed
    }
    for part in parts:
        if part.ptr == "/context/_other":
            context |= json.loads(part.value_jcs)
        elif part.ptr.startswith("/context/"):
            context[part.ptr.removeprefix("/context/")] = json.loads(part.value_jcs)
    return {"action": stmt["action"], "context": context}, len(parts) < len(sealed)


# --- erasure


def _erased(log: Log, entry: Entry, now: datetime) -> None:
    """Forget in our rows what the ledger has erased: values, and the sentences and traces that quote them."""
    ids = {part["id"] for part in parse_entry(bytes(entry.entry)).stmt["parts"]}
    rows = FrictionAdvice.objects.select_for_update().filter(
        pk__in=ids, organisation_id=log.organisation.id, facts_erased_at__isnull=True
    )
    for row in rows:
        for fact in row.facts:
            if is_body(fact["from"]) or "sensitive" in fact:
                fact.pop("value", None)
                fact["state"] = FactState.MISSING.value
        row.result = {name: value for name, value in row.result.items() if name != "trace"} | {
            "fired": [one | {"reason": ERASED} for one in row.result["fired"]],
            "explanation": ERASED,
        }
        row.proposal = {"action": row.action, "agent": row.agent}
        row.input_sha256, row.facts_erased_at = "", now
        row.save(update_fields=["facts", "result", "proposal", "input_sha256", "facts_erased_at"])
