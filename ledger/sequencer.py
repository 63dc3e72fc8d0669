"""The append path: one lock, one order, one commit for many entries (LEDGER section 9).

`append` is the transaction's inside: it takes the head row's lock, which **is** the sequencer across
processes and hosts, answers repeated ids, splices, hashes, stores, and moves the head. The `Batcher` is a
thread that gathers the works of many requests into one such transaction (group commit). Services that store
rows and an entry together call `append` on their own connection instead.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import structlog
from django.conf import settings
from django.db import DatabaseError, connections

from ecp_project.kernel.clock import format_time, utc_now
from ecp_project.kernel.errors import Conflict, EcpError, Unavailable
from ledger import metrics, modes
from ledger.core.entry import leaf_hash, parse_entry, splice, stmt_digest
from ledger.rows import COPY_FROM, LogRef, Work, store_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

MODE_NOT_TOLD = "mode_not_told"
MODE_NOT_WRITTEN = "mode_file_not_written"
_log = structlog.get_logger("ecp.sequencer")

FLUSH_ENTRIES = 256
FLUSH_DELAY_S = 0.010
MAX_OUTSTANDING = 4_096
WAIT_S = 5.0

BUSY_STATES = frozenset({"55P03", "57014", "40001", "40P01", "25P03"})
HALT_CLASSES = ("53", "57P", "58", "08")
READ_ONLY_STATE = "25006"
LOST_CLASSES = ("08", "57P")  # the connection broke or was ended: whether a COMMIT took place is open
DATA_CLASSES = ("22", "23")


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a statement stands in the log; `warnings` are for its sender, they are not stored."""

    uid: UUID
    seq: int
    rcvd: datetime
    leaf_hash: bytes
    stmt_digest: str
    is_replay: bool
    warnings: tuple[str, ...] = ()


Outcome = Stored | EcpError

HEAD_SQL = """
SELECT h.size, h.tip, h.last_rcvd, l.mode, clock_timestamp(), pg_postmaster_start_time()
FROM ledger_head h JOIN ledger_log l ON l.id = h.log_id
WHERE h.log_id = %s FOR UPDATE OF h FOR SHARE OF l
"""
KNOWN_SQL = """
SELECT e.uid, e.seq, e.rcvd, e.leaf_hash, e.entry, s.request_mac
FROM ledger_entry e LEFT JOIN ledger_submission s ON s.log_id = e.log_id AND s.uid = e.uid
WHERE e.log_id = %s AND e.uid = ANY(%s)
"""
MOVE_HEAD_SQL = "UPDATE ledger_head SET size = %s, tip = %s, last_rcvd = %s WHERE log_id = %s AND size = %s"


def append(
    cursor: psycopg.Cursor[Any],
    log: LogRef,
    works: list[Work],
    *,
    now: datetime,
    late: Callable[[], Sequence[Work]] | None = None,
) -> list[Outcome]:
    """Sequence `works` inside the caller's transaction; the caller commits at once afterwards.

    `late` is asked once the head is locked, for works that came while others held it; they join `works`.
    One outcome for each work, in order: stored, replayed, or `id_reused`. Raises `Unavailable` when the log
    takes no entries, and then nothing was stored.
    """
    started = time.perf_counter()
    cursor.execute(HEAD_SQL, (log.id,), binary=True)
    # A statement of its own sees what was committed while the one before waited for the lock.
    stored_before = psycopg.Cursor(cursor.connection)
    stored_before.execute(KNOWN_SQL, (log.id, [work.uid for work in works]), binary=True)
    row = cursor.fetchone()
    assert row is not None, f"log {log.id} has no head"
    metrics.HEAD_LOCK_WAIT.observe(time.perf_counter() - started)
    size, tip, last_rcvd, mode, db_now, postmaster_start = row
    _refuse_unless_open(cursor, log, mode, db_now, postmaster_start, now)
    # A reply lost after COMMIT looks like a failure to the agent, so its retry must find the old receipt.
    known = {row[0]: row for row in stored_before.fetchall()}
    if late is not None and (joining := late()):
        works += joining
        stored_before.execute(KNOWN_SQL, (log.id, [work.uid for work in joining]), binary=True)
        known |= {row[0]: row for row in stored_before.fetchall()}
    outcomes, fresh = _judge(known, works)
    if not fresh:
        return outcomes
    if any(work.parts for _, work in fresh):
        _keep_subject_keys(cursor, [work for _, work in fresh])
    rcvd = max(db_now, last_rcvd)
    stored = _sequence(log, fresh, outcomes, int(size), bytes(tip), rcvd)
    _settle_repeats(works, outcomes)
    store_rows(cursor, log, stored, rcvd)
    for seq, work, _, _ in stored:
        if work.beside is not None:
            work.beside(cursor, seq)
    # That it moved is not asked: a deferred trigger proves it at the commit, and asking costs a round trip.
    cursor.execute(MOVE_HEAD_SQL, (size + len(stored), stored[-1][3], rcvd, log.id, size), binary=True)
    return outcomes


