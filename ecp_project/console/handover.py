"""What exports and evidence packs share: who may take them, their files, the wait for a checkpoint."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, BinaryIO

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q

from ecp_project.console.models import EvidencePack, Export, State
from ecp_project.kernel.errors import Conflict, NotFound, PermissionDenied
from ledger.core.merkle import ProofInvalid
from ledger.core.note import open_checkpoint
from ledger.keys import verifiers
from ledger.models import Role
from ledger.selectors.console import EXPORTERS
from ledger.selectors.proofs import newest_checkpoint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path
    from uuid import UUID

    from ecp_project.console.models import HandOver
    from ledger.core.note import Verifier
    from ledger.models import Log
    from ledger.selectors.console import Viewer
    from ledger.selectors.proofs import SignedSize

WAIT_S = 10.0
POLL_S = 0.2
KEPT = timedelta(days=7)
ABANDONED = timedelta(hours=1)  # a stream that ended without a word: its process was killed
SHOWN = 200
MOVING = (State.QUEUED, State.RUNNING)


def refuse_unless_taker(viewer: Viewer, organisation_id: int) -> None:
    if not viewer.may_export(organisation_id):
        raise _refusal()


def refuse_unless_some_taker(viewer: Viewer) -> None:
    if not viewer.organisations_as(*EXPORTERS):
        raise _refusal()


def _refusal() -> PermissionDenied:
    return PermissionDenied("role_missing", f"One of these roles is needed: {', '.join(sorted(EXPORTERS))}.")


def mine(viewer: Viewer, user_id: int | None) -> Q:
    """Rows that a person may fetch: those of the organisation, for manufacturers only their own."""
    whole = viewer.organisations_as(*(EXPORTERS - {Role.MANUFACTURER}))
    return Q(organisation_id__in=whole) | Q(
        organisation_id__in=viewer.organisations_as(Role.MANUFACTURER), owner_id=user_id
    )


def taken(model: type[Any], viewer: Viewer, user_id: int | None) -> list[Any]:
    """The newest exports or packs. 403 for whoever may take none."""
    refuse_unless_some_taker(viewer)
    rows = model.objects.filter(mine(viewer, user_id)).select_related("log", "organisation", "owner")
    return list(rows.order_by("-created_at")[:SHOWN])


def one(model: type[Any], viewer: Viewer, user_id: int | None, id_: UUID) -> Any:
    """404 for what is not the person's to fetch; 403 in an organisation in which he takes nothing out."""
    row = model.objects.filter(id=id_, organisation_id__in=viewer.roles).select_related("log").first()
    if row is not None:
        refuse_unless_taker(viewer, row.organisation_id)
        if viewer.roles[row.organisation_id] != Role.MANUFACTURER or row.owner_id == user_id:
            return row
    raise NotFound("not_found", "there is no such file")


def opened(row: HandOver) -> BinaryIO:
    """The finished file. 404 when it is gone."""
    try:
        return file_of(row).open("rb")
    except FileNotFoundError:
        raise NotFound("not_found", "there is no such file") from None


def actor_of(viewer: Viewer, organisation_id: int) -> str:
    return f"staff:{viewer.pseudonyms[organisation_id]}"


def await_signed(log_id: int, size: int) -> SignedSize:
    """The newest checkpoint, once it covers `size` entries. 409 when none does in ten seconds."""
    until = time.monotonic() + WAIT_S
    while True:
        signed = newest_checkpoint(log_id)
        if signed is not None and signed.size >= size:
            return signed
        if time.monotonic() >= until:
            break
        time.sleep(POLL_S)
    raise Conflict(
        "not_signed_yet",
        f"The newest checkpoint covers {signed.size if signed else 0:,} entries; {size:,} are asked for.",
        retry_after=1,
    )


def keys_of(log: Log, note: str) -> tuple[list[Verifier], list[Verifier]]:
    """The configured keys of the log: those that signed this checkpoint, and the others."""
    signed, others = [], []
    for key in verifiers(settings.ECP_LOG_PUBLIC_KEYS, log.origin):
        try:
            open_checkpoint(note, key)
        except ProofInvalid:
            others.append(key)
        else:
            signed.append(key)
    return signed, others


@contextmanager
def oldest_job(model: type[Any]) -> Iterator[Any]:
    """The job that has waited longest, locked until the end of a transaction; None when none waits.

    One that another worker is at is passed over.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:  # files and proofs leave the transaction idle for a while
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        waiting = model.objects.filter(state__in=MOVING, has_file=True)
        rows = waiting.select_for_update(skip_locked=True, of=("self",)).select_related("log", "organisation")
        yield rows.order_by("created_at", "id").first()


def file_of(row: HandOver) -> Path:
    kind, ending = ("evidence", "zip") if isinstance(row, EvidencePack) else ("exports", row.format)  # type: ignore[attr-defined]  # the two that there are
    folder: Path = settings.ECP_FILES_DIR / kind
    return folder / f"{row.id}.{ending}"


def draft_of(row: HandOver) -> Path:
    """The file while it is written; it gets its name when it is whole."""
    file = file_of(row)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return file.with_name(f".{file.name}.part")


def complete(row: HandOver, now: datetime) -> None:
    row.state, row.ended_at, row.moved_at = State.COMPLETE, now, now
    row.save()


def fail(row: HandOver, code: str, now: datetime) -> None:
    row.state, row.problem, row.ended_at, row.moved_at = State.FAILED, code, now, now
    row.save()
    if row.has_file:
        draft_of(row).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Swept:
    expired: int
    failed: int


def sweep(*, now: datetime) -> Swept:
    """Remove files after seven days; streams whose process was killed have failed."""
    expired = failed = 0
    for model in (Export, EvidencePack):
        old: Any = model.objects.filter(state=State.COMPLETE, has_file=True, ended_at__lt=now - KEPT)
        for row in old:
            file_of(row).unlink(missing_ok=True)
            row.state, row.moved_at = State.EXPIRED, now
            row.save()
            expired += 1
        dead: Any = model.objects.filter(state=State.RUNNING, has_file=False, moved_at__lt=now - ABANDONED)
        for row in dead:
            fail(row, "interrupted", now)
            failed += 1
    return Swept(expired, failed)
