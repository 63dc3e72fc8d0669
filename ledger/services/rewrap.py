"""Rotation of the key encryption key: every wrapped key again under `ECP_KEK` (SECURITY section 9).

Only the wrapping changes. The keys inside stay, so sealed parts, handles and replay tests stay as they are.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from django.conf import settings
from django.db import transaction

from ledger.models import MacRoot, SubjectKey
from ledger.services.sealing import MAC_ROOT_LABEL, dek_label, kek_id, unwrap, wrap

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from django.db.models import QuerySet

BATCH = 500


@dataclass(slots=True)
class Rewrapped:
    """What a run did. `missing` counts rows by the KEK that is not configured, `damaged` names rows."""

    kek_id: str
    rewrapped: int = 0
    missing: Counter[str] = field(default_factory=Counter)
    damaged: list[str] = field(default_factory=list)
    left: int = 0

    @property
    def is_done(self) -> bool:
        """Whether the old keys may be taken out of ECP_KEK_FALLBACKS."""
        return self.left == 0


def keys_rewrap(
    *, batch: int = BATCH, progress: Callable[[int, int], None] = lambda _done, _all: None
) -> Rewrapped:
    """Wrap the MAC root and every subject key under the current KEK, `batch` rows in a transaction.

    A row says itself under which KEK it lies, so a run that was cut off is simply started again.
    """
    done = Rewrapped(kek_id(settings.ECP_KEK))
    total = _waiting(done.kek_id).count()
    _rewrap_mac_root(done)
    last: UUID | None = None
    while True:
        with transaction.atomic():
            # NO KEY: an append that holds one of these keys FOR KEY SHARE neither waits nor is waited for.
            rows = _waiting(done.kek_id).select_for_update(no_key=True).order_by("id")
            found = list((rows if last is None else rows.filter(id__gt=last))[:batch])
            if not found:
                break
            last = found[-1].id
            SubjectKey.objects.bulk_update(
                [row for row in found if _rewrap(row, done)], ["kek_id", "wrapped_dek"]
            )
        progress(done.rewrapped + len(done.damaged) + done.missing.total(), total)
    # Counted anew: a process that still runs with the old KEK may have stored keys meanwhile.
    done.left = _waiting(done.kek_id).count() + MacRoot.objects.exclude(kek_id=done.kek_id).count()
    return done


def _waiting(current: str) -> QuerySet[SubjectKey]:
    return SubjectKey.objects.exclude(kek_id=current)


def _rewrap(row: SubjectKey, done: Rewrapped) -> bool:
    label = dek_label(row.id)
    key = _unwrapped(row.kek_id, bytes(row.wrapped_dek), label, f"subject key {row.id}", done)
    if key is None:
        return False
    row.kek_id, row.wrapped_dek = wrap(key, label)
    done.rewrapped += 1
    return True


def _rewrap_mac_root(done: Rewrapped) -> None:
    with transaction.atomic():
        row = MacRoot.objects.select_for_update().exclude(kek_id=done.kek_id).first()
        if row is None:
            return
        key = _unwrapped(row.kek_id, bytes(row.wrapped), MAC_ROOT_LABEL, "the MAC root", done)
        if key is not None:
            row.kek_id, row.wrapped = wrap(key, MAC_ROOT_LABEL)
            row.save(update_fields=["kek_id", "wrapped"])
            done.rewrapped += 1


def _unwrapped(name: str, wrapped: bytes, label: bytes, what: str, done: Rewrapped) -> bytes | None:
    try:
        return unwrap(name, wrapped, label)
    except LookupError:
        done.missing[name] += 1
    except InvalidTag:
        done.damaged.append(what)
    return None
