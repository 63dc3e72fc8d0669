"""What the figures were measured on: processor, memory, versions, and the time of one fsync."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg

PAGE = bytes(8192)
SYNCS = 200


def fsync_ms(folder: Path) -> float:
    """Median milliseconds to write 8 KiB and make them durable, where the database lies."""
    file, times = folder / "fsync-probe", []
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        for _ in range(SYNCS):
            started = time.perf_counter()
            os.pwrite(descriptor, PAGE, 0)
            os.fsync(descriptor)
            times.append(time.perf_counter() - started)
    finally:
        os.close(descriptor)
        file.unlink()
    return statistics.median(times) * 1000


def _first(path: str, name: str) -> str:
    try:
        lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return "unknown"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "unknown")


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],  # noqa: S607 - whichever git there is
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.strip() or "unknown"


def described(home: Path, database: psycopg.Connection[Any]) -> dict[str, Any]:
    release = platform.release().partition("-")[0]
    memory_kib = _first("/proc/meminfo", "MemTotal").split()[0]
    names = ["server_version", "fsync", "synchronous_commit"]
    asked = "SELECT name, setting FROM pg_settings WHERE name = ANY(%s)"
    settings = database.execute(asked, (names,)).fetchall()
    return {
        "processor": _first("/proc/cpuinfo", "model name"),
        "cores": os.cpu_count(),
        "memory_gib": round(int(memory_kib) / 2**20) if memory_kib.isdigit() else None,
        "system": f"{platform.system()} {release}",
        "python": platform.python_version(),
        "postgresql": dict(settings),
        "fsync_ms": round(fsync_ms(home.resolve() / "state"), 3),
        "commit": _commit(),
    }
