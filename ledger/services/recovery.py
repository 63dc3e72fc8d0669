"""After a restore: bring back what is missing, or say what is lost, and go on (OPERATIONS section 6).

The checkpointer compares the log with the checkpoints outside at every start and writes the guard row (LEDGER
section 12); it resumes what it finds consistent. All else needs a person, who acts through `log_recover`. The
guard row is not written here: what the checkpointer complains about is mended, and it looks again.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from ecp_project.kernel.clock import format_time
from ecp_project.kernel.errors import BadRequest, Conflict
from ledger import modes
from ledger.checkpointer import anchor_line
from ledger.core.note import Checkpoint, split_note
from ledger.keys import verifiers
from ledger.models import Log, Mode, SealedPart, SubjectKey, Submission
from ledger.selectors.proofs import newest_checkpoint
from ledger.services.exports import Export, open_export
from ledger.services.operations import mode_switch
from ledger.services.rebuild import Registry, store_checkpoint, store_entries
from ledger.services.sealing import forget_keys
from ledger.services.standing import Standing, log_size, standing_of, tree_of
from ledger.services.succession import Succession, loss_accept
from ledger.services.verification import logs_of, verifier_at
from ledger.sinks import Sink, sinks_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from ledger.core.entry import Entry as ParsedEntry
    from ledger.sinks import Sink

GUARD_POLL_S = 0.25
GUARD_WAIT_S = 45.0  # a checkpointer that runs looks again every second
ACTOR = "system:shell"


@dataclass(frozen=True, slots=True)
class Plan:
    """What the operator allows. With nothing but a reason the log is compared, and reopened if consistent."""

    reason: str = ""
    place: str | None = None
    accept_db: bool = False
    accept_loss: bool = False
    by: str = ""
    approved_by: str = ""
    only_compare: bool = False


@dataclass(slots=True)
class Recovery:
    """How the log stood, what was done, and whether the organisation's decisions are taken again."""

    standing: Standing
    imported: Imported | None = None
    accepted_size: int | None = None
    succession: Succession | None = None
    resumed: Resumed | None = None
    evidence: Path | None = None

    @property
    def is_open(self) -> bool:
        return self.resumed is not None and self.resumed.is_open

    def to_document(self) -> dict[str, Any]:
        return {
            "v": "ecp.recovery/1",
            "standing": self.standing.to_document(),
            "imported": asdict(self.imported) if self.imported else None,
            "accepted_size": self.accepted_size,
            "successor": self.succession.log.slug if self.succession else None,
            "resumed": asdict(self.resumed) if self.resumed else None,
            "evidence": str(self.evidence) if self.evidence else None,
            "is_open": self.is_open,
        }


