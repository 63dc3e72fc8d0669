"""The bounded queue between the agent and the sender: on disk, in memory while the disk takes nothing.

Lines leave in the order in which they came: first those of lanes adopted from dead processes, then those of
this process, on disk before those in memory. Once one line had to go to memory, all later ones follow it
there until the sender has put them back on the disk.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from ecp_client.errors import NotQueued, problem
from ecp_client.lanes import Item, Lane, OwnLane, Place, abandoned, make_private, packed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

# What a process spares for lines that the disk does not take.
MEMORY_LINES, MEMORY_BYTES = 10_000, 16 * 2**20
_WRITE_BYTES = 2**20


class Batch(NamedTuple):
    """Lines that stand first; `ends` are the places behind them, `lane` is None for memory."""

    items: list[Item]
    ends: list[Place]
    lane: Lane | None


class Queue:
    """`root` None keeps everything in memory. One thread peeks and settles, any thread appends.

    `complain` is told, by a word and a sentence, what went wrong with the disk.
    """

    def __init__(
        self,
        root: Path | None,
        *,
        max_lines: int,
        max_bytes: int,
        durable: bool,
        complain: Callable[[str, str], None],
    ) -> None:
        self._root = root
        self._max_lines, self._max_bytes = max_lines, max_bytes
        self._durable = durable
        self._complain = complain
        self._changed = threading.Condition()
        # guarded by self._changed
        self.appended = 0
        self.settled = 0
        self._bytes = 0
        self._lane: OwnLane | None = None
        self._adopted_bytes = 0
        self._memory: deque[Item] = deque()
        self._memory_bytes = 0
        self._closed = False
        self._idle = False
        # owned by the sender's thread
        self._adopted: list[Lane] = []
        self.damaged = 0

    # --- the agent's side

    def append(self, items: Sequence[Item]) -> int:
        """Keep the lines; returns how many there have been, which is the number of the last one."""
        data = packed(items[0]) if len(items) == 1 else b"".join(map(packed, items))
        with self._changed:
            if self._closed:
                raise NotQueued(problem("client_closed", "the ledger's client is closed"))
            if (
                self.appended - self.settled + len(items) > self._max_lines
                or self._bytes + self._adopted_bytes + len(data) > self._max_bytes
            ):
                raise NotQueued(problem("queue_full", f"{self.pending:,} lines wait already"))
            if self._memory or not self._written(data):
                self._remember(items, len(data))
            self._bytes += len(data)
            self.appended += len(items)
            if self._idle:
                self._changed.notify_all()
            return self.appended

    def _remember(self, items: Sequence[Item], size: int) -> None:
        if len(self._memory) + len(items) > MEMORY_LINES or self._memory_bytes + size > MEMORY_BYTES:
            raise NotQueued(problem("queue_full", f"{len(self._memory):,} lines wait in memory already"))
        self._memory.extend(items)
        self._memory_bytes += size

    def _written(self, data: bytes) -> bool:
        if self._root is None:
            return False
        try:
            if self._lane is None:
                make_private(self._root)
                self._lane = OwnLane.make(self._root, durable=self._durable)
            self._lane.write(data)
        except OSError as error:
            self._complain(
                "queue_on_memory", f"the queue's disk takes nothing ({error}), lines wait in memory"
            )
            return False
        return True

    # --- the sender's side

    def adopt(self) -> None:
        """Take over what dead processes left behind."""
        if self._root is None:
            return
        try:
            self._adopted += abandoned(self._root)
            self._adopted_bytes = sum(lane.size() for lane in self._adopted)
        except OSError as error:
            self._complain("queue_unreadable", f"the lanes in {self._root} cannot be read ({error})")

    def peek(self, max_lines: int, max_bytes: int) -> Batch | None:
        """The lines that stand first, as many as fit; they stay until they are settled."""
        while self._adopted:
            batch = self._from_lane(self._adopted[0], None, max_lines, max_bytes)
            if batch is not None:
                return batch
            self._drop_adopted()
        with self._changed:
            lane = self._lane
            end = lane.end if lane is not None else None
            held = list(islice(self._memory, max_lines))
            on_disk = self.pending - len(self._memory)
        batch = None if lane is None else self._from_lane(lane, end, max_lines, max_bytes)
        if batch is not None:
            return batch
        if on_disk:
            self._give_up(on_disk)
        items: list[Item] = []
        size = 0
        for item in held:
            size += len(item.body) + 1
            if items and size > max_bytes:
                break
            items.append(item)
        return Batch(items, [], None) if items else None

    def _drop_adopted(self) -> None:
        """The first of the adopted lanes holds nothing more."""
        self._adopted[0].remove()
        with self._changed:
            self._adopted.pop(0)
            self._adopted_bytes = sum(lane.size() for lane in self._adopted)
            self._changed.notify_all()

    def _give_up(self, count: int) -> None:
        """Lines that were written are there no more: somebody removed the files, or the disk lost them."""
        self._complain("queue_lost", f"{count:,} queued lines are gone from {self._root}")
        with self._changed:
            self.damaged += count
            self.settled += count
            if self.settled == self.appended:
                self._bytes = 0
            if self._lane is not None:
                self._lane.release()
                self._lane = None
            self._changed.notify_all()

    def _from_lane(self, lane: Lane, end: Place | None, max_lines: int, max_bytes: int) -> Batch | None:
        batch, size, before = Batch([], [], lane), 0, lane.damaged
        for item, place in lane.lines(end):
            if item is None:
                continue
            size += len(item.body) + 1
            if batch.items and size > max_bytes:
                break
            batch.items.append(item)
            batch.ends.append(place)
            if len(batch.items) >= max_lines:
                break
        if lane.damaged > before:
            self._complain("queue_damaged", f"{lane.damaged - before} torn or damaged lines were skipped")
            self.damaged += lane.damaged - before
        return batch if batch.items else None

    def settle(self, batch: Batch, count: int) -> None:
        """The first `count` lines of the batch are done with."""
        if not count:
            return
        if batch.lane is not None:
            batch.lane.settle(batch.ends[count - 1])
        with self._changed:
            size = sum(map(_size, batch.items[:count]))
            if batch.lane is None:
                self._forget_first(count, size)
            if batch.lane is None or batch.lane is self._lane:
                self.settled += count
                self._bytes -= size
            if self._lane is not None and self.settled == self.appended and self._lane.end.offset:
                self._lane.empty()
            self._changed.notify_all()

    def recover(self) -> None:
        """Put lines from memory back on the disk, if it takes them now.

        Only the thread that peeks may do so: between a peek and its settling no line changes its place.
        """
        with self._changed:
            while self._memory and self._root is not None:
                items: list[Item] = []
                size = 0
                for item in self._memory:
                    items.append(item)
                    size += _size(item)
                    if size >= _WRITE_BYTES:
                        break
                if not self._written(b"".join(map(packed, items))):
                    return
                self._forget_first(len(items), size)

    def _forget_first(self, count: int, size: int) -> None:
        for _ in range(count):
            self._memory.popleft()
        self._memory_bytes -= size

    def wait_for_work(self, timeout: float) -> bool:
        """Whether a line waits, at once or within the time."""
        if self._adopted:
            return True
        with self._changed:
            self._idle = True
            try:
                return self._changed.wait_for(lambda: self.appended > self.settled or self._closed, timeout)
            finally:
                self._idle = False

    # --- both

    @property
    def pending(self) -> int:
        return self.appended - self.settled

    @property
    def holds_memory(self) -> bool:
        return bool(self._memory)

    @property
    def is_closed(self) -> bool:
        return self._closed

    def is_drained(self) -> bool:
        return not self._adopted and self.pending == 0

    def wait_settled(self, number: int, timeout: float) -> bool:
        """Whether line `number` of this process is settled, at once or within the time."""
        with self._changed:
            return self._changed.wait_for(lambda: self.settled >= number, timeout)

    def wait_drained(self, timeout: float) -> bool:
        with self._changed:
            return self._changed.wait_for(self.is_drained, timeout)

    def close(self) -> None:
        """Take nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def leave(self) -> None:
        """Give up the lanes, once nobody peeks any more; what is not delivered waits for the next process."""
        self.recover()
        for lane in self._adopted:
            lane.release()
        self._adopted = []
        if self._lane is not None:
            if self.settled == self.appended:
                self._lane.remove()
            else:
                self._lane.release()

    def forget(self) -> None:
        """In a forked child: let go of what is the parent's."""
        for lane in [*self._adopted, self._lane]:
            if lane is not None:
                with contextlib.suppress(OSError):
                    lane.release()


def _size(item: Item) -> int:
    return len(item.body) + len(item.kind) + 11
