"""Whether the ledger takes appends (LEDGER sections 11 and 12).

A *transient* HALT belongs to one process: it saw the database fail and probes it until three probes in a
row are good. A *sticky* HALT stands in `ledger_log.mode` and is left by a person; `ECP_LEDGER_MODE=HALT`
forces one on a process for as long as it runs. The *guard* row is written by the checkpointer alone; a
process that finds no matching row refuses appends until there is one.

What has ended is news that an `ecp.mode/1` entry tells: a transient HALT, or a guard row that clears a
restored database. The batcher's thread hands the news to the services (`sequencer.on_news`).
"""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ecp_project.kernel.clock import format_time
from ecp_project.kernel.errors import Unavailable
from ledger import metrics

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

PROBE_EVERY_S = 5
GOOD_PROBES = 3
MAX_CLOCK_SKEW_S = 60
TRANSIENT_RETRY_S = 5
STICKY_RETRY_S = 60

GUARD_OK = "ok"
GUARD_OK_RESTORED = (
    "ok_restored"  # another cluster or timeline, compared with the anchors and found consistent
)


@dataclass(frozen=True, slots=True)
class Halt:
    """Why and since when appends are refused."""

    reason: str
    since: datetime
    is_sticky: bool

    def problem(self) -> Unavailable:
        return Unavailable(
            "ledger_halted",
            f"no entries are taken since {format_time(self.since)} ({self.reason}); nothing was stored",
            retry_after=STICKY_RETRY_S if self.is_sticky else TRANSIENT_RETRY_S,
            mode="halt",
            proceed=False,
            halt_reason=self.reason,
        )


@dataclass(frozen=True, slots=True)
class Identity:
    """Which database cluster answers: a restore or failover changes at least one of these."""

    system_identifier: int
    timeline: int
    postmaster_start: datetime


@dataclass(frozen=True, slots=True)
class Restored:
    """A log whose database was restored or failed over, compared with the anchors and found consistent."""

    log_id: int


News = Halt | Restored


class ProcessState:
    """HALT of this process, the guard rows it has already compared, and what its logs have yet to tell."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._forced: Halt | None = None  # set once, before any thread
        self._halt: Halt | None = None  # guarded by self._lock
        self._good_probes = 0  # guarded by self._lock
        self._trusted: dict[int, datetime] = {}  # log id -> postmaster start; guarded by self._lock
        self._news: list[News] = []  # guarded by self._lock

    @property
    def halt(self) -> Halt | None:
        return self._forced or self._halt

    @property
    def is_probing(self) -> bool:
        """Whether a transient HALT waits for good probes; a forced one waits for nothing."""
        return self._halt is not None

    def force(self, halt: Halt | None) -> None:
        self._forced = halt

    def show(self) -> None:
        metrics.show_mode(is_halted=self.halt is not None)

    def enter(self, reason: str, now: datetime) -> Halt:
        with self._lock:
            self._good_probes = 0
            if self._halt is None:
                self._halt = Halt(reason, now, is_sticky=False)
                self.show()
            return self._halt

    def probed(self, *, good: bool) -> Halt | None:
        """Count a probe; returns the HALT that this probe has ended, if it has."""
        with self._lock:
            self._good_probes = self._good_probes + 1 if good else 0
            if self._halt is None or self._good_probes < GOOD_PROBES:
                return None
            ended, self._halt = self._halt, None
            self._news.append(ended)
            self.show()
            return ended

    def trusts(self, log_id: int, postmaster_start: datetime) -> bool:
        return self._trusted.get(log_id) == postmaster_start

    def trust(self, log_id: int, postmaster_start: datetime, *, was_restored: bool = False) -> None:
        with self._lock:
            self._trusted[log_id] = postmaster_start
            if was_restored:
                self._news.append(Restored(log_id))

    @property
    def has_news(self) -> bool:
        return bool(self._news)

    def take_news(self) -> list[News]:
        with self._lock:
            news, self._news = self._news, []
            return news

    def keep_news(self, news: News) -> None:
        """It could not be told; the next round tries again."""
        with self._lock:
            self._news.append(news)

    def forget(self) -> None:
        """Start afresh, as after a fork. What was forced stays."""
        with self._lock:
            self._halt, self._good_probes, self._trusted, self._news = None, 0, {}, []


process = ProcessState()

# The timeline comes from the current WAL file's name: pg_control_checkpoint() shows the old one after a
# promotion.
IDENTITY_SQL = """
SELECT (SELECT system_identifier FROM pg_control_system()),
       CASE WHEN pg_is_in_recovery() THEN 0
            ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint END,
       pg_postmaster_start_time()
"""


def read_identity(cursor: Any) -> Identity:
    cursor.execute(IDENTITY_SQL)
    return Identity(*cursor.fetchone())


def guard_problem(cursor: Any, log_id: int) -> Unavailable | None:
    """Compare the guard row with the connection at hand; None when appends may go on."""
    identity = read_identity(cursor)
    cursor.execute(
        "SELECT system_identifier, timeline, postmaster_start, verdict, at "
        "FROM ledger_guard WHERE log_id = %s",
        (log_id,),
    )
    row = cursor.fetchone()
    if row is None or Identity(*row[:3]) != identity:
        return Unavailable(
            "ledger_halted",
            "the checkpointer has not yet compared this database with its last checkpoint; "
            "nothing was stored",
            retry_after=TRANSIENT_RETRY_S if row else 1,
            mode="halt",
            proceed=False,
            halt_reason="restored_unverified",
        )
    if row[3] not in {GUARD_OK, GUARD_OK_RESTORED}:
        return Halt(row[3], row[4], is_sticky=True).problem()
    process.trust(log_id, identity.postmaster_start, was_restored=row[3] == GUARD_OK_RESTORED)
    return None


def write_state_file(folder: Path, halt: Halt | None, now: datetime) -> None:
    """Keep the mode where it can be read while the database is down: temporary file, fsync, rename."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {
        "mode": "halt" if halt else "active",
        "reason": halt.reason if halt else "",
        "sticky": bool(halt and halt.is_sticky),
        "since": format_time(halt.since if halt else now),
    }
    draft = folder / f".mode.json.{os.getpid()}"
    with draft.open("w", encoding="utf-8") as stream:
        json.dump(document, stream)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(folder / "mode.json")
