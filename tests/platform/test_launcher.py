"""`make run` for real: one installation is started, used, killed, started again and stopped."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ecp_project.launcher import LauncherError as RefusalError
from ecp_project.launcher import LogFollower, _ports_free, listening_socket
from ecp_project.processes import started_at
from tests.installation import PROJECT, Installation, needs_binaries, until
from tests.observability.shown import (
    each_process_shows_its_own_numbers_and_a_request_its_trace,
    metrics_port,
    tasks_share_sessions,
    worker_does_quietly_what_beat_sends,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    home, port = tmp_path_factory.mktemp("run") / "home", metrics_port()
    with Installation(home, ECP_METRICS_PORT=str(port)) as found:
        yield found


@pytest.mark.e2e
@needs_binaries
def test_first_run_from_nothing_to_a_recorded_decision_and_back(installation: Installation) -> None:
    """One story in order, since each start costs many seconds."""
    told = installation.start()
    assert installation.get("/readyz") == 200
    assert re.search(r"Sign-in +\S+ +\S+", told)

    # the printed line, pasted
    line = re.search(r"curl .*?\}'", told, re.DOTALL)
    assert line
    words = shlex.split(line[0].replace("\\\n", " "))
    headers = dict(word.split(": ", 1) for word in words if ": " in word and not word.startswith("{"))
    request = urllib.request.Request(words[2], data=words[-1].encode(), headers=headers)  # noqa: S310 - loopback

    # the newest decisions are those that the sample agent sent through the Python client
    newest = urllib.request.Request(words[2] + "?page_size=50", headers=headers)  # noqa: S310 - loopback
    with urllib.request.urlopen(newest, timeout=10) as answer:  # noqa: S310 - loopback
        assert "stock.order" in {row["statement"]["action"] for row in json.load(answer)["results"]}

    def append() -> int:
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - loopback
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    until(lambda: append() == 201)

    assert feed_asks_who_is_there(installation)
    each_process_shows_its_own_numbers_and_a_request_its_trace(installation, told)

    # only the checkpointer was given the signing key
    if Path("/proc/self/environ").exists():
        holders = {
            name
            for name, pid in installation.pids().items()
            if name not in {"postgres", "valkey"}
            and b"ECP_SIGNING_KEY_FILE=" in Path(f"/proc/{pid}/environ").read_bytes()
        }
        assert holders == {"checkpointer"}

    # a second start of the same home is refused, with the way out
    second = installation.spawn()
    assert second.wait(30) == 1
    assert "already runs" in installation.told.read_text(encoding="utf-8")

    # a crashed process and a crashed database come back by themselves
    before, killed = installation.pids(), datetime.now(UTC)
    os.kill(before["web"], signal.SIGKILL)
    os.kill(before["postgres"], signal.SIGKILL)
    until(lambda: installation.pids()["web"] != before["web"] and append() == 201, 60)

    # nothing survives a kill -9 of the parent for long, and the next start finds its data
    pids = installation.pids()
    assert installation.process is not None
    installation.process.kill()
    installation.process.wait()
    again, restored = installation.start(), datetime.now(UTC)
    assert all(started_at(pid) is None for pid in pids.values())
    assert "Loading the demo data" not in again
    assert line[0] in again
    until(lambda: append() == 201)
    worker_does_quietly_what_beat_sends(installation, without_database=(killed, restored))
    tasks_share_sessions(installation)

    # stopped by a signal, everything is gone
    pids = installation.pids()
    began = time.monotonic()
    assert installation.stop(signal.SIGTERM) == 0
    assert time.monotonic() - began < 20
    assert all(started_at(pid) is None for pid in pids.values())
    assert not (installation.home / "state" / "servers.json").exists()


def feed_asks_who_is_there(installation: Installation) -> bool:
    """Pages may connect to the live feed at its own port, and that port answers strangers with 401."""
    page = f"http://127.0.0.1:{installation.port}/console/login/"
    with urllib.request.urlopen(page, timeout=10) as answer:
        policy = answer.headers["Content-Security-Policy"]
    feed = re.search(r"connect-src 'self' (http://127\.0\.0\.1:\d+);", policy)
    assert feed
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(feed[1] + "/console/stream/", timeout=10)  # noqa: S310 - loopback
    refused.value.close()
    return refused.value.code == 401


@pytest.mark.unit
def test_busy_port_names_the_variable() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(RefusalError, match=f"ECP_PORT={port + 1}"):
            listening_socket(port)
        assert not _ports_free(port, 1)


@pytest.mark.unit
def test_unreadable_port_names_the_variable(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ecp_project.launcher"], cwd=PROJECT, capture_output=True, text=True,
        check=False, env=os.environ | {"ECP_HOME": str(tmp_path), "ECP_PORT": "80x"},
    )  # fmt: skip
    assert done.returncode == 1
    assert "ECP_PORT" in done.stderr


@pytest.mark.unit
def test_terminal_shows_trouble_once_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "web.log"
    log.write_text("[ERROR] from an earlier run\n", encoding="utf-8")
    follower = LogFollower(tmp_path)
    follower.skip_to_end(log)
    with log.open("a", encoding="utf-8") as stream:
        stream.write('{"level":"info","event":"request"}\n')
        stream.write('{"level":"warning","event":"slow","id":"01a20b67-89d8"}\n')
        stream.write('{"level":"warning","event":"slow","id":"01a20b67-94f0"}\n')
        stream.write("FATAL:  the database system is starting up\n")
        stream.write("ERROR: unfinished")
    follower.tell()
    assert capsys.readouterr().out.count("\n") == 1
    with log.open("a", encoding="utf-8") as stream:
        stream.write(" line\n")
    follower.tell()
    assert capsys.readouterr().out == "          web | ERROR: unfinished line\n"
