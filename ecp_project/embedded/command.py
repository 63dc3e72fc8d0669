"""`python -m ecp_project.embedded`: servers for one command or a test run.

`exec [--ephemeral [--fsync]] -- CMD...` runs CMD with servers, running ones of this ECP_HOME are reused;
`status` tells what runs; `reset [--yes]` removes everything below ECP_HOME.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ecp_project.embedded.homes import (
    HOME_NAMES,
    EmbeddedError,
    HomeLock,
    home_folder,
    running_urls,
    uses_own_servers,
)
from ecp_project.embedded.servers import EmbeddedServers
from ecp_project.processes import spawn

LOCK_TIMEOUT_S = 60


def _sweep_throwaways(parent: Path) -> None:
    """Remove throw-away homes whose owner was killed."""
    for home in parent.glob("t*"):
        lock = HomeLock(home, "servers.lock")
        if lock.acquire():
            with contextlib.suppress(EmbeddedError):
                EmbeddedServers(home, throwaway=True).discard()
            lock.release()
            shutil.rmtree(home, ignore_errors=True)


def _run_with(servers: EmbeddedServers | None, command: list[str], surroundings: dict[str, str]) -> int:
    """Run `command` to its end; the servers are kept alive meanwhile."""
    asked: list[int] = []
    # A signal during the start of the child is kept for it: raised here, it would leave the child behind.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _frame: asked.append(number))
    child = spawn(command, env=surroundings, own_session=False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to the child as well
    signal.signal(signal.SIGTERM, lambda number, _frame: child.send_signal(number))
    if asked:  # the child may have been too young to hear it
        child.send_signal(asked[0])
    while True:
        try:
            status = child.wait(0.5)
        except subprocess.TimeoutExpired:
            try:
                for name in servers.revive() if servers else ():
                    sys.stderr.write(f"embedded: {name} had died and was started again\n")
            except (
                EmbeddedError
            ) as error:  # the command may get along without it, and the next look tries again
                sys.stderr.write(f"embedded: {error}\n")
        else:
            return status if status >= 0 else 128 - status


def _terminate(_number: int, _frame: object) -> None:
    raise SystemExit(143)


def execute(home: Path, command: list[str], *, ephemeral: bool, fsync: bool) -> int:
    signal.signal(signal.SIGTERM, _terminate)
    surroundings = dict(os.environ)
    if uses_own_servers():
        return _run_with(None, command, surroundings)
    if ephemeral:
        parent = home / "tmp"
        parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        _sweep_throwaways(parent)
        home = Path(tempfile.mkdtemp(prefix="t", dir=parent))
        home.chmod(0o711)
    surroundings["ECP_HOME"] = str(home)
    if not ephemeral and _wait_for_running(home):
        return _run_with(None, command, surroundings)
    try:
        with EmbeddedServers(home, throwaway=ephemeral, fsync=fsync or not ephemeral) as servers:
            return _run_with(servers, command, surroundings)
    finally:
        if ephemeral:
            shutil.rmtree(home, ignore_errors=True)


def _wait_for_running(home: Path) -> bool:
    """Whether another process runs the servers of `home`; waits while they are still starting."""
    lock, deadline = HomeLock(home, "servers.lock"), time.monotonic() + LOCK_TIMEOUT_S
    while time.monotonic() < deadline:
        if running_urls(home):
            return True
        if lock.acquire():
            lock.release()
            return False
        time.sleep(0.1)
    raise EmbeddedError(f"Process {lock.holder()} holds the servers of {home}, but they do not answer.")


def status(home: Path) -> int:
    if uses_own_servers():
        sys.stdout.write("DATABASE_URL and REDIS_URL are set: nothing embedded is used.\n")
        return 0
    urls = running_urls(home)
    sys.stdout.write(f"{home}: {'running' if urls else 'stopped'}\n")
    for name, url in urls.items():
        sys.stdout.write(f"  {name:22} {re.sub(r':[^:@/]+@', ':***@', url)}\n")
    return 0 if urls else 1


def reset(home: Path, *, yes: bool) -> int:
    if not home.exists():
        sys.stdout.write(f"{home} does not exist; nothing to remove.\n")
        return 0
    for name in ("launcher.lock", "servers.lock"):
        lock = HomeLock(home, name)
        if not lock.acquire():
            raise EmbeddedError(f"{home} is in use by process {lock.holder()}; stop that first.")
        lock.release()
    question = (
        f"Remove database, keys, logs and files below {home}? Receipts given so far lose their log. [y/N] "
    )
    if not yes and input(question).strip().lower() not in {"y", "yes"}:
        sys.stdout.write("Nothing removed.\n")
        return 1
    link = home / "postgres"
    if link.is_symlink():
        shutil.rmtree(link.resolve().parent, ignore_errors=True)
        link.unlink()
    for name in HOME_NAMES:
        target = home / name
        if target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        home.rmdir()  # kept when somebody else put something there
    sys.stdout.write(f"Removed the embedded data below {home}.\n")
    return 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m ecp_project.embedded", description="Embedded PostgreSQL and Valkey"
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("exec", help="run a command with servers")
    run.add_argument("--ephemeral", action="store_true", help="a throw-away home, removed afterwards")
    run.add_argument(
        "--fsync", action="store_true", help="durable writes in a throw-away home (for measurements)"
    )
    run.add_argument("command", nargs=argparse.REMAINDER, help="-- CMD...")
    verbs.add_parser("status", help="what runs")
    verbs.add_parser("reset", help="remove the embedded data").add_argument("--yes", action="store_true")
    chosen = parser.parse_args(arguments)
    home = home_folder()
    try:
        if chosen.verb == "status":
            return status(home)
        if chosen.verb == "reset":
            return reset(home, yes=chosen.yes)
        command = chosen.command[1:] if chosen.command[:1] == ["--"] else chosen.command
        if not command:
            parser.error("exec needs a command")
        return execute(home, command, ephemeral=chosen.ephemeral, fsync=chosen.fsync)
    except EmbeddedError as error:
        sys.stderr.write(f"{error}\n")
        return 1
