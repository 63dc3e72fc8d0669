"""Observer mode: what would have been suggested for decisions that nobody asked about (FRICTION 7).

The decision keeps its private values. What is stored of the evaluation names fields, states and rules and
quotes no value, so that an erasure of the decision leaves nothing behind here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from django.db import transaction

from advisory.friction import metrics
from advisory.friction.models import AdviceMode, AdvisoryMode
from advisory.friction.selectors.inforce import in_force
from advisory.friction.services.decided import decided_body
from advisory.friction.services.evaluating import (
    Evaluated,
    advice_row,
    advice_statement,
    evaluate,
    is_private,
    told_of,
)
from advisory.friction.services.following import SYSTEM
from advisory.friction.services.linking import DECISION, advice_named
from ecp_project.kernel.ids import new_uuid7
from ledger.core.entry import parse_entry
from ledger.models import POSITIONS_PER_LOG, Cursor, Entry, Head
from ledger.services.ledger import TransparencyLedger

if TYPE_CHECKING:
    from datetime import datetime

    from advisory.friction.models import FrictionAdvice
    from ledger.models import Log

NAME = "friction.observe"
SLICE = 50  # evaluations between two commits
WITHHELD = "The values are in the decision."


def observe(*, log: Log, now: datetime, limit: int = SLICE) -> int:
    """Look at no more than `limit` further entries; returns how many. In friction mode it only keeps up."""
    rules = in_force(organisation_id=log.organisation.id, at=now)
    cursor, _ = Cursor.objects.get_or_create(name=NAME, log_id=log.id)
    if rules.mode is not AdvisoryMode.OBSERVER or rules.active is None:
        size = Head.objects.filter(log_id=log.id).values_list("size", flat=True).first() or 0
        Cursor.objects.filter(name=NAME, log_id=log.id, next_seq__lt=size).update(next_seq=size)
        return 0
    base = log.id * POSITIONS_PER_LOG
    first = base + cursor.next_seq
    entries = list(Entry.objects.filter(id__gte=first, id__lt=first + limit).order_by("id"))
    if not entries:
        return 0
    found = []
    for entry in entries:
        stmt = parse_entry(bytes(entry.entry)).stmt if entry.kind == DECISION else None
        if stmt is not None and advice_named(stmt) is None:
            body, _ = decided_body(log, stmt)
            evaluated = evaluate(
                version=rules.active,
                log=log,
                agent=stmt["agent"],
                action=stmt["action"],
                proposal=body,
                now=now,
            )
            found.append((entry, _without_values(evaluated)))
    with transaction.atomic():
        # Two at once evaluate the same; the first one to come here stores it.
        mine = Cursor.objects.select_for_update().get(name=NAME, log_id=log.id)
        if mine.next_seq != cursor.next_seq:
            return len(entries)
        Cursor.objects.filter(name=NAME, log_id=log.id).update(next_seq=entries[-1].id - base + 1)
        rows = [_row(log, entry, evaluated, now) for entry, evaluated in found]
        for row, (_, evaluated) in zip(rows, found, strict=True):
            _store(log, row, evaluated, now)
    for row in rows:
        metrics.SUGGESTIONS.labels(level=row.level, mode=row.mode).inc()
    return len(entries)


def _without_values(evaluated: Evaluated) -> Evaluated:
    facts = [
        {name: value for name, value in fact.items() if name != "value"} if is_private(fact) else fact
        for fact in evaluated.facts
    ]
    advice = evaluated.advice
    assert advice is not None
    fired = tuple(one._replace(reason=WITHHELD) for one in advice.fired)
    advice = advice._replace(fired=fired)
    return Evaluated(evaluated.version, advice, facts, "", evaluated.elapsed_us, told_of(advice))


def _row(log: Log, entry: Entry, evaluated: Evaluated, now: datetime) -> FrictionAdvice:
    row = advice_row(
        log=log, agent=entry.agent or "", action=entry.action or "", evaluated=evaluated,
        uid=UUID(new_uuid7(now)), mode=AdviceMode.OBSERVER, actor=SYSTEM, now=now,
    )  # fmt: skip
    row.decision_id, row.decided_at, row.linked_at = entry.uid, entry.rcvd, now
    return row


def _store(log: Log, row: FrictionAdvice, evaluated: Evaluated, now: datetime) -> None:
    stmt, _raw = advice_statement(
        log=log, agent=row.agent, evaluated=evaluated, uid=row.pk, mode=AdviceMode.OBSERVER, actor=SYSTEM,
        now=now,
    )  # fmt: skip
    row.entry_seq = TransparencyLedger(log).append_statement(stmt, now=now).stored.seq
    row.save(force_insert=True)
