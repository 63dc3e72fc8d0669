"""`make run`: embedded servers, migrations, keys, demo data and all processes, watched by one parent.

One thread does everything: the kernel's death signal hangs on it (see `processes`). Children write straight
into `$ECP_HOME/logs/<name>.log`; this process follows those files and repeats warnings and errors on the
terminal. It holds the listening socket itself, so a restarted web server loses no connection and its port is
never busy.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ecp_project import env
from ecp_project.embedded.homes import PROJECT, EmbeddedError, HomeLock, home_folder, uses_own_servers
from ecp_project.embedded.servers import EmbeddedServers
from ecp_project.processes import end_orphan, signal_on_parent_death, spawn, started_at, stop

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping, Sequence
    from pathlib import Path

READY_TIMEOUT_S = 100.0
STOPPING_TIMEOUT_S = 30.0
TICK_S = 0.2
LIVE_ROUNDS = "40"
FIRST_PAUSE_S, LONGEST_PAUSE_S, STEADY_AFTER_S = 1.0, 30.0, 60.0
LOG_LIMIT_BYTES = 16 * 1024 * 1024
WORTH_TELLING = re.compile(
    rb'"level": ?"(warning|error|critical)"|(?<![%\w])(WARNING|ERROR|CRITICAL|FATAL|PANIC|Traceback)\b'
)
NORMAL = re.compile(rb"the database system is (not yet|starting|shutting)|terminating connection due to")
VARIABLE_PARTS = re.compile(rb"[0-9a-f-]*[0-9][0-9a-f-]*")  # times, ids and pids
REPEAT_AFTER_S = 30.0
EXAMPLE = {
    "action": "order.refund",
    "explanation": "The parcel arrived broken and the photo shows it, so the full price is paid back.",
}


class LauncherError(RuntimeError):
    """The first run cannot go on; the text says what to do."""


class Stopped(Exception):
    """SIGINT or SIGTERM arrived."""


@dataclass(slots=True)
class Child:
    """One kind of process, started again after a crash with growing pauses."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]
    steps: tuple[tuple[signal.Signals, float], ...]
    on_parent_death: signal.Signals = signal.SIGTERM
    pass_fds: tuple[int, ...] = ()
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    pause: float = FIRST_PAUSE_S
    due: float = 0.0


