"""The daily erasure: all approved requests together (LEDGER section 14).

Parts of several data subjects stand sorted in one entry, so the list does not say who belongs together.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from django.db import transaction

from ecp_project.kernel.errors import Unavailable
from ledger.models import ErasureRequest, Log, SealedPart, SubjectKey
from ledger.services.erasure import erase_parts, parts_under
from ledger.services.ledger import lock_head
from ledger.services.sealing import forget_keys

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from ledger.services.ledger import Receipt

ACTOR = "system:erasure"


def erasure_run(*, now: datetime) -> list[Receipt]:
    """Carry out every request that a second person has approved; returns the entries that record it.

    A log that takes no entries keeps its requests for the next run, and nothing of theirs is deleted; its
    `Unavailable` is raised once the other logs are done.
    """
    waiting = ErasureRequest.objects.filter(run__isnull=True, withdrawn_at__isnull=True).exclude(
        approved_by=""
    )
    receipts: list[Receipt] = []
    refused: Unavailable | None = None
    ordered = waiting.order_by("log_id", "basis")
    for (log_id, basis), requests in groupby(ordered, key=lambda request: (request.log_id, request.basis)):
        log = Log.objects.select_related("organisation").get(pk=log_id)
        try:
            receipts += _erase_together(log, basis, [request.pk for request in requests], now)
        except Unavailable as problem:
            refused = problem
    if refused is not None:
        raise refused
    return receipts


def _erase_together(log: Log, basis: str, ids: Iterable[int], now: datetime) -> list[Receipt]:
    """One transaction for requests of one log and basis; a second run at the same time finds none left."""
    with transaction.atomic():
        lock_head(log)
        rows = ErasureRequest.objects.filter(pk__in=ids, run__isnull=True, withdrawn_at__isnull=True)
        requests = list(rows.select_for_update())
        if not requests:
            return []
        macs = [bytes(request.handle_mac) for request in requests if request.handle_mac is not None]
        uids = [request.uid for request in requests if request.uid is not None]
        subjects = set(SubjectKey.objects.filter(handle_mac__in=macs).values_list("id", flat=True))
        found = parts_under(log, subjects) | SealedPart.objects.filter(log=log, uid__in=uids)
        keys = subjects | set(found.values_list("subject_key_id", flat=True))
        # Locked before the parts are read: an append that would add one waits, or encrypts under a fresh key.
        list(SubjectKey.objects.select_for_update().filter(id__in=keys).values_list("id", flat=True))
        run, receipts = erase_parts(
            log,
            found,
            basis=basis,
            actor=ACTOR,
            requested_at=min(request.requested_at for request in requests),
            now=now,
        )
        used = set(
            SealedPart.objects.filter(subject_key_id__in=keys).values_list("subject_key_id", flat=True)
        )
        SubjectKey.objects.filter(id__in=subjects | (keys - used)).delete()
        ErasureRequest.objects.filter(pk__in=[request.pk for request in requests]).update(run=run)
        transaction.on_commit(forget_keys)
    return receipts
