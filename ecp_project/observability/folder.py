"""The folder in which the processes of one server share their numbers (`PROMETHEUS_MULTIPROC_DIR`).

What a process that has ended counted still counts, but web processes are replaced all the time, and a scrape
reads every file. So the process that shows the numbers first adds those of the dead to one set of files, and
forgets what they had in hand: whoever was killed could not take it back.
"""

from __future__ import annotations

import os
import struct
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import CollectorRegistry

FILE_TORN = "metrics_file_torn"
ENDED = 0  # in file names: no process, but all that have ended
_log = structlog.get_logger("ecp.metrics")


class SharedFolder(MultiProcessCollector):
    """Collects for one process that serves; a second one that did so would count the dead twice."""

    def __init__(self, registry: CollectorRegistry, folder: str) -> None:
        super().__init__(registry, folder)  # type: ignore[no-untyped-call]  # untyped in the library
        self._folder = Path(folder)
        self._lock = threading.Lock()

    def collect(self) -> Any:
        with self._lock:
            for pid in self._ended():
                self._fold(pid)
            return super().collect()  # type: ignore[no-untyped-call]  # untyped in the library

    def _ended(self) -> Iterator[int]:
        for pid in {int(file.stem.rpartition("_")[2]) for file in self._folder.glob("*.db")} - {ENDED}:
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                yield pid
            except PermissionError:
                continue  # it lives, under another account

    def _fold(self, pid: int) -> None:
        mark_process_dead(pid, str(self._folder))  # type: ignore[no-untyped-call]  # untyped in the library
        for file in self._folder.glob(f"*_{pid}.db"):
            kind = file.stem.removesuffix(f"_{pid}")
            try:
                _add(file, self._folder / f"{kind}_{ENDED}.db", kind)
            except (RuntimeError, struct.error) as error:  # killed while it wrote; the rest still counts
                _log.warning(FILE_TORN, kind=kind, exc_info=error)
            file.unlink()


def _add(source: Path, target: Path, kind: str) -> None:
    """Counts add up; of two gauges the later one or the larger one stays, as the library would show it."""
    values = list(MmapedDict.read_all_values_from_file(str(source)))  # type: ignore[no-untyped-call]  # untyped
    kept = MmapedDict(str(target))  # type: ignore[no-untyped-call]  # untyped in the library
    try:
        for key, value, at, _ in values:
            old, old_at = kept.read_value(key)  # type: ignore[no-untyped-call]  # untyped in the library
            if kind in {"counter", "histogram"}:
                found = (old + value, 0.0)
            elif kind == "gauge_max":
                found = (max(old, value), 0.0)
            else:
                assert kind == "gauge_mostrecent", kind
                found = (value, at) if at >= old_at else (old, old_at)
            kept.write_value(key, *found)  # type: ignore[no-untyped-call]  # untyped in the library
    finally:
        kept.close()  # type: ignore[no-untyped-call]  # untyped in the library
