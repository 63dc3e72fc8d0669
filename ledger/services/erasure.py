"""Erasure of private values.

Requests by one person, approval by another, one transaction (LEDGER section 14).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction

from ecp_project.kernel.errors import PermissionDenied
from ecp_project.kernel.ids import new_uuid7
from ledger.core.statement import build_erasure
from ledger.models import ErasureRequest, Log, SealedPart, SubjectKey, Submission
from ledger.services.ledger import Receipt, TransparencyLedger
from ledger.services.sealing import forget_keys, handle_mac

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from uuid import UUID

PARTS_PER_ENTRY = 256


def erasure_request(*, log: Log, uid: UUID, basis: str, requested_by: str, now: datetime) -> ErasureRequest:
    """Keep a request until another person approves it; asking twice keeps the first."""
    found = ErasureRequest.objects.filter(log=log, uid=uid, run__isnull=True).first()
    if found is not None:
        return found
    return ErasureRequest.objects.create(
        log=log, uid=uid, basis=basis, requested_by=requested_by, requested_at=now
    )


def erasure_approve(*, request: ErasureRequest, approved_by: str, now: datetime) -> ErasureRequest:
    if approved_by == request.requested_by:
        raise PermissionDenied(
            "role_missing", "another person than the one who asked must approve an erasure"
        )
    request.approved_by, request.approved_at = approved_by, now
    request.save(update_fields=["approved_by", "approved_at"])
    return request


def erase_subject(*, log: Log, handle: str, basis: str, actor: str, now: datetime) -> list[Receipt]:
    """Delete the data subject's key, every part under it, and what would tell a retry of those records."""
    mac = handle_mac(log.organisation.slug, handle, now)
    with transaction.atomic():
        keys = list(
            SubjectKey.objects.select_for_update().filter(handle_mac=mac).values_list("id", flat=True)
        )
        parts = list(
            SealedPart.objects.filter(log=log, subject_key_id__in=keys)
            .order_by("uid", "ptr")
            .values_list("uid", "ptr")
        )
        _, receipts = erase_parts(log, parts, basis=basis, actor=actor, requested_at=now, now=now)
        SubjectKey.objects.filter(id__in=keys).delete()
        transaction.on_commit(forget_keys)
    return receipts


def erase_decision(*, log: Log, uid: UUID, basis: str, actor: str, now: datetime) -> list[Receipt]:
    """Delete the parts of one decision; a subject's key stays while other parts use it."""
    with transaction.atomic():
        rows = SealedPart.objects.filter(log=log, uid=uid)
        keys = set(rows.values_list("subject_key_id", flat=True))
        parts = list(rows.order_by("uid", "ptr").values_list("uid", "ptr"))
        list(SubjectKey.objects.select_for_update().filter(id__in=keys).values_list("id", flat=True))
        _, receipts = erase_parts(log, parts, basis=basis, actor=actor, requested_at=now, now=now)
        used = set(
            SealedPart.objects.filter(subject_key_id__in=keys).values_list("subject_key_id", flat=True)
        )
        SubjectKey.objects.filter(id__in=keys - used).delete()
        transaction.on_commit(forget_keys)
    return receipts


def erase_parts(
    log: Log,
    parts: Sequence[tuple[UUID, str]],
    *,
    basis: str,
    actor: str,
    requested_at: datetime,
    now: datetime,
) -> tuple[str, list[Receipt]]:
    """Id of the run and its entries, inside the caller's transaction. The caller sees to the keys.

    Rows first, the entries (and with them the head's lock) last.
    """
    uids = {uid for uid, _ in parts}
    Submission.objects.filter(log=log, uid__in=uids).delete()
    for uid, ptr in parts:
        SealedPart.objects.filter(log=log, uid=uid, ptr=ptr).delete()
    run, total = new_uuid7(now), -(-len(parts) // PARTS_PER_ENTRY)
    ledger = TransparencyLedger(log)
    receipts = []
    for number in range(total):
        chunk = parts[number * PARTS_PER_ENTRY : (number + 1) * PARTS_PER_ENTRY]
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
            parts=[(str(uid), ptr) for uid, ptr in chunk],
        )
        receipts.append(ledger.append_statement(stmt, now=now))
    return run, receipts