class LogFollower:
    """Repeats what the log files gain and a person should see, each kind of line once in a while."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._offsets: dict[Path, int] = {}
        self._told: dict[bytes, float] = {}

    def skip_to_end(self, log: Path) -> None:
        self._offsets[log] = log.stat().st_size if log.exists() else 0

    def tell(self) -> None:
        for log, offset in self._offsets.items():
            with contextlib.suppress(OSError), log.open("rb") as stream:
                stream.seek(offset)
                text = stream.read(256 * 1024)
                complete = text.rfind(b"\n") + 1
                self._offsets[log] = offset + complete
                for line in text[:complete].splitlines():
                    if WORTH_TELLING.search(line) and not NORMAL.search(line) and self._is_news(line):
                        say(f"{log.stem:>13} | {line[:400].decode(errors='replace')}")

    def _is_news(self, line: bytes) -> bool:
        kind, now = VARIABLE_PARTS.sub(b"", line)[:160], time.monotonic()
        told = self._told.get(kind)
        if told is not None and now - told < REPEAT_AFTER_S:
            return False
        self._told[kind] = now
        return True


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def listening_socket(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise LauncherError(
            f"Port {port} is in use ({error.strerror}). Choose another one: make run ECP_PORT={port + 1}"
        ) from error
    return listener


def _ports_free(first: int, count: int) -> bool:
    for port in range(first, first + count):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


def metrics_port() -> int:
    """First of four ports for /metrics of all that have some; two clones must not collide."""
    if os.environ.get("ECP_METRICS_PORT"):
        return env.integer("ECP_METRICS_PORT", 9108, maximum=65535)
    return next((first for first in range(9108, 9408, 10) if _ports_free(first, 4)), 0)


class Launcher:
    def __init__(self, home: Path, port: int) -> None:
        self.home = home
        self.port = port
        self._servers: EmbeddedServers | None = None
        self._servers_due, self._servers_pause = 0.0, FIRST_PAUSE_S
        self._children: list[Child] = []
        self._follower = LogFollower(home / "logs")
        self._lock = HomeLock(home, "launcher.lock")
        self._state = home / "state" / "launcher.json"
        self._listener: socket.socket | None = None
        self._stream: socket.socket | None = None

    # --- life

    def run(self) -> None:
        self._take_home()
        try:
            began = time.monotonic()
            self._listener = listening_socket(self.port)
            self._stream = listening_socket(0)  # pages learn its address, so any free port will do
            self._start_servers()
            self._prepare()
            self._children = self._make_children(self._listener, self._stream)
            for child in self._children:
                self._start(child)
            is_first = not self._demo_file.exists()
            demo = self._demo()
            self._await_ready()
            if is_first and demo:
                self._decide_live(demo)
            self._welcome(demo, time.monotonic() - began)
            while True:
                self._watch()
                time.sleep(TICK_S)
        finally:
            self._shut_down()

    def _take_home(self) -> None:
        """Own this home, after whoever is just stopping, and end what a killed predecessor left."""
        for name in ("state", "logs", "keys"):
            (self.home / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        deadline = time.monotonic() + 1
        while not self._lock.acquire():
            if self._read_state().get("phase") == "stopping":
                deadline = max(deadline, time.monotonic() + 1)
            if time.monotonic() > deadline:
                raise LauncherError(
                    f"ECP already runs from {self.home} (process {self._lock.holder()}). Stop it with Ctrl-C "
                    "there, or start a second one: make run ECP_HOME=.ecp2 ECP_PORT=8001"
                )
            time.sleep(0.1)
        for pid, start in self._read_state().get("processes", []):
            if end_orphan(pid, start, ((signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))):
                say(f"Ended process {pid}, left over from a run that was killed.")
        self._write_state("starting")

    def _shut_down(self) -> None:
        """In order: nobody accepts work, nobody does work, nothing is left to sign, then the servers."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if self._children or self._servers:
            say("Stopping.")
        self._write_state("stopping")
        for child in self._children:
            if child.process is not None:
                stop(child.process, child.steps)
        for listener in (self._listener, self._stream):
            if listener is not None:
                listener.close()
        if self._servers is not None:
            self._servers.stop()
        self._state.unlink(missing_ok=True)
        self._lock.release()

    def _read_state(self) -> dict[str, Any]:
        try:
            state: dict[str, Any] = json.loads(self._state.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return state

    def _write_state(self, phase: str) -> None:
        alive = [
            child.process.pid for child in self._children if child.process and child.process.poll() is None
        ]
        processes = [(pid, started_at(pid)) for pid in alive]
        draft = self._state.with_suffix(".draft")
        draft.write_text(json.dumps({"phase": phase, "processes": processes}) + "\n", encoding="utf-8")
        draft.replace(self._state)  # whoever reads it meanwhile finds the old one whole

    # --- what everything needs

    def _start_servers(self) -> None:
        if uses_own_servers():
            say("Using the servers that DATABASE_URL and REDIS_URL name.")
            return
        self._servers = EmbeddedServers(self.home)
        self._servers.start()
        for name in ("postgres", "valkey"):
            self._follower.skip_to_end(self.home / "logs" / f"{name}.log")

    def _surroundings(self) -> dict[str, str]:
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith("ECP_SIGNING_KEY")
        }
        own = {"ECP_HOME": str(self.home), "ECP_PORT": str(self.port), "PYTHONUNBUFFERED": "1"}
        if self._stream is not None and not os.environ.get("ECP_BASE_URL"):
            # With an outside address there is a proxy, and its rules say where the live feed is.
            own["ECP_STREAM_URL"] = f"http://127.0.0.1:{self._stream.getsockname()[1]}"
        return inherited | own

    def _manage(self, *arguments: str, extra: Mapping[str, str] | None = None) -> None:
        self._run_once(f"manage.py {arguments[0]}", ["manage.py", *arguments], extra or {})

    def _run_once(self, name: str, command: Sequence[str], extra: Mapping[str, str]) -> None:
        """Run one of our scripts to its end; its output goes to setup.log and is shown only when it fails."""
        log = self.home / "logs" / "setup.log"
        with log.open("ab") as output:
            output.write(f"--- {' '.join(command)}\n".encode())
            output.flush()
            offset = output.tell()
            child = spawn(
                [sys.executable, *command], env=self._surroundings() | dict(extra),
                output=output.fileno(), cwd=PROJECT,
            )  # fmt: skip
        try:
            while child.poll() is None:
                self._watch()
                time.sleep(TICK_S / 4)
        finally:
            stop(child, ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)))
        if child.returncode:
            with log.open("rb") as stream:
                stream.seek(offset)
                told = stream.read().decode(errors="replace")[-4000:]
            raise LauncherError(f"{told}\n{name} failed; the whole output is in {log}")

    def _signing(self) -> dict[str, str]:
        return {"ECP_SIGNING_KEY_FILE": str(self._key_file())}

    def _key_file(self) -> Path:
        return env.path("ECP_SIGNING_KEY_FILE", self.home / "keys" / "ledger.key")

    def _prepare(self) -> None:
        say("Preparing the database.")
        self._manage("migrate", "--database=migrator", "--no-input")
        if not self._key_file().exists():
            self._manage("ledger_keygen", extra=self._signing())
        self._manage("delivery_keygen", "--if-missing")

    # --- processes

    def _checkpointer_env(self) -> dict[str, str]:
        """Hand the signing key to the checkpointer alone, and the database only in its own role."""
        surroundings = self._surroundings() | self._signing()
        urls = self._servers.urls if self._servers else os.environ
        if urls.get("DATABASE_URL_CKPT"):
            own = urls["DATABASE_URL_CKPT"]
            surroundings |= {"DATABASE_URL": own, "DATABASE_URL_DIRECT": own, "REDIS_URL": urls["REDIS_URL"]}
            surroundings.pop("DATABASE_URL_MIGRATOR", None)
        return surroundings

    def _make_children(self, listener: socket.socket, stream: socket.socket) -> list[Child]:
        python = sys.executable
        plain, metrics = self._surroundings(), metrics_port()
        web = [python, "-m", "gunicorn", "ecp_project.wsgi:application",
               "--config", "python:ecp_project.gunicorn_conf"]  # fmt: skip
        celery = [python, "-m", "celery", "-A", "ecp_project", "--workdir", str(PROJECT)]
        worker = [*celery, "worker", "-Q", "polls,default", "-c", "2", "--prefetch-multiplier", "1",
                  "--without-gossip", "--without-mingle", "--loglevel", "WARNING"]  # fmt: skip
        beat = [*celery, "beat", "--loglevel", "WARNING", "--pidfile", "",
                "--schedule", str(self.home / "state" / "beat-schedule")]  # fmt: skip
        checkpointer = [python, "manage.py", "ledger_checkpointer"]
        feed = [python, "manage.py", "console_stream"]
        feed_bind = {"ECP_STREAM_BIND": f"fd://{stream.fileno()}"}
        hard = (signal.SIGKILL, 5.0)
        return [
            Child("web", web, plain | self._metrics("web", metrics) | {"ECP_BIND": f"fd://{listener.fileno()}"},
                  ((signal.SIGTERM, 4.0), (signal.SIGQUIT, 3.0), hard), signal.SIGQUIT, (listener.fileno(),)),
            Child("stream", feed, plain | self._metrics("stream", metrics and metrics + 3) | feed_bind,
                  ((signal.SIGTERM, 5.0), hard), pass_fds=(stream.fileno(),)),
            # Nothing is lost when a worker is killed; without its broker it would wait for long.
            Child("worker", worker, plain | self._metrics("worker", metrics and metrics + 1),
                  ((signal.SIGTERM, 4.0), (signal.SIGQUIT, 3.0), hard), signal.SIGKILL),
            Child("beat", beat, plain, ((signal.SIGTERM, 3.0), hard)),
            Child("checkpointer", checkpointer,
                  self._checkpointer_env() | self._metrics("checkpointer", metrics and metrics + 2),
                  ((signal.SIGTERM, 5.0), hard)),
        ]  # fmt: skip

    def _metrics(self, name: str, port: int) -> dict[str, str]:
        folder = self.home / "metrics" / name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for file in folder.glob("*.db"):  # of processes that are gone
            file.unlink()
        return {"ECP_METRICS_PORT": str(port), "PROMETHEUS_MULTIPROC_DIR": str(folder)}

    def _start(self, child: Child) -> None:
        log = self.home / "logs" / f"{child.name}.log"
        if log.exists() and log.stat().st_size > LOG_LIMIT_BYTES:
            log.replace(log.with_suffix(".log.1"))
        self._follower.skip_to_end(log)
        with log.open("ab") as output:
            child.process = spawn(
                child.command, env=child.env, output=output.fileno(), on_parent_death=child.on_parent_death,
                pass_fds=child.pass_fds, cwd=PROJECT,
            )  # fmt: skip
        child.started, child.due = time.monotonic(), 0.0
        self._write_state("running")

    def _watch(self) -> None:
        self._follower.tell()
        self._revive_servers()
        now = time.monotonic()
        for child in self._children:
            if child.process is None or child.process.poll() is None:
                continue
            if not child.due:
                child.pause = FIRST_PAUSE_S if now - child.started > STEADY_AFTER_S else child.pause
                child.due = now + child.pause
                log = self.home / "logs" / f"{child.name}.log"
                say(f"{child.name} ended ({child.process.returncode}), again in {child.pause:.0f} s: {log}")
                child.pause = min(child.pause * 2, LONGEST_PAUSE_S)
            elif now >= child.due:
                self._start(child)

    def _revive_servers(self) -> None:
        """One that does not come up is tried again later; meanwhile the ledger answers 503."""
        if self._servers is None or time.monotonic() < self._servers_due:
            return
        try:
            for name in self._servers.revive():
                say(f"{name} had stopped and was started again.")
        except EmbeddedError as error:
            say(f"{error}\nThe next try follows in {self._servers_pause:.0f} s.")
            self._servers_due = time.monotonic() + self._servers_pause
            self._servers_pause = min(self._servers_pause * 2, LONGEST_PAUSE_S)
        else:
            self._servers_pause = FIRST_PAUSE_S

    # --- what the person sees

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _readiness(self) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"{self.address}/readyz", timeout=3) as answer:  # noqa: S310 - http, ours
                return answer.status, str(json.load(answer).get("status"))
        except urllib.error.HTTPError as error:
            return error.code, "fail"
        except (OSError, ValueError):
            return 0, "no answer"

    def _await_ready(self) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        patience = (
            10.0  # degraded is ready too; a new log is degraded until the checkpointer has looked at it
        )
        while True:
            self._watch()
            code, status = self._readiness()
            if code == 200:  # noqa: PLR2004 - HTTP
                if status == "ok" or patience <= 0:
                    return
                patience -= TICK_S
            if time.monotonic() > deadline:
                raise LauncherError(
                    f"{self.address}/readyz does not say 200 ({status}). See {self.home / 'logs'}."
                )
            time.sleep(TICK_S)

    def _demo(self) -> dict[str, str]:
        """Sign-in and API key of the demo, loaded on the first run."""
        if not self._demo_file.exists():
            say("Loading the demo data.")
            self._manage("demo_load", "--if-empty", "--json", str(self._demo_file))
            self._manage("console_rollup")  # the worker's next round may be a minute away
        try:
            demo: dict[str, str] = json.loads(self._demo_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}  # a ledger that was filled by other means has no demo
        return demo

    @property
    def _demo_file(self) -> Path:
        return self.home / "state" / "demo.json"

    def _decide_live(self, demo: Mapping[str, str]) -> None:
        """Let the sample agent decide through the Python client; the demo's newest entries are its own."""
        surroundings = {
            "URL": self.address, "KEY": demo["api_key"], "XDG_STATE_HOME": str(self.home / "state"),
            "PYTHONPATH": str(PROJECT / "clients" / "python" / "src"),
        }  # fmt: skip
        try:
            agent = ["examples/agent.py", "--agent", demo["agent"], "--rounds", LIVE_ROUNDS]
            self._run_once("The sample agent", agent, surroundings)
        except LauncherError as error:  # a sample that fails is no reason to stop the ledger
            say(str(error))

    def _welcome(self, demo: dict[str, str], seconds: float) -> None:
        say(f"\nECP is ready after {seconds:.0f} s.\n\n  Console   {self.address}/console/")
        if demo:
            document = json.dumps({"agent": demo["agent"], **EXAMPLE})
            say(f"  Sign-in   {demo['login']}  {demo['password']}\n  API key   {demo['api_key']}\n")
            say("Record a decision:\n")
            say(f"  curl -sS {self.address}/api/v1/decisions/ \\")
            say(f"    -H 'Authorization: Bearer {demo['api_key']}' -H 'Content-Type: application/json' \\")
            say(f"    -d '{document}'\n")
        say(f"Logs are in {self.home / 'logs'}. Ctrl-C stops everything.")


def _stop_now(_number: int, _frame: object) -> None:
    raise Stopped


def main() -> int:
    signal.signal(signal.SIGINT, _stop_now)
    signal.signal(signal.SIGTERM, _stop_now)
    signal.signal(signal.SIGHUP, _stop_now)
    if "MAKELEVEL" in os.environ:  # make, killed, would otherwise leave us behind
        signal_on_parent_death(signal.SIGTERM, os.getppid())
    try:
        Launcher(home_folder(), env.integer("ECP_PORT", 8000, minimum=1, maximum=65535)).run()
    except Stopped:
        return 0
    except (LauncherError, EmbeddedError, env.EnvError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
