"""The folder of one installation: its secrets, its lock, and the file that says which servers run."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecp_project import env
from ecp_project.processes import started_at

if TYPE_CHECKING:
    from ecp_project.processes import Account

PROJECT = Path(__file__).resolve().parents[2]
# What an installation keeps below ECP_HOME; `reset` removes these names and no others.
HOME_NAMES = (
    "postgres", "postgres.new", "pg", "state", "keys", "logs", "files", "spool", "segments", "metrics",
    "tmp", "run", "checkpoints.ndjson",
)  # fmt: skip


class EmbeddedError(RuntimeError):
    """The embedded servers cannot start; the text says what to do."""


def home_folder() -> Path:
    return env.path("ECP_HOME", PROJECT / ".ecp")


def uses_own_servers() -> bool:
    """Whether the environment names both servers, so that nothing embedded starts."""
    return bool(env.secret("DATABASE_URL", "")) and bool(env.secret("REDIS_URL", ""))


def private_folder(path: Path, account: Account | None = None, *, mode: int = 0o700) -> Path:
    """Make `path` for `account`; refuse one of somebody else: the parent may be world-writable."""
    owner = account.uid if account else os.geteuid()
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=mode)
        if account:
            os.chown(path, account.uid, account.gid)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in {owner, os.geteuid()}:
        raise EmbeddedError(f"{path} belongs to somebody else; remove it, or choose another ECP_HOME.")
    if os.geteuid() in {0, status.st_uid}:
        path.chmod(mode)
        if account and status.st_uid != owner:
            os.chown(path, account.uid, account.gid)
    return path


def secret_file(path: Path, content: str) -> None:
    """Write with mode 0600, whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(
        os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
    ) as stream:
        stream.write(content)
    draft.replace(path)


def kept_secret(path: Path) -> str:
    if not path.exists():
        secret_file(path, secrets.token_urlsafe(32) + "\n")
    return path.read_text(encoding="utf-8").strip()


def running_urls(home: Path) -> dict[str, str]:
    """Addresses in `servers.json` when its servers are alive, else an empty mapping."""
    try:
        state = json.loads((home / "state" / "servers.json").read_text(encoding="utf-8"))
        alive = all(started_at(pid) == start for pid, start in state["processes"].values())
    except (OSError, ValueError, KeyError):
        return {}
    return {name: value for name, value in state.items() if name.isupper()} if alive else {}


class HomeLock:
    """One owner of a home at a time; the kernel lets go of the lock when its holder dies, however it dies."""

    def __init__(self, home: Path, name: str) -> None:
        self.path = home / "state" / name
        self._stream: Any = None

    @property
    def held(self) -> bool:
        return self._stream is not None

    def acquire(self) -> bool:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        stream = self.path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.close()
            return False
        stream.truncate(0)
        stream.write(f"{os.getpid()}\n")
        stream.flush()
        self._stream = stream
        return True

    def holder(self) -> str:
        with contextlib.suppress(OSError):
            return self.path.read_text(encoding="utf-8").strip()
        return ""

    def release(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None
