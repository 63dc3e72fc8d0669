"""What `Ledger` and `AsyncLedger` share: recording without waiting, and the queue and sender behind it."""

from __future__ import annotations

import atexit
import hashlib
import os
import threading
import time
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ecp_client.calls import Receipt, Steps
from ecp_client.calls import receipt as receipt_steps
from ecp_client.decisions import Deciding, Decorator
from ecp_client.errors import EcpClientError, InvalidInput, NotInTime, NotQueued, Refused, problem
from ecp_client.lanes import Item
from ecp_client.queue import Queue
from ecp_client.records import Line, RecordFields, annotation_line, decision_line
from ecp_client.sender import Rejection, Sender
from ecp_client.statements import LogIdentity, Pins, Signer
from ecp_client.told import Told, logger
from ecp_client.transport import Access, Http

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Unpack

PRIVATE = ("context", "explanation_detail", "data_subject", "data_subjects")
_NO_NUMBER = 0
_STOP_S = 1.0


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts since the client was made, in this process."""

    recorded: int  # lines that were queued: decisions and annotations
    pending: int
    delivered: int
    replayed: int  # delivered, and the ledger had them already
    rejected: int  # refused by the ledger
    refused: int  # refused at the call
    dropped: int  # the queue was full or closed
    damaged: int  # lines that a crash had torn
    retries: int
    last_problem: str | None


class Handle:
    """A decision or annotation on its way. `id` is final from the start."""

    __slots__ = ("_number", "_problem", "_recorder", "id")

    def __init__(
        self, uid: str, number: int, recorder: Recorder[Any], told: Mapping[str, Any] | None = None
    ) -> None:
        self.id = uid
        self._number = number
        self._recorder = recorder
        self._problem = told

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id or 'without id'}: {self.state}>"

    @property
    def state(self) -> str:
        """`queued`, `delivered`, `rejected` by the ledger, or `not_kept`: refused or dropped at the call."""
        if self._number == _NO_NUMBER:
            return "not_kept"
        if self._recorder.queue.settled < self._number:
            return "queued"
        return "rejected" if self.problem else "delivered"

    @property
    def problem(self) -> Mapping[str, Any] | None:
        return self._problem or self._recorder.sender.refusals.get(self.id)

    def _check_kept(self) -> None:
        if self._number == _NO_NUMBER:
            raise Refused(self._problem or {})

    def _receipt_steps(self, deadline: float, *, signed: bool) -> Steps[Receipt]:
        """Ask for the receipt of what is delivered by now."""
        if self._recorder.queue.settled < self._number:
            raise NotInTime(problem("not_delivered_yet", f"{self.id} waits in the queue"))
        if told := self.problem:
            raise Refused(told)
        left = max(0.0, deadline - time.monotonic())
        return receipt_steps(self.id, left if signed else 0.0, max(left, self._recorder.timeout_s))


H = TypeVar("H", bound=Handle)


class Recorder(Generic[H]):
    """`handle` makes the handles, `strict` raises at the call what is else logged, counted and reported."""

    handle: Callable[..., H]

    def __init__(
        self,
        url: str,
        key: str,
        *,
        agent: str | None = None,
        signer: Signer | None = None,
        log: LogIdentity | None = None,
        queue_dir: str | Path | None = None,
        max_queued: int = 100_000,
        max_queued_bytes: int = 256 * 2**20,
        durable: bool = False,
        strict: bool = False,
        on_rejected: Callable[[Rejection], object] | None = None,
        timeout_s: float = 10.0,
        flush_at_exit_s: float = 5.0,
    ) -> None:
        self.access = Access(url, key, timeout_s)
        self.agent = agent
        self.signer = signer
        self.log = log
        self.timeout_s = timeout_s
        self._max_queued, self._max_queued_bytes = max_queued, max_queued_bytes
        self._durable, self._strict = durable, strict
        self._on_rejected = on_rejected or (lambda _: None)
        self._flush_at_exit_s = flush_at_exit_s
        self._told = Told()
        self._root = self._usable(Path(queue_dir) if queue_dir is not None else _default_root(self.access))
        self.pins = Pins(self._root)
        if self.access.is_plain:
            self._told.warn("plain_http", f"the API key travels unencrypted to {self.access.url}")
        self._start()
        self.queue.adopt()
        if not self.queue.is_drained():
            self._send()
        _open.add(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.access!r}, agent {self.agent or 'of the key'}>"

    def _usable(self, root: Path) -> Path | None:
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not os.access(root, os.W_OK | os.X_OK):
                raise PermissionError(root)
        except OSError as error:
            logger.warning("decisions wait in memory only and are lost with the process: %r", error)
            return None
        return root

    def _start(self) -> None:
        """Queue and sender of this process; the sender's thread starts with the first line."""
        self.queue = Queue(
            self._root,
            max_lines=self._max_queued,
            max_bytes=self._max_queued_bytes,
            durable=self._durable,
            complain=self._told.warn,
        )
        self.sender = Sender(
            self.queue,
            make_http=lambda: Http(self.access),
            pins=self.pins,
            agent=self.agent,
            signer=self.signer,
            log=self.log,
            rejected_file=self._root and self._root / "rejected.ndjson",
            on_rejected=self._on_rejected,
            told=self._told,
        )
        self._lock = threading.Lock()
        # guarded by self._lock
        self._is_sending = False
        self._refused = self._dropped = 0

    def _send(self) -> None:
        with self._lock:
            if not self._is_sending:
                self._is_sending = True
                self.sender.start()

    # --- recording

    def record(self, **fields: Unpack[RecordFields]) -> H:
        """Queue one decision. Never waits for the network and, unless strict, never raises."""
        try:
            line = self._line(fields)
            number = self.queue.append([self._item(line)])
        except EcpClientError as error:
            return self._not_kept(error, fields)
        if not self._is_sending:
            self._send()
        return self.handle(line.id, number, self)

    def batch(self, records: Iterable[Mapping[str, Any]]) -> list[H]:
        """Queue many decisions in one step; each is a mapping with the arguments of `record`."""
        given = list(records)
        handles: list[H | None] = [None] * len(given)
        lines: list[Line] = []
        places: list[int] = []
        for place, fields in enumerate(given):
            try:
                lines.append(self._line(fields))
                places.append(place)
            except EcpClientError as error:
                handles[place] = self._not_kept(error, fields)
        try:
            last = self.queue.append([self._item(line) for line in lines]) if lines else 0
        except EcpClientError as error:
            for place in places:
                handles[place] = self._not_kept(error, given[place])
        else:
            self._send()
            for number, (place, line) in enumerate(zip(places, lines, strict=True), last - len(lines) + 1):
                handles[place] = self.handle(line.id, number, self)
        return [handle for handle in handles if handle is not None]

    def annotate(self, id: str, kind: str, text: str, status: str | None = None) -> H:  # noqa: A002 - the member's name
        """Queue a note, a correction or an outcome about an entry, behind all that was queued before."""
        fields = {"target": id, "kind": kind, "text": text, "status": status}
        try:
            line = annotation_line(id, kind, text, status, self.agent if self.signer else None)
            number = self.queue.append([Item(b"A" if self.signer else b"a", line.body)])
        except EcpClientError as error:
            return self._not_kept(error, fields)
        self._send()
        return self.handle(line.id, number, self)

    def decision(self, *, context_from: Iterable[str] = (), **fields: Any) -> Decorator:
        """Decorate a function whose calls are decisions. See docs/CLIENTS.md."""
        return Decorator(self, tuple(context_from), fields)

    def deciding(self, **fields: Unpack[RecordFields]) -> Deciding:
        """Record at entry, and how it ended at exit: `with ledger.deciding(action=..., explanation=...):`."""
        return Deciding(self, dict(fields))

    def _line(self, fields: Mapping[str, Any]) -> Line:
        try:
            if self.signer is not None:
                self.refuse_private(fields)
            return decision_line(fields, self.agent, thorough=self._strict)
        except EcpClientError:
            raise
        except Exception as error:
            # Whatever else it is, an agent must not fail because its record does.
            logger.debug("a record that could not be judged", exc_info=True)
            detail = f"the record could not be read: {type(error).__name__}"
            raise InvalidInput(problem("bad_value", detail)) from error

    def _item(self, line: Line) -> Item:
        kind = b"d" if line.has_agent else b"n"
        return Item(kind.upper() if self.signer else kind, line.body)

    @staticmethod
    def refuse_private(fields: Mapping[str, Any]) -> None:
        """A signed statement is public in all its parts."""
        for name in PRIVATE:
            if fields.get(name) is not None:
                detail = f"{name} is private, and a signed statement carries nothing private"
                raise InvalidInput(problem("private_not_signed", detail, pointer=f"/{name}"))

    def _not_kept(self, error: EcpClientError, fields: Mapping[str, Any]) -> H:
        with self._lock:
            self._dropped += isinstance(error, NotQueued)
            self._refused += not isinstance(error, NotQueued)
        self._told.warn(error.code, f"a decision was not recorded: {error}{_pointed(error)}")
        try:
            record = dict(fields)
        except (TypeError, ValueError):  # it is no mapping, whatever its type should be
            record = {}
        uid = record["id"] if isinstance(record.get("id"), str) else ""
        try:
            self._on_rejected(Rejection(uid, error.problem, record))
        except Exception:  # noqa: BLE001 - the agent's own code, whatever it raises
            logger.exception("on_rejected raised")
        if self._strict:
            raise error
        return self.handle(uid, _NO_NUMBER, self, error.problem)

    # --- the rest of its life

    def stats(self) -> Stats:
        counts = self.sender.counts
        return Stats(
            recorded=self.queue.appended,
            pending=self.queue.pending,
            delivered=counts.delivered,
            replayed=counts.replayed,
            rejected=counts.rejected,
            refused=self._refused,
            dropped=self._dropped,
            damaged=self.queue.damaged,
            retries=counts.retries,
            last_problem=counts.last_problem,
        )

    def _flush(self, timeout: float) -> bool:
        if self.queue.is_drained():
            return True
        self._send()
        self.sender.hurry()
        return self.queue.wait_drained(timeout)

    def _close(self, timeout: float | None) -> bool:
        """Deliver what can be delivered in the time; the rest stays on the disk for the next start."""
        if self.queue.is_closed:
            return self.queue.is_drained()
        is_drained = self._flush(self._flush_at_exit_s if timeout is None else timeout)
        self.queue.close()
        if not self._is_sending or self.sender.stop(_STOP_S):
            self.queue.leave()
        # A sender that hangs in a request keeps its lanes until the process ends, and with it their locks.
        _open.discard(self)
        return is_drained

    def _forked(self) -> None:
        """In a child: the parent's queue, thread and connections are not ours."""
        self.queue.forget()
        self._told = Told()
        self._start()


def _pointed(error: EcpClientError) -> str:
    pointer = error.problem.get("pointer")
    return f" (at {pointer})" if pointer else ""


def _default_root(access: Access) -> Path:
    """One folder for each ledger and key, in the user's state folder."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    name = hashlib.sha256(f"{access.url}\n{access.key_prefix}".encode()).hexdigest()[:16]
    return Path(base) / "ecp-client" / name


# --- the end of the process, and forks

_open: weakref.WeakSet[Recorder[Any]] = weakref.WeakSet()


def _close_all() -> None:
    for recorder in list(_open):
        recorder._close(None)  # noqa: SLF001 - this module's own


def _fork_all() -> None:
    for recorder in list(_open):
        recorder._forked()  # noqa: SLF001 - this module's own


atexit.register(_close_all)
os.register_at_fork(after_in_child=_fork_all)