def _refuse_unless_open(  # noqa: PLR0917 - one row of the head query, taken apart once
    cursor: psycopg.Cursor[Any],
    log: LogRef,
    mode: str,
    db_now: datetime,
    postmaster_start: datetime,
    now: datetime,
) -> None:
    halt = modes.process.halt
    if halt is not None:
        batcher.wake()
        raise halt.problem()
    if not modes.process.trusts(log.id, postmaster_start):
        problem = modes.guard_problem(cursor, log.id)
        if problem is not None:
            raise problem
        if modes.process.has_news:
            batcher.wake()
    if mode != "active":
        raise modes.Halt("log_halted", db_now, is_sticky=True).problem()
    skew = abs((db_now - now).total_seconds())
    metrics.CLOCK_SKEW.set(skew)
    if skew > modes.MAX_CLOCK_SKEW_S:
        raise modes.process.enter("clock_skew", now).problem()


def _judge(
    known: Mapping[UUID, tuple[Any, ...]], works: Sequence[Work]
) -> tuple[list[Any], list[tuple[int, Work]]]:
    """Answer what is stored already; the rest comes back as (index, work), each uid once."""
    outcomes: list[Any] = [None] * len(works)
    fresh: list[tuple[int, Work]] = []
    seen: set[UUID] = set()
    for index, work in enumerate(works):
        row = known.get(work.uid)
        if row is not None:
            outcomes[index] = _replay(work, row)
        elif work.uid not in seen:
            seen.add(work.uid)
            fresh.append((index, work))
    return outcomes, fresh


def _replay(work: Work, row: tuple[Any, ...]) -> Outcome:
    uid, seq, rcvd, leaf, entry, request_mac = row
    statement = parse_entry(bytes(entry)).stmt_raw
    if work.request_mac is None:
        is_same = statement == work.raw
    else:
        is_same = request_mac is not None and bytes(request_mac) == work.request_mac
    if is_same:
        metrics.REPLAYS.inc()
        return Stored(uid, seq, rcvd, bytes(leaf), stmt_digest(statement), is_replay=True)
    return _reused(uid, seq, stmt_digest(statement))


def _reused(uid: UUID, seq: int, digest: str) -> Conflict:
    detail = f"{uid} is stored at {seq} with other content"
    return Conflict("id_reused", detail, pointer="/id", seq=seq, stmt_digest=digest)


def _settle_repeats(works: Sequence[Work], outcomes: list[Any]) -> None:
    """Within one flush the first of equal ids wins; the others are judged as replays of it."""
    first: dict[UUID, int] = {}
    for index, work in enumerate(works):
        if outcomes[index] is not None:
            first.setdefault(work.uid, index)
            continue
        winner, stored = works[first[work.uid]], outcomes[first[work.uid]]
        if winner.raw == work.raw or (
            work.request_mac is not None and winner.request_mac == work.request_mac
        ):
            outcomes[index] = Stored(
                work.uid, stored.seq, stored.rcvd, stored.leaf_hash, stored.stmt_digest, is_replay=True
            )
        else:
            outcomes[index] = _reused(work.uid, stored.seq, stored.stmt_digest)


def _keep_subject_keys(cursor: psycopg.Cursor[Any], works: Sequence[Work]) -> None:
    """Lock the keys that parts use.

    A part whose key an erasure took meanwhile is encrypted under a fresh one.
    """
    brought = {key.id for work in works for key in work.keys}
    wanted = {part.subject_key_id for work in works for part in work.parts} - brought
    if not wanted:
        return
    cursor.execute(
        "SELECT id FROM ledger_subjectkey WHERE id = ANY(%s) FOR KEY SHARE", (list(wanted),), binary=True
    )
    gone = wanted - {row[0] for row in cursor}
    for work in works:
        if gone.isdisjoint(part.subject_key_id for part in work.parts):
            continue
        keys, parts = list(work.keys), []
        for part in work.parts:
            if part.subject_key_id in gone:
                assert part.reseal is not None, "a key that came with its parts is not looked for"
                key, fresh_part = part.reseal()
                keys.append(key)
                parts.append(fresh_part)
            else:
                parts.append(part)
        work.keys, work.parts = keys, parts


