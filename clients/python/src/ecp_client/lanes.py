"""Lanes: folders of segment files, each with one owner, in which lines wait for delivery.

A line is a CRC-32, a kind and a body, appended by one write; whoever reads it later skips what a crash tore.
The owner holds a lock on the file `lock` for as long as it lives, so a lane whose lock can be had has no
owner and may be adopted. The file `position` says how far the lines are settled. It may lag: what is sent
twice has the same id, and the ledger answers with the first receipt.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import secrets
import time
from typing import TYPE_CHECKING, NamedTuple, Self
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SEGMENT_BYTES = 4 * 2**20
_HEAD = 9  # eight hex digits and a blank
_PRIVATE_FOLDER, _PRIVATE_FILE = 0o700, 0o600
_TRIES = 5


class Item(NamedTuple):
    """One queued line.

    Kinds: `d` a decision, `n` one whose agent is still to be learnt, `a` an annotation; capitals are to be
    signed.
    """

    kind: bytes
    body: bytes

    @property
    def is_signed(self) -> bool:
        return self.kind.isupper()


class Place(NamedTuple):
    segment: int
    offset: int


def packed(item: Item) -> bytes:
    text = b"%s %s" % item
    return b"%08x %s\n" % (crc32(text), text)


def unpacked(line: bytes) -> Item | None:
    """The item of a line; None when it is torn or damaged."""
    text = line[_HEAD:-1]
    if line[-1:] != b"\n" or line[:_HEAD] != b"%08x " % crc32(text):
        return None
    kind, _, body = text.partition(b" ")
    return Item(kind, body)


def make_private(folder: Path) -> None:
    folder.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
    if folder.stat().st_uid == os.geteuid():
        folder.chmod(_PRIVATE_FOLDER)


def write_atomically(path: Path, text: str) -> None:
    new = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    try:
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE_FILE), "w") as stream:
            stream.write(text)
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise


class Lane:
    """Reading side; the owner's `OwnLane` writes too."""

    def __init__(self, folder: Path, lock: int) -> None:
        self.folder = folder
        self.damaged = 0
        self._last_damage = Place(0, 0)
        self._lock = lock
        self._position = self._read_position()

    @classmethod
    def adopt(cls, folder: Path) -> Self | None:
        """Take over a lane whose owner is gone; None when it lives, or somebody was faster."""
        try:
            lock = os.open(folder / "lock", os.O_RDWR)
        except FileNotFoundError:  # its owner died in the moment of making it
            with contextlib.suppress(OSError):
                folder.rmdir()
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever removed the lane in between held the lock of a file that is no more.
            if os.fstat(lock).st_ino == (folder / "lock").stat().st_ino:
                return cls(folder, lock)
        except OSError:
            pass
        os.close(lock)
        return None

    def lines(self, end: Place | None = None) -> Iterator[tuple[Item | None, Place]]:
        """Unsettled lines with the place behind each, up to `end`; None for a damaged one."""
        place = self._position
        for number in self.segments():
            if number < place.segment:
                continue
            offset = place.offset if number == place.segment else 0
            try:
                stream = self._segment(number).open("rb")
            except FileNotFoundError:
                continue
            with stream:
                stream.seek(offset)
                while (end is None or Place(number, offset) < end) and (line := stream.readline()):
                    offset += len(line)
                    item = unpacked(line)
                    if item is None and Place(number, offset) > self._last_damage:
                        self._last_damage = Place(number, offset)
                        self.damaged += 1
                    yield item, Place(number, offset)

    def settle(self, place: Place) -> None:
        """Nothing up to `place` is needed any more."""
        self._position = place
        # On a full disk the old position stays, and lines are sent again after a crash.
        with contextlib.suppress(OSError):
            self._write_position()
        for number in self.segments():
            if number < place.segment:
                self._segment(number).unlink(missing_ok=True)

    def segments(self) -> list[int]:
        return sorted(int(path.stem) for path in self.folder.glob("*.seg"))

    def size(self) -> int:
        """Bytes on disk."""
        return sum(self._segment(number).stat().st_size for number in self.segments())

    def remove(self) -> None:
        """Delete the lane; the lock goes last, so that nobody adopts a half of it."""
        for path in [*self.folder.glob("*.seg"), *self.folder.glob("position*"), self.folder / "lock"]:
            path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.folder.rmdir()
        self.release()

    def release(self) -> None:
        """Let somebody else adopt it. In a forked child this leaves the parent's lock alone."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _segment(self, number: int) -> Path:
        return self.folder / f"{number:08d}.seg"

    def _read_position(self) -> Place:
        try:
            found = json.loads((self.folder / "position").read_text(encoding="utf-8"))
            return Place(int(found["segment"]), int(found["offset"]))
        except (OSError, ValueError, KeyError, TypeError):
            return Place(0, 0)

    def _write_position(self) -> None:
        write_atomically(self.folder / "position", json.dumps(self._position._asdict()))


class OwnLane(Lane):
    """The lane of this process. Writing and emptying are guarded by the queue's lock."""

    def __init__(self, folder: Path, lock: int, *, durable: bool) -> None:
        super().__init__(folder, lock)
        self._durable = durable
        self._file = -1
        self.end = Place(0, 0)

    @classmethod
    def make(cls, root: Path, *, durable: bool) -> OwnLane:
        for _ in range(_TRIES):
            folder = root / f"lane-{time.time_ns() // 1_000_000:012x}-{secrets.token_hex(4)}"
            folder.mkdir(mode=_PRIVATE_FOLDER)
            try:
                lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_EXCL, _PRIVATE_FILE)
            except FileNotFoundError:  # somebody took the fresh folder for an abandoned one
                continue
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(lock)
                continue
            return cls(folder, lock, durable=durable)
        raise OSError(errno.EAGAIN, "no lane could be made", str(root))

    def write(self, data: bytes) -> None:
        """Append whole lines; on OSError none of them is there."""
        if self._file < 0 or self.end.offset >= SEGMENT_BYTES:
            self._next_segment()
        try:
            written = os.write(self._file, data)
            if self._durable:
                os.fsync(self._file)
        except OSError:
            self._take_back()
            raise
        if written != len(data):
            self._take_back()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.end = Place(self.end.segment, self.end.offset + written)

    def empty(self) -> None:
        """Everything is settled: no delivered line stays on the disk.

        The position goes back first. In the other order a crash in between would leave a position behind
        which later lines are overlooked.
        """
        try:
            self._position = Place(self.end.segment, 0)
            self._write_position()
            os.ftruncate(self._file, 0)
        except OSError:
            self._position = self.end
        else:
            self.end = self._position

    def release(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        super().release()

    def _next_segment(self) -> None:
        number = self.end.segment + 1
        file = os.open(self._segment(number), os.O_WRONLY | os.O_CREAT | os.O_APPEND, _PRIVATE_FILE)
        if self._file >= 0:
            os.close(self._file)
        self._file, self.end = file, Place(number, 0)
        if self._durable:
            folder = os.open(self.folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def _take_back(self) -> None:
        try:
            os.ftruncate(self._file, self.end.offset)
        except OSError:
            # The torn line stays where it is, and a reader skips it; this segment takes no more lines.
            os.close(self._file)
            self._file = -1


def abandoned(root: Path) -> list[Lane]:
    """Lanes whose owners are gone, oldest first; from now on they are this process's."""
    found = [Lane.adopt(folder) for folder in sorted(root.glob("lane-*"))]
    return [lane for lane in found if lane is not None]
