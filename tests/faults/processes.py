"""Finding the processes of an installation in /proc, so that a test can kill exactly one of them."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.installation import Installation

PROC = Path("/proc")
# How the launcher's children are recognised in their command lines.
MARKS = {
    "web": b"gunicorn",
    "worker": b"celery\0-A\0ecp_project\0--workdir",
    "beat": b"\0beat\0",
    "checkpointer": b"ledger_checkpointer",
    "postgres": b"/bin/postgres\0",
    "valkey": b"valkey-server",
}


def children(parent: int) -> dict[int, bytes]:
    """Live children of a process with their command lines."""
    found = {}
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
                state, ppid = fields.split()[:2]
                line = (folder / "cmdline").read_bytes()
            except OSError:
                continue  # it has just ended
            if int(ppid) == parent and state not in "ZX":
                found[int(folder.name)] = line
    return found


def pid_of(installation: Installation, name: str) -> int | None:
    """Pid of one of the launcher's children; None while it is down."""
    assert installation.process is not None
    for pid, line in children(installation.process.pid).items():
        if MARKS[name] in line and not (name == "worker" and MARKS["beat"] in line):
            return pid
    return None


def web_workers(installation: Installation) -> list[int]:
    """Gunicorn's workers, oldest first."""
    master = pid_of(installation, "web")
    return sorted(children(master)) if master else []


def backends(installation: Installation, role: str) -> list[int]:
    """PostgreSQL's processes that serve `role`."""
    postmaster = pid_of(installation, "postgres")
    mark = f"postgres: {role} ".encode()
    return [pid for pid, line in children(postmaster).items() if line.startswith(mark)] if postmaster else []


def kill(pid: int | None, number: signal.Signals = signal.SIGKILL) -> None:
    assert pid is not None, "nothing to kill"
    os.kill(pid, number)
