"""Rotation of the key encryption key: every wrapped key again under `ECP_KEK` (SECURITY section 9).

Only the wrapping changes. The keys inside stay, so sealed parts, handles and replay tests stay as they are.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidTag
from django.conf import settings
from django.db import transaction

from ledger.models import MacRoot, SubjectKey
from ledger.services.sealing import MAC_ROOT_LABEL, dek_label, kek_id, unwrap, wrap

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
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


@dataclass(frozen=True, slots=True)
class Holder:
    """Rows that hold wrapped keys: each has an `id`, a `kek_id`, and these columns under that KEK.

    `labels` names, for the columns of a row that hold a key, what the key is bound to.
    """

    what: str
    columns: tuple[str, ...]
    waiting: Callable[[str], QuerySet[Any]]
    labels: Callable[[Any], Mapping[str, bytes]]


_SUBJECTS = Holder(
    "subject key",
    ("wrapped_dek",),
    lambda current: SubjectKey.objects.exclude(kek_id=current),
    lambda row: {"wrapped_dek": dek_label(row.id)},
)
_holders = {_SUBJECTS.what: _SUBJECTS}


def holder_add(holder: Holder) -> None:
    """Rotate the keys of an installed app as well."""
    _holders[holder.what] = holder


def keys_rewrap(
    *, batch: int = BATCH, progress: Callable[[int, int], None] = lambda _done, _all: None
) -> Rewrapped:
    """Wrap the MAC root, every subject key and the keys of apps under the current KEK, `batch` rows at once.

    A row says itself under which KEK it lies, so a run that was cut off is simply started again.
    """
    done = Rewrapped(kek_id(settings.ECP_KEK))
    total = _waiting(done.kek_id)
    _rewrap_mac_root(done)
    for holder in _holders.values():
        _rewrap_rows(
            holder,
            batch,
            done,
            lambda: progress(done.rewrapped + len(done.damaged) + done.missing.total(), total),
        )
    # Counted anew: a process that still runs with the old KEK may have stored keys meanwhile.
    done.left = _waiting(done.kek_id) + MacRoot.objects.exclude(kek_id=done.kek_id).count()
    return done


def _waiting(current: str) -> int:
    return sum(holder.waiting(current).count() for holder in _holders.values())


def _rewrap_rows(holder: Holder, batch: int, done: Rewrapped, progress: Callable[[], None]) -> None:
    last: UUID | None = None
    while True:
        with transaction.atomic():
            # NO KEY: an append that holds one of these keys FOR KEY SHARE neither waits nor is waited for.
            rows = holder.waiting(done.kek_id).select_for_update(no_key=True).order_by("id")
            found = list((rows if last is None else rows.filter(id__gt=last))[:batch])
            if not found:
                break
            last = found[-1].id
            changed = [row for row in found if _rewrap(holder, row, done)]
            if changed:
                changed[0].__class__.objects.bulk_update(changed, ["kek_id", *holder.columns])
        progress()


def _rewrap(holder: Holder, row: Any, done: Rewrapped) -> bool:
    """Change nothing of a row of which one key does not open."""
    what = f"{holder.what} {row.id}"
    labels = holder.labels(row)
    keys = {
        column: _unwrapped(row.kek_id, bytes(getattr(row, column)), label, what, done)
        for column, label in labels.items()
    }
    for column, key in keys.items():
        if key is None:
            return False
        _, wrapped = wrap(key, labels[column])
        setattr(row, column, wrapped)
    row.kek_id = done.kek_id
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