def log_recover(
    *,
    log: Log,
    plan: Plan,
    clock: Callable[[], datetime],
    wait_s: float = GUARD_WAIT_S,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Recovery:
    """Compare, then do what the finding needs and the plan allows (table of OPERATIONS section 6).

    Raises BadRequest or Conflict when the plan does not fit the finding, NotSound when an export does not
    verify behind what is stored.
    """
    standing = standing_of(log=log, progress=progress)
    done = Recovery(standing)
    if standing.verdict == "fork":
        done.evidence = evidence_keep(log=log, standing=standing, now=clock())
        return done
    if plan.only_compare or standing.verdict == "unsound":
        return done
    reopened = log
    if plan.accept_loss:
        done.succession = loss_accept(
            log=log,
            standing=standing,
            reason=plan.reason,
            by=plan.by,
            approved_by=plan.approved_by,
            now=clock(),
        )
        reopened = done.succession.log
    elif plan.place is not None:
        done.imported = entries_import(
            log=log, standing=standing, place=plan.place, now=clock(), progress=progress
        )
    elif plan.accept_db:
        done.accepted_size = database_accept(standing=standing, log=log, now=clock())
    elif standing.verdict != "consistent":
        return done
    reason = plan.reason or f"the log agrees with its checkpoints outside (found: {standing.verdict})"
    done.resumed = log_resume(log=reopened, reason=reason, actor=ACTOR, clock=clock, wait_s=wait_s)
    return done


# --- going on
@dataclass(slots=True)
class Resumed:
    """`is_open`: the log takes entries. `seq` is where the log tells of it, None when nothing was halted."""

    is_open: bool
    seq: int | None = None
    waits_for: str = ""


def log_resume(
    *,
    log: Log,
    reason: str,
    actor: str,
    clock: Callable[[], datetime],
    wait_s: float = GUARD_WAIT_S,
) -> Resumed:
    """Wait until the checkpointer has found the log consistent too, then reopen it and say so in it."""
    deadline = time.monotonic() + wait_s
    while (problem := _guard_problem(log)) is not None:
        if time.monotonic() >= deadline:
            return Resumed(is_open=False, waits_for=problem)
        time.sleep(GUARD_POLL_S)
    if Log.objects.get(pk=log.pk).mode == Mode.ACTIVE:
        return Resumed(is_open=True)
    receipt = mode_switch(log=log, to=Mode.ACTIVE, reason=reason, actor=actor, now=clock())
    return Resumed(is_open=True, seq=receipt.stored.seq if receipt else None)


def _guard_problem(log: Log) -> str | None:
    with connection.cursor() as cursor:
        problem = modes.guard_problem(cursor, log.id)
    return None if problem is None else str(problem.extensions["halt_reason"])


# --- entries come back from an export
@dataclass(slots=True)
class Imported:
    """What came back, and what no export can bring back: private values of the imported decisions."""

    first: int
    end: int
    sealed_gone: int = 0
    erased_again: int = 0
    subject_keys_removed: int = 0


def entries_import(
    *,
    log: Log,
    standing: Standing,
    place: str,
    now: datetime,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
) -> Imported:
    """Store the missing entries, exact bytes, and carry out again every erasure among them.

    Raises BadRequest when the export does not reach or does not belong, NotSound when its entries do not
    verify behind those stored; then nothing has changed.
    """
    export = open_export(place)
    _refuse_unless_helpful(log, standing, export)
    key = export.key(verifiers(settings.ECP_LOG_PUBLIC_KEYS, log.origin))
    tree, _ = tree_of(log, ())
    with transaction.atomic():
        if log_size(log, lock=True) != tree.size:
            raise Conflict("id_reused", f"{log.slug} has grown meanwhile; nothing was stored, start again")
        registry, again = Registry(), _Erasures(log)
        done = Imported(tree.size, export.checkpoint.size)

        def watch(entry: ParsedEntry) -> None:
            registry.read(entry)
            again.read(entry)
            done.sealed_gone += len(entry.stmt.get("sealed", ()))

        store_entries(
            log=log,
            entries=export.entries(tree.size),
            run=verifier_at(log, tree, [export.note], key),
            total=export.checkpoint.size,
            watch=watch,
            progress=progress,
        )
        _, roots = tree_of(log, {anchor.size for anchor in standing.anchors})
        for anchor in standing.anchors:
            if roots.get(anchor.size) != anchor.root:
                raise BadRequest(
                    "bad_value",
                    f"with the entries of the export the first {anchor.size:,} do not have the root that "
                    f"{anchor.place} keeps: this is a fork; keep everything as it is",
                )
        registry.store(log.organisation)
        done.erased_again = again.carry_out()
        done.subject_keys_removed = _forget_unused_keys()
        transaction.on_commit(forget_keys)
    store_checkpoint(log=log, note=export.note, now=now)
    return done


def _refuse_unless_helpful(log: Log, standing: Standing, export: Export) -> None:
    claimed = export.checkpoint
    if claimed.origin != log.origin:
        raise BadRequest("bad_value", f"the export is of the log {claimed.origin}, not of {log.origin}")
    needed = standing.newest.size if standing.newest else standing.size
    if claimed.size < needed:
        raise BadRequest(
            "bad_value",
            f"the export reaches to size {claimed.size:,}, but {needed:,} entries were published; find a "
            "newer export, or join its missing segments to it",
        )


class _Erasures:
    """Erasures among imported entries: the backup has brought the erased parts back."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._parts: set[tuple[UUID, str]] = set()

    def read(self, entry: ParsedEntry) -> None:
        if entry.stmt["v"] == "ecp.erasure/1":
            self._parts.update((UUID(part["id"]), part["ptr"]) for part in entry.stmt["parts"])

    def carry_out(self) -> int:
        """Delete the parts and what would tell a retry of their records; returns how many there were."""
        logs = logs_of(self._log)
        Submission.objects.filter(log_id__in=logs, uid__in={uid for uid, _ in self._parts}).delete()
        return sum(
            SealedPart.objects.filter(log_id__in=logs, uid=uid, ptr=ptr).delete()[0]
            for uid, ptr in sorted(self._parts)
        )


def _forget_unused_keys() -> int:
    """Subject keys without parts; one that is needed again is made anew."""
    return SubjectKey.objects.filter(parts__isnull=True).delete()[0]


# --- no checkpoint outside
def database_accept(*, log: Log, standing: Standing, now: datetime) -> int:
    """Take the newest stored checkpoint as the anchor that no sink holds any more; returns its size.

    Whoever does this vouches for the database: nothing outside it shows that no entry is lost.
    """
    if standing.verdict != "no_anchor":
        raise Conflict("id_reused", "there are checkpoints outside; they decide, not the database alone")
    signed = newest_checkpoint(log.id)
    if signed is None:
        raise BadRequest(
            "bad_value", "the database holds no signed checkpoint either; make a sink readable and try again"
        )
    with connection.cursor() as cursor:
        identity = modes.read_identity(cursor)
    checkpoint = Checkpoint.parse(split_note(signed.note)[0])
    line = anchor_line(checkpoint, signed.note, now, identity)
    if not sum(_published(sink, line) for sink in sinks_of(settings.ECP_CHECKPOINT_SINKS)):
        raise BadRequest("bad_value", "no sink of ECP_CHECKPOINT_SINKS can be written")
    return signed.size


def _published(sink: Sink, line: dict[str, Any]) -> bool:
    try:
        sink.publish(line)
    except OSError:
        return False
    return True


# --- a fork
def evidence_keep(*, log: Log, standing: Standing, now: datetime) -> Path:
    """Write down what was found, for the people who will ask; returns the file."""
    folder = Path(settings.ECP_STATE_DIR) / "evidence"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    signed = newest_checkpoint(log.id)
    document = {
        "v": "ecp.fork-evidence/1",
        "log": log.origin,
        "at": format_time(now),
        "stored_checkpoint": signed.note if signed else None,
        "standing": standing.to_document(),
    }
    file = folder / f"{log.slug}-{now:%Y%m%dT%H%M%S%f}.json"
    with file.open("x", encoding="utf-8") as stream:
        json.dump(document, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    return file
