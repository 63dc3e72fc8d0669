"""What makes a search slow for real: another session that holds its table."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from ledger import sequencer

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def locked_search() -> Iterator[None]:
    """Whoever reads the search projection meanwhile waits until its statement is cancelled."""
    holder = sequencer.connect("default")
    try:
        holder.execute("BEGIN")
        holder.execute("LOCK TABLE ledger_entrysearch IN ACCESS EXCLUSIVE MODE")
        yield
    finally:
        holder.close()