def _sequence(  # noqa: PLR0917 - private step of `append`
    log: LogRef, fresh: list[tuple[int, Work]], outcomes: list[Any], size: int, tip: bytes, rcvd: datetime
) -> list[tuple[int, Work, bytes, bytes]]:
    """Splice and hash in order: (seq, work, entry, leaf hash); fills the outcomes."""
    text, rows = format_time(rcvd), []
    for seq, (index, work) in enumerate(fresh, start=size):
        entry = splice(origin=log.origin, prev=tip, rcvd=text, seq=seq, sigs=work.sigs, stmt=work.raw)
        tip = leaf_hash(entry)
        rows.append((seq, work, entry, tip))
        outcomes[index] = Stored(work.uid, seq, rcvd, tip, stmt_digest(work.raw), is_replay=False)
    return rows


# --- the batcher
@dataclass(slots=True)
class Job:
    """Works of one request. A batch request keeps a transaction of its own; single works share one."""

    log: LogRef
    works: Sequence[Work]
    is_batch: bool
    done: threading.Event = field(default_factory=threading.Event)
    outcomes: list[Outcome] | None = None
    failure: BaseException | None = None

    def resolve(self, outcomes: list[Outcome]) -> None:
        self.outcomes = outcomes
        self.done.set()

    def fail(self, failure: BaseException) -> None:
        self.failure = failure
        self.done.set()


class CommitLost(Exception):
    """The connection broke while COMMIT was under way: stored or not is not known yet."""


