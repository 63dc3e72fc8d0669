"""How a log stands against the checkpoints that are kept outside the database (LEDGER section 12)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from django.conf import settings
from django.db import connection

from ledger.checkpointer import HighWaterMark
from ledger.core.merkle import Frontier
from ledger.models import POSITIONS_PER_LOG, Entry, Log
from ledger.selectors.proofs import newest_checkpoint
from ledger.services.verification import verify_log
from ledger.sinks import sinks_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ledger.core.verify.report import Report

SIZE_SQL = "SELECT size FROM ledger_head WHERE log_id = %s"
LOCKED_SIZE_SQL = f"{SIZE_SQL} FOR UPDATE"
MARK = "high-water mark"  # beside the key; it knows what was signed, even if no sink holds it

Verdict = Literal["consistent", "behind", "fork", "no_anchor", "unsound"]


class Anchor(NamedTuple):
    """A size and root that stand outside the database, and where."""

    place: str
    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Standing:
    """How a log stands against what is kept outside. `lost` is a range of positions, end excluded."""

    verdict: Verdict
    size: int
    root: bytes
    anchors: tuple[Anchor, ...]
    unreadable: tuple[str, ...]
    report: Report
    lost: tuple[int, int] | None = None

    @property
    def newest(self) -> Anchor | None:
        return max(self.anchors, key=lambda anchor: anchor.size, default=None)

    def to_document(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict,
            "size": self.size,
            "root": self.root.hex(),
            "anchors": [
                {"place": anchor.place, "size": anchor.size, "root": anchor.root.hex()}
                for anchor in self.anchors
            ],
            "unreadable": list(self.unreadable),
            "lost": list(self.lost) if self.lost else None,
            "report": self.report.to_document(),
        }


def standing_of(*, log: Log, progress: Callable[[int, int], None] = lambda _done, _all: None) -> Standing:
    """Verify the log as it is stored, then compare it with every sink and with the key's high-water mark."""
    report = verify_log(log=log, signatures=False, progress=progress)
    anchors, unreadable, is_cut_off = _anchors(log.origin)
    tree, roots = tree_of(log, {anchor.size for anchor in anchors})
    newest = max((anchor.size for anchor in anchors), default=0)
    lost: tuple[int, int] | None = None
    verdict: Verdict = "consistent"
    # Two anchors beyond the log's end must agree with each other too.
    if any(roots.setdefault(anchor.size, anchor.root) != anchor.root for anchor in anchors):
        verdict = "fork"
    elif not report.ok:
        verdict = "unsound"
    elif newest > tree.size:
        verdict, lost = "behind", (tree.size, newest)
    elif all(anchor.place == MARK for anchor in anchors) and (
        newest_checkpoint(log.id) is not None or (is_cut_off and tree.size)
    ):
        verdict = "no_anchor"
    return Standing(verdict, tree.size, tree.root(), anchors, unreadable, report, lost)


def _anchors(origin: str) -> tuple[tuple[Anchor, ...], tuple[str, ...], bool]:
    """What is kept outside, what could not be read, and whether that was every sink."""
    found, unreadable = [], []
    sinks = list(sinks_of(settings.ECP_CHECKPOINT_SINKS))
    for sink in sinks:
        try:
            anchor = sink.newest(origin)
        except OSError:
            unreadable.append(sink.name)
            continue
        if anchor is not None:
            found.append(Anchor(sink.name, anchor.size, anchor.root))
    is_cut_off = len(unreadable) == len(sinks)
    try:
        mark = HighWaterMark(settings.ECP_SIGNING_KEY_FILE.with_name("high-water.json")).newest(origin)
    except (OSError, ValueError):  # not everybody may look into the key's folder
        unreadable.append(MARK)
    else:
        if mark is not None:
            found.append(Anchor(MARK, mark.size, mark.root))
    return tuple(found), tuple(unreadable), is_cut_off


def tree_of(log: Log, sizes: Iterable[int]) -> tuple[Frontier, dict[int, bytes]]:
    """The tree of the stored leaf hashes, and its root at those of the sizes that it has reached."""
    wanted, tree, roots = set(sizes), Frontier(), dict[int, bytes]()
    base = log.id * POSITIONS_PER_LOG
    rows = Entry.objects.filter(id__gte=base, id__lt=base + log_size(log)).order_by("id")
    for leaf in rows.values_list("leaf_hash", flat=True).iterator(chunk_size=2_000):
        tree.append(bytes(leaf))
        if tree.size in wanted:
            roots[tree.size] = tree.root()
    return tree, roots


def log_size(log: Log, *, lock: bool = False) -> int:
    with connection.cursor() as cursor:
        cursor.execute(LOCKED_SIZE_SQL if lock else SIZE_SQL, (log.id,))
        return int(cursor.fetchone()[0])
