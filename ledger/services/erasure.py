"""Erasure of private values.

Requests by one person, approval by another, one transaction (LEDGER section 14).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import transaction

from ecp_project.kernel.errors import Conflict, PermissionDenied
from ecp_project.kernel.ids import new_uuid7
from ledger.core.statement import build_erasure
from ledger.models import ErasureRequest, Log, SealedPart, SubjectKey, Submission
from ledger.services.ledger import Receipt, TransparencyLedger, lock_head
from ledger.services.sealing import forget_keys, handle_mac
from ledger.services.staff import staff_act

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime
    from uuid import UUID

    from django.db.models import QuerySet

PARTS_PER_ENTRY = 256


def erasure_request(
    *,
    log: Log,
    basis: str,
    requested_by: str,
    now: datetime,
    uid: UUID | None = None,
    handle: str | None = None,
    reason: str = "",
) -> ErasureRequest:
    """Keep a request until another person approves it; asking twice keeps the first.

    About one decision, or about a data subject by the handle, of which only the MAC is stored.
    """
    target: dict[str, Any] = {"uid": uid}
    if handle is not None:
        target = {"handle_mac": handle_mac(log.organisation.slug, handle, now)}
    with transaction.atomic():
        lock_head(log)  # two at once would both find none
        waiting = ErasureRequest.objects.filter(log=log, run__isnull=True, withdrawn_at__isnull=True)
        found = waiting.filter(**target).first()
        if found is not None:
            return found
        request = ErasureRequest.objects.create(
            log=log, basis=basis, reason=reason, requested_by=requested_by, requested_at=now, **target
        )
        _act(request, "propose", by=requested_by, reason=reason, now=now)
    return request


def erasure_approve(*, request: ErasureRequest, approved_by: str, now: datetime) -> ErasureRequest:
    """A second person agrees; the next run carries it out. Whoever approves first is the one who did."""
    with transaction.atomic():
        lock_head(request.log)  # the run locks in this order too
        row = ErasureRequest.objects.select_for_update().get(pk=request.pk)
        if approved_by == row.requested_by:
            raise PermissionDenied(
                "role_missing", "another person than the one who asked must approve an erasure"
            )
        if row.withdrawn_by:
            raise Conflict("erasure_state", "this erasure was withdrawn")
        if not row.approved_by:
            row.approved_by, row.approved_at = approved_by, now
            row.save(update_fields=["approved_by", "approved_at"])
            _act(row, "approve", by=approved_by, reason="", now=now)
    request.refresh_from_db()
    return request


def erasure_withdraw(*, request: ErasureRequest, withdrawn_by: str, now: datetime) -> ErasureRequest:
    """Take a request back that no run has carried out, approved or not. What is erased stays erased."""
    with transaction.atomic():
        lock_head(request.log)  # the run locks in this order too
        row = ErasureRequest.objects.select_for_update().get(pk=request.pk)
        if row.run is not None:
            raise Conflict("erasure_state", "this erasure has been carried out")
        if not row.withdrawn_by:
            row.withdrawn_by, row.withdrawn_at = withdrawn_by, now
            row.save(update_fields=["withdrawn_by", "withdrawn_at"])
            _act(row, "withdraw", by=withdrawn_by, reason="", now=now)
    request.refresh_from_db()
    return request


def _act(request: ErasureRequest, verb: str, *, by: str, reason: str, now: datetime) -> None:
    """One `ecp.staff/1`. That of a decision joins its timeline; that of a person names nobody."""
    log = Log.objects.select_related("organisation").get(pk=request.log_id)
    staff_act(
        organisation=log.organisation,
        actor=by,
        action=f"erasure.{verb}",
        object_=f"decision:{request.uid}" if request.uid else f"erasure:{request.pk}",
        now=now,
        reason=reason or None,
        detail={"basis": str(request.basis), "log": log.slug, "request": request.pk},
    )


def erase_subject(*, log: Log, handle: str, basis: str, actor: str, now: datetime) -> list[Receipt]:
    """Delete the data subject's key, every part under it, and what would tell a retry of those records."""
    mac = handle_mac(log.organisation.slug, handle, now)
    with transaction.atomic():
        lock_head(log)
        keys = _locked(SubjectKey.objects.filter(handle_mac=mac))
        rows = parts_under(log, keys)
        _, receipts = erase_parts(log, rows, basis=basis, actor=actor, requested_at=now, now=now)
        SubjectKey.objects.filter(id__in=keys).delete()
        transaction.on_commit(forget_keys)
    return receipts


def erase_decision(*, log: Log, uid: UUID, basis: str, actor: str, now: datetime) -> list[Receipt]:
    """Delete the parts of one decision; a subject's key stays while other parts use it."""
    with transaction.atomic():
        lock_head(log)
        rows = SealedPart.objects.filter(log=log, uid=uid)
        keys = _locked(SubjectKey.objects.filter(id__in=list(rows.values_list("subject_key_id", flat=True))))
        _, receipts = erase_parts(log, rows, basis=basis, actor=actor, requested_at=now, now=now)
        used = set(
            SealedPart.objects.filter(subject_key_id__in=keys).values_list("subject_key_id", flat=True)
        )
        SubjectKey.objects.filter(id__in=set(keys) - used).delete()
        transaction.on_commit(forget_keys)
    return receipts


def _locked(keys: QuerySet[SubjectKey]) -> list[UUID]:
    """Ids of the keys that are still there once an erasure under way is over."""
    return list(keys.select_for_update().values_list("id", flat=True))


def parts_under(log: Log, keys: Collection[UUID]) -> QuerySet[SealedPart]:
    """Everything sealed under these keys, in all logs of the organisation: they share its data subjects."""
    logs = list(Log.objects.filter(organisation_id=log.organisation_id).values_list("id", flat=True))
    rows: QuerySet[SealedPart] = SealedPart.objects.filter(log_id__in=logs, subject_key_id__in=keys)
    return rows


def erase_parts(
    log: Log,
    rows: QuerySet[SealedPart],
    *,
    basis: str,
    actor: str,
    requested_at: datetime,
    now: datetime,
) -> tuple[str, list[Receipt]]:
    """Id of the run and its entries, inside the caller's transaction, which holds the head's lock.

    The caller sees to the keys.
    """
    found = list(rows.values_list("log_id", "uid", "ptr"))
    for log_id in {log_id for log_id, _, _ in found}:
        uids = {uid for of_log, uid, _ in found if of_log == log_id}
        Submission.objects.filter(log_id=log_id, uid__in=uids).delete()
    rows.delete()
    parts = sorted({(str(uid), ptr) for _, uid, ptr in found})
    run, total = new_uuid7(now), -(-len(parts) // PARTS_PER_ENTRY)
    ledger = TransparencyLedger(log)
    receipts = []
    for number in range(total):
        stmt = build_erasure(
            id_=new_uuid7(now),
            org=log.organisation.slug,
            ts=now,
            actor=actor,
            basis=basis,
            requested_at=requested_at,
            run=run,
            part=number + 1,
            of=total,
            parts=parts[number * PARTS_PER_ENTRY : (number + 1) * PARTS_PER_ENTRY],
        )
        receipts.append(ledger.append_statement(stmt, now=now))
    return run, receipts
