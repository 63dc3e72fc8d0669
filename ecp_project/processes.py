"""Child processes that never outlive their parent, for the embedded servers and the process supervisor.

On Linux the kernel delivers a signal to each child when its parent dies (PR_SET_PDEATHSIG of prctl(2)).
Elsewhere children are recorded as (pid, start time), and the next start ends those that are still the same
process.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import IO

PR_SET_PDEATHSIG = 1
# Held back while a child starts: Python swallows what a handler raises inside the hooks of fork.
HELD_BACK = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGTERM})
# Loaded here and not in the child: between fork and exec nothing may take a lock.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class Account:
    """The unprivileged account that a child is dropped to when its parent runs as root."""

    name: str
    uid: int
    gid: int


def signal_on_parent_death(number: signal.Signals, parent: int) -> None:
    """Ask the kernel for `number` when the calling process loses its parent; it may already have done so."""
    if _LIBC is not None:
        _LIBC.prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:
            os.kill(os.getpid(), number)


def _dying_with(parent: int, number: signal.Signals, mask: set[int]) -> Callable[[], None]:
    def before_exec() -> None:
        for held in HELD_BACK:  # our handlers mean the parent; what is pending ends the child
            if signal.getsignal(held) is not signal.SIG_IGN:
                signal.signal(held, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal_on_parent_death(number, parent)

    return before_exec


def spawn(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    output: IO[bytes] | int | None = None,
    account: Account | None = None,
    on_parent_death: signal.Signals = signal.SIGTERM,
    own_session: bool = True,
    pass_fds: Sequence[int] = (),
    cwd: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start `command`; both output streams go to `output`, or to the terminal when that is None.

    A session of its own keeps Ctrl-C on the terminal away from the child: the parent decides the order.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
    try:
        return subprocess.Popen(  # noqa: S603 - fixed program paths, never text from outside
            [str(part) for part in command],
            env=None if env is None else dict(env),
            stdin=None if output is None else subprocess.DEVNULL,
            stdout=output,
            stderr=None if output is None else subprocess.STDOUT,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
            start_new_session=own_session,
            pass_fds=tuple(pass_fds),
            cwd=cwd,
            # Runs after the change of user, which would clear the death signal again (prctl(2)).
            preexec_fn=_dying_with(os.getpid(), on_parent_death, mask),  # noqa: PLW1509 - takes no lock
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def started_at(pid: int) -> str | None:
    """Start time of a live process in the system's own notation; None when there is no such process.

    A pid alone is no identity: after a restart of the machine another program may wear it.
    """
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else fields[19]  # proc(5): state, and field 22 starttime
    listed = subprocess.run(  # noqa: S603 - the pid is a number
        ["/bin/ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return listed.stdout.strip() or None


def stop(process: subprocess.Popen[bytes], steps: Sequence[tuple[signal.Signals, float]]) -> int:
    """Send each signal in turn until the process has ended; each step waits its number of seconds."""
    for number, seconds in steps:
        if process.poll() is not None:
            break
        process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
    return process.wait() if process.poll() is None else process.returncode


def end_orphan(pid: int, start: str, steps: Sequence[tuple[signal.Signals, float]]) -> bool:
    """End a process that an earlier, dead parent left behind; True if it was still there."""
    if started_at(pid) != start:
        return False
    for number, seconds in steps:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if started_at(pid) != start:
                return True
            time.sleep(0.05)
    return True
