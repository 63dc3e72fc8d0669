"""What the integrity page reads: checkpoints, verification runs, gaps and modes, sealed and erased."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from django.conf import settings
from django.db import connection

from ecp_project.kernel.errors import BadRequest
from ledger.core.entry import EntrySyntax, parse_entry
from ledger.core.merkle import ProofInvalid, consistency_proof, verify_consistency
from ledger.core.note import open_checkpoint
from ledger.keys import verifiers
from ledger.models import Checkpoint, Cosignature, Entry, Verification
from ledger.selectors.proofs import reader

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta

    from ledger.core.note import Verifier
    from ledger.models import Log

CHECKPOINTS = 50
RUNS = 10
EVENTS = 20
COUNTED = 10_000  # beyond that the page says "more than"

# Bounded, as a log may have millions of sealed values.
SEALED_SQL = "SELECT count(*) FROM (SELECT 1 FROM ledger_sealedpart WHERE log_id = %s LIMIT %s) few"
ERASED_SQL = """
SELECT coalesce(sum(jsonb_array_length(s.body -> 'parts')), 0)
FROM (
    SELECT id FROM ledger_entry WHERE log_id = %s AND kind = 'ecp.erasure/1' ORDER BY seq DESC LIMIT %s
) e JOIN ledger_entrysearch s ON s.entry_id = e.id
"""
SignatureState = Literal["pass", "fail", "unavailable"]


@dataclass(frozen=True, slots=True)
class CheckpointRow:
    """A stored checkpoint; `added` and `gap` are counted from the one before it, where that is shown too."""

    size: int
    root: str
    created: datetime
    signature: SignatureState
    cosignatures: int
    added: int | None
    gap: timedelta | None


@dataclass(frozen=True, slots=True)
class Event:
    """A gap or a change of mode, as the log tells it."""

    entry: Entry
    stmt: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Assurance:
    """All that the page shows of one log besides its head."""

    checkpoints: Sequence[CheckpointRow]
    runs: Sequence[Verification]
    events: Sequence[Event]
    witnesses: Mapping[str, int]
    sealed: int
    erased: int

    @property
    def running(self) -> Verification | None:
        return next((run for run in self.runs if run.ended_at is None), None)

    @property
    def last_ended(self) -> Verification | None:
        return next((run for run in self.runs if run.ended_at is not None), None)


def assurance_of(*, log: Log) -> Assurance:
    """The caller has looked up the log within what the person may see."""
    rows = list(Checkpoint.objects.filter(log_id=log.id).order_by("-size")[: CHECKPOINTS + 1])
    cosigned = _cosigned(log, rows)
    witnesses: dict[str, int] = {}
    for size, names in sorted(cosigned.items()):
        witnesses |= dict.fromkeys(names, size)
    return Assurance(
        checkpoints=_rows(log, rows, cosigned),
        runs=list(Verification.objects.filter(log_id=log.id).order_by("-started_at")[:RUNS]),
        events=events_of(log=log),
        witnesses=witnesses,
        sealed=_number(SEALED_SQL, log.id, COUNTED + 1),
        erased=_number(ERASED_SQL, log.id, COUNTED),
    )


def _cosigned(log: Log, rows: Sequence[Checkpoint]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    sizes = [row.size for row in rows]
    for row in Cosignature.objects.filter(log_id=log.id, size__in=sizes):
        found.setdefault(row.size, []).append(row.witness)
    return found


def _rows(log: Log, rows: Sequence[Checkpoint], cosigned: Mapping[int, Sequence[str]]) -> list[CheckpointRow]:
    keys = verifiers(settings.ECP_LOG_PUBLIC_KEYS, log.origin)
    before = [*rows[1:], None]
    return [
        CheckpointRow(
            size=row.size,
            root=bytes(row.root).hex(),
            created=row.created,
            signature=_signature(row, keys),
            cosignatures=len(cosigned.get(row.size, ())),
            added=row.size - earlier.size if earlier else None,
            gap=row.created - earlier.created if earlier else None,
        )
        for row, earlier in zip(rows[:CHECKPOINTS], before, strict=False)
    ]


def _signature(row: Checkpoint, keys: Sequence[Verifier]) -> SignatureState:
    """Whether a configured key signed the stored note, and the note says what is stored beside it."""
    if not keys:
        return "unavailable"
    for key in reversed(keys):
        try:
            found = open_checkpoint(row.note, key)
        except ProofInvalid:
            continue
        return "pass" if (found.size, found.root) == (row.size, bytes(row.root)) else "fail"
    return "fail"


def events_of(*, log: Log) -> list[Event]:
    found: list[Entry] = []
    for kind in ("ecp.gap/1", "ecp.mode/1"):  # each by its index; both at once would be sorted
        found += Entry.objects.filter(log_id=log.id, kind=kind).order_by("-seq")[:EVENTS]
    newest = sorted(found, key=lambda entry: -entry.seq)[:EVENTS]
    return [Event(entry, _statement(entry)) for entry in newest]


def _statement(entry: Entry) -> Mapping[str, Any]:
    try:
        return parse_entry(bytes(entry.entry)).stmt
    except EntrySyntax:
        return {}


def _number(statement: str, log_id: int, limit: int) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement, (log_id, limit))
        (found,) = cursor.fetchone()
    return int(found)


@dataclass(frozen=True, slots=True)
class Consistency:
    """Whether the log only grew between two signed checkpoints, with the proof that decides it."""

    old: CheckpointRow
    new: CheckpointRow
    hashes: Sequence[str]
    is_consistent: bool
    detail: str


def consistency_of(*, log: Log, old: int, new: int) -> Consistency:
    """The roots come from the stored checkpoints, the proof from the stored tree: they must fit together."""
    if not 1 <= old <= new:
        raise BadRequest("bad_value", "the older size must be at least 1 and not above the newer one")
    keys = verifiers(settings.ECP_LOG_PUBLIC_KEYS, log.origin)
    rows = {row.size: row for row in Checkpoint.objects.filter(log_id=log.id, size__in=[old, new])}
    for size in (old, new):
        if size not in rows:
            raise BadRequest("bad_value", f"there is no checkpoint over {size:,} entries")
    hashes: list[bytes] = []
    detail = ""
    try:
        hashes = consistency_proof(old, new, reader(log.id, new, old - 1, min(old, new - 1)))
        verify_consistency(
            old=old,
            new=new,
            old_root=bytes(rows[old].root),
            new_root=bytes(rows[new].root),
            proof=hashes,
        )
    except ProofInvalid as error:
        detail = str(error)
    shown = {
        size: CheckpointRow(size, bytes(row.root).hex(), row.created, _signature(row, keys), 0, None, None)
        for size, row in rows.items()
    }
    is_signed = all(row.signature == "pass" for row in shown.values())
    if not detail and not is_signed:
        detail = "the signature of a checkpoint could not be verified"
    return Consistency(shown[old], shown[new], [part.hex() for part in hashes], not detail, detail)
