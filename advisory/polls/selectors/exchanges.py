"""Who of the reserve was asked instead of whom: read from the notes that the log keeps of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from advisory.polls.core import reserve
from ledger.core.entry import parse_entry
from ledger.models import Entry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from advisory.polls.models import Poll


@dataclass(frozen=True, slots=True)
class Exchange:
    gone: str
    by: str
    entry: Entry


def exchanges_of(poll: Poll, sample: Iterable[str]) -> list[Exchange]:
    """In the order of the log; who stood in may have been replaced too, so the search goes on from there."""
    assert poll.log_id is not None, poll.id
    asked = set(poll.invitations.values_list("agent__slug", flat=True))
    gone, found = set(sample) - asked, []
    while gone:
        notes = Entry.objects.filter(log_id=poll.log_id, uid__in=[note_id(poll, slug) for slug in gone])
        now = [
            Exchange(*reserve.exchange_of(parse_entry(bytes(note.entry)).stmt["text"]), note)
            for note in notes
        ]
        found += now
        gone = {one.by for one in now} - asked
    return sorted(found, key=lambda one: one.entry.seq)


def note_id(poll: Poll, gone: str) -> str:
    assert poll.committed_at is not None, poll.id
    return reserve.note_id(poll_id=str(poll.id), committed_at=poll.committed_at, gone=gone)
