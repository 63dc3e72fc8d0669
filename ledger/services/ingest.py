"""Take a file of decisions and annotations into a log, in batches, again and again without doubling."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from django.db import transaction

from ecp_project.api.authentication import Principal
from ecp_project.kernel.canonical import parse_document
from ecp_project.kernel.clock import format_time
from ecp_project.kernel.errors import BadRequest, EcpError, Unavailable
from ecp_project.kernel.ids import is_uuid7
from ledger.core import statement as statements
from ledger.services.ledger import TransparencyLedger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ledger.models import Log

BATCH = 500
OPENING_S = 45.0  # below the clock skew that an append tolerates, as the time is taken before
ANNOTATION_MEMBERS = frozenset({"id", "target", "kind", "text", "status"})
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
T = TypeVar("T")


@dataclass(slots=True)
class Tally:
    """Counts of an ingest; `rejects` holds (line number, line, problem)."""

    accepted: int = 0
    replayed: int = 0
    rejects: list[tuple[int, bytes, EcpError]] = field(default_factory=list)

    @property
    def done(self) -> int:
        return self.accepted + self.replayed + len(self.rejects)


def ingest(
    *,
    log: Log,
    lines: Iterable[bytes],
    actor: str,
    clock: Callable[[], datetime],
    progress: Callable[[int], None] = lambda _: None,
) -> Tally:
    """Lines are decision records, or annotations where they name a `target`. Order is kept.

    Retries are safe.
    """
    tally, ledger = Tally(), TransparencyLedger(log)
    principal = Principal(kind="system", organisation_id=log.organisation_id)
    for numbers, batch, are_annotations in _runs(lines):
        take = partial(_annotate, ledger, actor) if are_annotations else partial(_record, ledger, principal)
        outcomes = when_open(partial(take, batch, clock()))
        for number, line, outcome in zip(numbers, batch, outcomes, strict=True):
            if isinstance(outcome, EcpError):
                tally.rejects.append((number, line, outcome))
            elif outcome.is_replay:
                tally.replayed += 1
            else:
                tally.accepted += 1
        progress(tally.done)
    return tally


def _runs(lines: Iterable[bytes]) -> Iterator[tuple[list[int], list[bytes], bool]]:
    """Batches of lines of one sort, with their line numbers."""
    numbers: list[int] = []
    batch: list[bytes] = []
    sort = False
    for number, raw in enumerate(lines, start=1):
        line = raw.strip()
        if not line:
            continue
        is_annotation = b'"target"' in line and _names_target(line)
        if batch and (is_annotation != sort or len(batch) == BATCH):
            yield numbers, batch, sort
            numbers, batch = [], []
        sort = is_annotation
        numbers.append(number)
        batch.append(line)
    if batch:
        yield numbers, batch, sort


def _names_target(line: bytes) -> bool:
    try:
        return "target" in json.loads(line)
    except ValueError:
        return False


def _record(
    ledger: TransparencyLedger, principal: Principal, lines: Sequence[bytes], now: datetime
) -> list[Any]:
    return list(ledger.append_many(lines, principal=principal, now=now))


def _annotate(ledger: TransparencyLedger, actor: str, lines: Sequence[bytes], now: datetime) -> list[Any]:
    outcomes: list[Any] = []
    for line in lines:
        try:
            stmt = _annotation(parse_document(line), org=ledger.log.organisation.slug, actor=actor)
            with transaction.atomic():
                outcomes.append(ledger.append_statement(stmt, now=now).stored)
        except EcpError as problem:
            if isinstance(problem, Unavailable):
                raise
            outcomes.append(problem)
    return outcomes


def _annotation(document: dict[str, Any], *, org: str, actor: str) -> dict[str, Any]:
    for name in document:
        if name not in ANNOTATION_MEMBERS:
            raise BadRequest("unknown_field", f"{name} is not a member of an annotation", pointer=f"/{name}")
    uid = document.get("id")
    # The time is part of the statement, and a second run must make the same bytes: so it comes from the id.
    at = _time_of_id(uid) if isinstance(uid, str) and is_uuid7(uid) else EPOCH
    stmt = document | {"v": "ecp.annotation/1", "org": org, "actor": actor, "ts": format_time(at)}
    statements.validate(stmt)
    return stmt


def _time_of_id(uid: str) -> datetime:
    """The instant inside a UUIDv7 (RFC 9562 section 5.7)."""
    milliseconds = UUID(uid).int >> 80
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC)


def when_open(act: Callable[[], T]) -> T:
    """Wait while the checkpointer has not yet looked at a new or restarted database.

    Any other refusal goes on.
    """
    deadline = time.monotonic() + OPENING_S
    while True:
        try:
            return act()
        except Unavailable as problem:
            waits = (
                problem.extensions.get("halt_reason") == "restored_unverified"
                or problem.code == "ledger_busy"
            )
            if not waits or time.monotonic() > deadline:
                raise
            time.sleep(0.25)
