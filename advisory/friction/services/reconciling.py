"""Linking decisions with their advice, so that silence cannot hide a bypass (FRICTION 1).

The reconciler reads the log behind its own cursor; the ledger knows nothing of it. One slice is one
transaction: links, bypass entries and the cursor come together, and a second reconciler waits for its turn.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import connection, transaction

from advisory.friction import metrics
from advisory.friction.core.sources import ACTION, from_body, is_body
from advisory.friction.core.steps import PRE_ACTION
from advisory.friction.core.values import FactState
from advisory.friction.models import (
    AdviceMode,
    AdvisoryMode,
    FrictionAdvice,
    FrictionInvalidLink,
    LinkFault,
    Outcome,
    ReasonCode,
)
from advisory.friction.selectors import rulesets
from advisory.friction.services.decided import decided_body
from advisory.friction.services.following import SYSTEM, bypass_store
from advisory.friction.services.linking import DECISION, advice_named
from ecp_project.kernel import canonical
from ecp_project.kernel.ids import new_uuid7
from ledger.core.entry import parse_entry
from ledger.models import POSITIONS_PER_LOG, Cursor, Entry

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ledger.models import Log

NAME = "friction.reconcile"
SLICE = 2_000
MOST_OURS = 200
ERASURE = "ecp.erasure/1"
ERASED = "(erased)"
# Without a level a decision names its advice by a reference, if at all; statements are canonical bytes.
_LOOK_SQL = """
SELECT id, kind,
    kind = %s AND (level IS NOT NULL OR position('"rel":"advice"'::bytea IN entry) > 0) OR kind = %s
FROM ledger_entry WHERE id >= %s AND id < %s ORDER BY id
"""
UNDECLARED = "steps were neither completed nor bypassed before the decision"


def reconcile(*, log: Log, now: datetime, limit: int = SLICE) -> int:
    """Read at most `limit` further positions; returns how many. Safe to run twice, or at once."""
    with transaction.atomic():
        Cursor.objects.get_or_create(name=NAME, log_id=log.id)
        cursor = Cursor.objects.select_for_update().get(name=NAME, log_id=log.id)
        base = log.id * POSITIONS_PER_LOG
        found = _looked_through(base + cursor.next_seq, base + cursor.next_seq + limit)
        if not found:
            return 0
        ours = [id_ for id_, _, is_ours in found if is_ours]
        if len(ours) > MOST_OURS:  # the rest in the next slice: the log waits while this one appends
            found = [seen for seen in found if seen[0] < ours[MOST_OURS]]
            ours = ours[:MOST_OURS]
        Cursor.objects.filter(name=NAME, log_id=log.id).update(next_seq=found[-1][0] - base + 1)
        if rulesets.mode_of_organisation(log.organisation.id) == AdvisoryMode.FRICTION:
            metrics.UNADVISED.inc(sum(kind == DECISION and not is_ours for _, kind, is_ours in found))
        for entry in Entry.objects.filter(id__in=ours).order_by("id"):
            if entry.kind == DECISION:
                _decided(log, entry, now)
            else:
                _erased(log, entry, now)
    return len(found)


def _looked_through(first: int, end: int) -> list[tuple[int, str, bool]]:
    """Id and kind of each entry, and whether it is ours: an erasure, or a decision that names an advice."""
    with connection.cursor() as cursor:
        cursor.execute(_LOOK_SQL, (DECISION, ERASURE, first, end))
        return list(cursor.fetchall())


def _decided(log: Log, entry: Entry, now: datetime) -> None:
    stmt = parse_entry(bytes(entry.entry)).stmt
    named = advice_named(stmt)
    if named is None:  # its context holds the words that were looked for
        return
    advice = (
        FrictionAdvice.objects.select_for_update(of=("self",))
        .select_related("standing")
        .filter(pk=named, organisation_id=log.organisation.id, agent=stmt["agent"], decision_id__isnull=True)
        .first()
    )
    if advice is None:  # the decision stands all the same, and shows that its link does not
        _refuse_link(log, entry, stmt["agent"], UUID(named), now)
        return
    advice.decision_id, advice.decided_at, advice.linked_at = entry.uid, entry.rcvd, now
    advice.changed_fields = changed_fields(log, advice, stmt)
    advice.save(update_fields=["decision_id", "decided_at", "linked_at", "changed_fields"])
    if advice.mode == AdviceMode.ACTIVE:
        _bypassed(log, advice, stmt, entry, now)


def _refuse_link(log: Log, entry: Entry, agent: str, named: UUID, now: datetime) -> None:
    """Of another agent or organisation is unknown here: nobody learns what others were advised."""
    own = FrictionAdvice.objects.filter(pk=named, organisation_id=log.organisation.id, agent=agent)
    FrictionInvalidLink.objects.get_or_create(
        decision_id=entry.uid,
        defaults={
            "organisation_id": log.organisation.id,
            "advice_id": named,
            "fault": LinkFault.TAKEN if own.exists() else LinkFault.UNKNOWN,
            "found_at": now,
        },
    )


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
    body, is_whole = decided_body(log, stmt)
    return [
        fact["field"]
        for fact in advice.facts
        if is_body(fact["from"])
        and (is_whole or fact["from"] == ACTION)
        and not _is_same(fact.get("value"), from_body(fact["from"], body))
    ]


def _is_same(advised: Any, decided: Any) -> bool:
    """A sealed `7.0` comes back as `7`, since that is its RFC 8785 form; the advice had read it as "7"."""
    if type(advised) is str and type(decided) is int:
        return advised == str(decided)
    return canonical.encode_any(advised) == canonical.encode_any(decided)


# --- erasure


def _erased(log: Log, entry: Entry, now: datetime) -> None:
    """Forget in our rows what the ledger has erased: values, and the sentences that quote them."""
    ids = {part["id"] for part in parse_entry(bytes(entry.entry)).stmt["parts"]}
    rows = FrictionAdvice.objects.select_for_update().filter(
        pk__in=ids, organisation_id=log.organisation.id, facts_erased_at__isnull=True
    )
    for row in rows:
        for fact in row.facts:
            if is_body(fact["from"]) or "sensitive" in fact:
                fact.pop("value", None)
                fact["state"] = FactState.MISSING.value
        # An older process may have stored one after the migration that took them out.
        row.result = {name: value for name, value in row.result.items() if name != "trace"} | {
            "fired": [one | {"reason": ERASED} for one in row.result["fired"]],
            "explanation": ERASED,
        }
        row.proposal = {"action": row.action, "agent": row.agent}
        row.input_sha256, row.facts_erased_at = "", now
        row.save(update_fields=["facts", "result", "proposal", "input_sha256", "facts_erased_at"])