class Batcher:
    """Group commit for one process.

    A daemon thread with its own connection, started on first use after the fork.
    """

    def __init__(self, *, clock: Callable[[], datetime] = utc_now) -> None:
        self._clock = clock
        self._condition = threading.Condition()
        self._queue: deque[Job] = deque()  # guarded by self._condition
        self._outstanding = 0  # guarded by self._condition
        self._building = 0  # works that are coming; guarded by self._condition
        self._own = threading.local()
        self._thread: threading.Thread | None = None  # guarded by self._condition
        self._connection: psycopg.Connection[Any] | None = None  # owned by the flush thread
        self._probe_due = 0.0  # monotonic; owned by the flush thread
        self._tell_due = 0.0  # monotonic; owned by the flush thread
        self._is_stopped = False  # guarded by self._condition

    def stop(self) -> None:
        """Flush what waits, end the thread and close its connection."""
        with self._condition:
            self._is_stopped = True
            self._condition.notify()
            thread = self._thread
        if thread is not None:
            thread.join(WAIT_S)

    @contextmanager
    def building(self) -> Iterator[None]:
        """Tell the batcher that a work is coming, so that it waits for it within the flush delay.

        The sooner it is told, the more entries share a commit. It ends when the work is submitted; inside
        another one of the same thread it tells nothing new.
        """
        if self._is_coming():
            yield
            return
        self._own.is_coming = True
        with self._condition:
            self._building += 1
        try:
            yield
        finally:
            if self._is_coming():
                with self._condition:
                    self._arrived()
                    if self._building == 0:
                        self._condition.notify()

    def _is_coming(self) -> bool:
        """Whether this thread has told of a work that is not here yet."""
        return getattr(self._own, "is_coming", False)

    def _arrived(self) -> None:
        """Call it with the condition held: the work of this thread is here, or will not come."""
        self._own.is_coming = False
        self._building -= 1

    def submit(self, log: LogRef, works: Sequence[Work], *, is_batch: bool = False) -> list[Outcome]:
        """Wait until the works are durable.

        Raises `Unavailable` when they are not, or when that is not known.
        """
        try:
            return self._submit(Job(log, works, is_batch))
        except Unavailable as problem:
            metrics.APPEND_FAILURES.labels(reason=problem.code).inc(len(works))
            raise

    def _submit(self, job: Job) -> list[Outcome]:
        halt = modes.process.halt
        if halt is not None:
            self.wake()
            raise halt.problem()
        with self._condition:
            if self._outstanding + len(job.works) > MAX_OUTSTANDING:
                raise Unavailable("ledger_busy", "too many appends wait in this process", retry_after=1)
            self._outstanding += len(job.works)
            metrics.OUTSTANDING.set(self._outstanding)
            self._queue.append(job)
            if self._is_coming():
                self._arrived()
            self._start()
            self._condition.notify()
        if not job.done.wait(WAIT_S):
            raise Unavailable("outcome_unknown", "no answer from the database within 5 s", retry_after=1)
        if job.failure is not None:
            raise job.failure
        assert job.outcomes is not None
        return job.outcomes

    def _start(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="ledger-batcher", daemon=True)
            self._thread.start()

    def wake(self) -> None:
        """Let the thread look at what else than appends it has to do: probe, tell news."""
        with self._condition:
            self._start()
            self._condition.notify()

    def _run(self) -> None:
        while not (self._is_stopped and not self._queue):
            # Requests wake this thread, and a database that is down must not be asked at their rate.
            if modes.process.is_probing and time.monotonic() >= self._probe_due:
                self._probe()
            if time.monotonic() >= self._tell_due:
                self._tell()
            for jobs in self._take():
                self._flush(jobs)
        self._drop()

    def _tell(self) -> None:
        """Let the logs tell what has ended; what cannot be stored now is told later."""
        for news in modes.process.take_news():
            try:
                for hook in on_news:
                    hook(news)
            except (Unavailable, DatabaseError) as error:
                modes.process.keep_news(news)
                self._tell_due = time.monotonic() + modes.PROBE_EVERY_S
                _log.warning(MODE_NOT_TOLD, exc_info=error)

    def _take(self) -> list[list[Job]]:
        """Next groups to flush: by log, batches alone.

        Returns early with nothing while the process is in HALT.
        """
        with self._condition:
            while not self._queue and not self._is_stopped:
                is_waiting = modes.process.is_probing or modes.process.has_news
                self._condition.wait(modes.PROBE_EVERY_S if is_waiting else None)
                if modes.process.is_probing or modes.process.has_news:
                    break
            deadline = time.monotonic() + FLUSH_DELAY_S
            while self._building and len(self._queue) < FLUSH_ENTRIES:
                remaining = deadline - time.monotonic()
                if remaining <= 0 or not self._condition.wait(remaining):
                    break
            singles: dict[int, list[Job]] = {}
            groups: list[list[Job]] = []
            taken = 0
            while self._queue and taken < FLUSH_ENTRIES:
                job = self._queue.popleft()
                taken += len(job.works)
                if job.is_batch:
                    groups.append([job])
                elif job.log.id in singles:
                    singles[job.log.id].append(job)
                else:
                    singles[job.log.id] = [job]
                    groups.append(singles[job.log.id])
            return groups

    def _flush(self, jobs: list[Job]) -> None:
        works = [work for job in jobs for work in job.works]
        try:
            outcomes = self._outcomes(jobs[0].log, works, partial(self._joining, jobs))
        except Exception as failure:  # noqa: BLE001 - the thread must outlive it, and every waiter must hear of it
            for job in jobs:
                job.fail(failure)
        else:
            start = 0
            for job in jobs:
                job.resolve(outcomes[start : start + len(job.works)])
                start += len(job.works)
            metrics.BATCH_ENTRIES.observe(len(works))
        with self._condition:
            self._outstanding -= len(works)
            metrics.OUTSTANDING.set(self._outstanding)

    def _joining(self, jobs: list[Job]) -> list[Work]:
        """Works that wait now and may share the commit of `jobs`; their jobs are added to these."""
        if jobs[0].is_batch:
            return []
        size = sum(len(job.works) for job in jobs)
        most = COPY_FROM - 1 if size < COPY_FROM else FLUSH_ENTRIES  # a COPY, or none, has been decided on
        joining: list[Work] = []
        with self._condition:
            while self._queue:
                job = self._queue[0]
                if job.is_batch or job.log.id != jobs[0].log.id or size + len(job.works) > most:
                    break
                jobs.append(self._queue.popleft())
                joining += job.works
                size += len(job.works)
        return joining

    def _outcomes(
        self, log: LogRef, works: list[Work], late: Callable[[], Sequence[Work]] | None = None
    ) -> list[Outcome]:
        halt = modes.process.halt
        if halt is not None:
            raise halt.problem()
        try:
            return self._attempt(log, works, late)
        except CommitLost:
            return self._find_out(log, works)
        except psycopg.Error as error:
            state = error.sqlstate or ""
            if state.startswith(DATA_CLASSES) and len(works) > 1:
                # One bad item must not fail its neighbours.
                return [outcome for work in works for outcome in self._alone(log, work)]
            raise self.problem(error) from error

    def _alone(self, log: LogRef, work: Work) -> list[Outcome]:
        try:
            return self._outcomes(log, [work])
        except EcpError as problem:
            return [problem]

    def _attempt(
        self, log: LogRef, works: list[Work], late: Callable[[], Sequence[Work]] | None
    ) -> list[Outcome]:
        """Transact. A kept connection that turns out to be dead before COMMIT is replaced once.

        Nothing is stored then, and one lost connection is no lost database.
        """
        was_connected = self._connection is not None
        try:
            return self._transact(log, works, late)
        except psycopg.OperationalError:
            if not was_connected or self._connection is not None:
                raise
        return self._transact(log, works)

    def _transact(
        self, log: LogRef, works: list[Work], late: Callable[[], Sequence[Work]] | None = None
    ) -> list[Outcome]:
        connection = self._connect()
        committing = False
        # Two round trips instead of seven while the head is locked; COPY does not work inside a pipeline.
        few = connection.pipeline() if len(works) < COPY_FROM else nullcontext()
        try:
            with few, connection.cursor() as cursor:
                cursor.execute("BEGIN")
                outcomes = append(cursor, log, works, now=self._clock(), late=late)
                committing = True
                cursor.execute("COMMIT")
        except BaseException as error:
            self._rollback()
            # Any other state is the server's word that nothing was committed.
            is_open = isinstance(error, psycopg.OperationalError) and (error.sqlstate or "08").startswith(
                LOST_CLASSES
            )
            if committing and is_open:
                raise CommitLost from error
            raise
        return outcomes

    def _find_out(self, log: LogRef, works: list[Work]) -> list[Outcome]:
        """Append what is missing after a lost COMMIT: under the head lock, the lost transaction is over.

        Whatever stands in the way now, "nothing was stored" would be a guess.
        """
        try:
            return self._transact(log, works)
        except (CommitLost, psycopg.Error, Unavailable) as error:
            cause = error.__cause__ if isinstance(error, CommitLost) else error
            if isinstance(cause, psycopg.Error):
                self.problem(cause)  # halts the process, if the database is down
            raise Unavailable(
                "outcome_unknown",
                "the connection broke during the commit; retry with the same id",
                retry_after=1,
            ) from error

    def problem(self, error: psycopg.Error) -> BaseException:
        """What a failure of the database means for an append; a server that is down halts the process."""
        state = error.sqlstate or ""
        if state in BUSY_STATES:
            return Unavailable("ledger_busy", "the ledger is busy; nothing was stored", retry_after=1)
        is_down = isinstance(error, psycopg.OperationalError) and not state
        if is_down or state == READ_ONLY_STATE or state.startswith(HALT_CLASSES):
            halt = modes.process.enter(f"sqlstate_{state}" if state else "database_connection", self._clock())
            self._write_state(halt)
            return halt.problem()
        return error

    def _probe(self) -> None:
        """One try at the database: connect, read, and write inside a transaction that is rolled back."""
        self._probe_due = time.monotonic() + modes.PROBE_EVERY_S
        try:
            connection = self._connect()
            with connection.cursor() as cursor:
                cursor.execute("BEGIN")
                cursor.execute("CREATE TEMPORARY TABLE ledger_probe (n integer) ON COMMIT DROP")
                cursor.execute(
                    "SELECT abs(extract(epoch FROM clock_timestamp() - %s::timestamptz))", (self._clock(),)
                )
                (skew,) = cursor.fetchone() or (0,)
                cursor.execute("ROLLBACK")
        except psycopg.Error:
            self._drop()
            modes.process.probed(good=False)
            return
        ended = modes.process.probed(good=float(skew) <= modes.MAX_CLOCK_SKEW_S)
        if ended is not None:
            self._write_state(None)

    def _write_state(self, halt: modes.Halt | None) -> None:
        try:
            modes.write_state_file(Path(settings.ECP_STATE_DIR), halt, self._clock())
        except OSError as error:  # a full disk may be what the HALT is about
            _log.warning(MODE_NOT_WRITTEN, exc_info=error)

    def _connect(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = connect()
        return self._connection

    def _rollback(self) -> None:
        try:
            if self._connection is not None:
                self._connection.execute("ROLLBACK")
        except psycopg.Error:
            self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def connection_parameters(alias: str) -> dict[str, Any]:
    """What psycopg needs to connect as a Django alias does, without what only Django's cursors need."""
    parameters: dict[str, Any] = connections[alias].get_connection_params()
    return {name: value for name, value in parameters.items() if name not in {"cursor_factory", "context"}}


def connect(alias: str = "direct") -> psycopg.Connection[Any]:
    """A plain autocommit connection with the parameters of a Django alias."""
    return psycopg.connect(**connection_parameters(alias), autocommit=True)


# Called in the batcher's thread, outside any transaction; the services append the `ecp.mode/1` entry.
on_news: list[Callable[[modes.News], None]] = []

batcher = Batcher()


def _after_fork() -> None:
    """A thread does not survive a fork, and a connection must not be shared: begin anew in the child."""
    global batcher  # noqa: PLW0603 - one batcher for each process is the point
    batcher = Batcher()
    modes.process.forget()


os.register_at_fork(after_in_child=_after_fork)
