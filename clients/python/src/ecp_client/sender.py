"""The thread that delivers: it sends the lines that stand first, reads what became of each, and settles them.

A line leaves the queue when the ledger has stored it or has refused it for good; a refused one goes to
`rejected.ndjson` beside the queue. Everything else is sent again, later and with the same id, and nothing
behind it goes first.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

from ecp_client.calls import (
    BATCH,
    GOOD,
    MAX_BATCH_BYTES,
    MAX_LINES,
    MIXED,
    Answer,
    annotation_call,
    batch_call,
    decision_call,
    entries_path,
    lines_of,
)
from ecp_client.errors import EcpClientError, Refused, problem
from ecp_client.statements import LogIdentity, Pins, Signer, named, signed
from ecp_client.told import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from ecp_client.lanes import Item
    from ecp_client.queue import Queue
    from ecp_client.told import Told
    from ecp_client.transport import Http

LINGER_S = 0.05
FIRST_PAUSE_S, LONGEST_PAUSE_S, LONGEST_AUTH_PAUSE_S, LONGEST_ASKED_S = 0.25, 30.0, 60.0, 300.0
IDLE_S, RECOVER_S = 5.0, 1.0
REJECTED_BYTES = 64 * 2**20
_REMEMBERED = 10_000
_MAY_BE_ONE_LINE = frozenset({400, 409, 413, 422})


class Rejection(NamedTuple):
    """A line that will not be in the ledger: what it said, and why."""

    id: str
    problem: Mapping[str, Any]
    record: Mapping[str, Any]


@dataclass(slots=True)
class Counts:
    """Owned by the sender's thread; others read them."""

    delivered: int = 0
    replayed: int = 0
    rejected: int = 0
    retries: int = 0
    last_problem: str | None = None


@dataclass(slots=True)
class Refusals:
    """Ids that were refused lately, for their handles; guarded by its lock."""

    _problems: OrderedDict[str, Mapping[str, Any]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, uid: str, told: Mapping[str, Any]) -> None:
        with self._lock:
            self._problems[uid] = told
            if len(self._problems) > _REMEMBERED:
                self._problems.popitem(last=False)

    def get(self, uid: str) -> Mapping[str, Any] | None:
        return self._problems.get(uid)


class Sender:
    def __init__(
        self,
        queue: Queue,
        *,
        make_http: Callable[[], Http],
        pins: Pins,
        agent: str | None,
        signer: Signer | None,
        log: LogIdentity | None,
        rejected_file: Path | None,
        on_rejected: Callable[[Rejection], object],
        told: Told,
    ) -> None:
        self._queue = queue
        self._make_http = make_http
        self._pins = pins
        self._agent, self._signer, self._log = agent, signer, log
        self._rejected_file = rejected_file
        self._on_rejected = on_rejected
        self._told = told
        self._hurried, self._stopped = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="ecp-client", daemon=True)
        self.counts, self.refusals = Counts(), Refusals()
        # owned by the thread
        self._failures = 0
        self._max_lines = MAX_LINES
        self._asked_s = 0.0

    def start(self) -> None:
        self._thread.start()

    def hurry(self) -> None:
        """Try now instead of after the pause."""
        self._hurried.set()

    def stop(self, timeout: float) -> bool:
        """Whether the thread has ended; the request under way is waited for."""
        self._stopped.set()
        self._hurried.set()
        self._queue.close()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    # --- the thread

    def _run(self) -> None:
        http = self._make_http()
        while not self._stopped.is_set():
            try:
                if not self._queue.wait_for_work(IDLE_S):
                    continue
                self._queue.recover()
                self._pause(self._turn(http))
            except Exception:  # noqa: BLE001 - outermost edge: no fault in here may end the delivery
                logger.exception("the sender failed and goes on")
                self._pause(self._longer(LONGEST_PAUSE_S))
        http.close()

    def _pause(self, seconds: float) -> None:
        """Wait, unless somebody hurries; meanwhile lines in memory go back to a disk that has room again."""
        self._stopped.wait(self._asked_s)  # what the ledger asked for is kept, whoever hurries
        until = time.monotonic() + seconds - self._asked_s
        self._asked_s = 0.0
        while (left := until - time.monotonic()) > 0 and not self._stopped.is_set():
            if self._hurried.wait(min(left, RECOVER_S) if self._queue.holds_memory else left):
                break
            self._queue.recover()
        self._hurried.clear()

    def _longer(self, longest: float) -> float:
        """The next pause of a growing series, scattered so that many clients do not come back together."""
        pause: float = min(longest, FIRST_PAUSE_S * 2 ** min(self._failures, 16))
        self._failures += 1
        self.counts.retries += 1
        return pause * random.uniform(0.5, 1)  # noqa: S311 - scatter, no secret

    def _turn(self, http: Http) -> float:
        """Send what stands first; returns the seconds to wait before the next turn."""
        batch = self._queue.peek(self._max_lines, MAX_BATCH_BYTES)
        if batch is None:
            return 0.0
        run = self._run_of(batch.items)
        try:
            results = self._results(http, run)
        except EcpClientError as error:
            if not _blames_a_line(error, run[0]):
                return self._held_back(error)
            if len(run) > 1:  # halves find the line, and the others pass
                self._max_lines = len(run) // 2
                return 0.0
            results = [error.problem]
        done = 0
        for item, result in zip(run, results, strict=True):
            if result["status"] not in GOOD and not self._is_final(result):
                break
            self._settled(item, result)
            done += 1
        self._queue.settle(batch, done)
        if done < len(run):
            return self._held_back_by(results[done])
        self._failures = 0
        self._told.over()
        self._max_lines = min(MAX_LINES, self._max_lines + 1 + self._max_lines // 16)
        # A batch that was not full may grow while it waits; the pause also spares the ledger's limits.
        return LINGER_S if done == len(batch.items) < self._max_lines else 0.0

    @staticmethod
    def _run_of(items: list[Item]) -> list[Item]:
        """The lines at the front that may travel in one request."""
        first = items[0]
        if first.is_signed:
            return list(takewhile(lambda item: item.is_signed, items))
        if first.kind == b"a":
            return [first]
        return list(takewhile(lambda item: item.kind in {b"d", b"n"}, items))

    # --- one request

    def _results(self, http: Http, run: list[Item]) -> list[dict[str, Any]]:
        """What the ledger says of each line; EcpClientError when it speaks of the whole request."""
        if run[0].is_signed:
            return self._signed_results(http, run)
        if run[0].kind == b"a":
            call = annotation_call(run[0].body)
        else:
            ready = self._named(http, run)
            call = decision_call(ready[0]) if len(ready) == 1 else batch_call(BATCH, ready)
        answer = http.send(call)
        if not isinstance(answer, Answer):
            raise answer.error()
        if len(run) > 1:
            return _batch_results(answer, len(run))
        if answer.status not in GOOD:
            raise answer.error()
        return [answer.document() | {"status": answer.status}]

    def _signed_results(self, http: Http, run: list[Item]) -> list[dict[str, Any]]:
        """Lines that cannot be signed are refused one by one; the others travel together."""
        results: list[dict[str, Any] | None] = [None] * len(run)
        bodies, places = [], []
        if self._signer is None:
            told = problem("signer_missing", "the line waits for a signature and this client has no signer")
            return [dict(told, status=400) for _ in run]
        try:
            log = self._log or http.hold(self._pins.learn_log(time.monotonic()))
            agent = self._agent or http.hold(self._pins.learn_agent(time.monotonic()))
        except Refused as error:
            raise _on_hold(error) from None
        for place, item in enumerate(run):
            try:
                bodies.append(
                    signed(
                        item.body, is_annotation=item.kind == b"A", agent=agent, log=log, signer=self._signer
                    )
                )
                places.append(place)
            except EcpClientError as error:
                results[place] = error.problem | {"status": 400}
        answer = http.send(batch_call(entries_path(log.slug), bodies)) if bodies else None
        if answer is not None:
            if not isinstance(answer, Answer):
                raise answer.error()
            for place, result in zip(places, _batch_results(answer, len(bodies)), strict=True):
                results[place] = result
        return [result for result in results if result is not None]

    def _named(self, http: Http, run: list[Item]) -> list[bytes]:
        if all(item.kind == b"d" for item in run):
            return [item.body for item in run]
        try:
            agent = self._agent or http.hold(self._pins.learn_agent(time.monotonic()))
        except Refused as error:
            raise _on_hold(error) from None
        return [item.body if item.kind == b"d" else named(item.body, agent) for item in run]

    # --- what came of it

    @staticmethod
    def _is_final(result: Mapping[str, Any]) -> bool:
        return 400 <= result["status"] < 500 and result["status"] not in {408, 425, 429}  # noqa: PLR2004 - HTTP

    def _held_back_by(self, result: Mapping[str, Any]) -> float:
        """One line of a batch was not taken now: it and all behind it wait."""
        self.counts.last_problem = str(result.get("code"))
        self._told.warn("retry", f"{result.get('code')}: {result.get('detail')}; lines are sent again")
        return self._longer(LONGEST_PAUSE_S)

    def _held_back(self, error: EcpClientError) -> float:
        """The whole request failed: nothing is settled."""
        self.counts.last_problem = error.code
        if isinstance(error, Refused):
            what = "lines wait, until the key or the settings are right"
            self._told.warn_once("refused", f"{error}; {what}")
            return self._longer(LONGEST_AUTH_PAUSE_S)
        self._told.warn("retry", f"{error}; lines are sent again")
        self._asked_s = min(error.retry_after or 0.0, LONGEST_ASKED_S)
        return max(self._asked_s, self._longer(LONGEST_PAUSE_S))

    def _settled(self, item: Item, result: Mapping[str, Any]) -> None:
        if result["status"] in GOOD:
            self.counts.delivered += 1
            self.counts.replayed += result["status"] == GOOD[0]
            for warning in result.get("warnings", ()):
                self._told.warn("ledger_warning", f"{result.get('id')}: {warning}")
            return
        record = json.loads(item.body)
        told = {
            name: value for name, value in result.items() if name not in {"line", "status", "title", "type"}
        }
        self.counts.rejected += 1
        self.counts.last_problem = str(told.get("code"))
        self.refusals.add(record["id"], told)
        self._told.warn("rejected", f"{record['id']}: {told.get('code')}: {told.get('detail')}")
        self._keep_rejected(item, record, told)
        try:
            self._on_rejected(Rejection(record["id"], told, record))
        except Exception:  # noqa: BLE001 - the agent's own code, whatever it raises
            logger.exception("on_rejected raised")

    def _keep_rejected(self, item: Item, record: Mapping[str, Any], told: Mapping[str, Any]) -> None:
        if self._rejected_file is None:
            return
        line = {"problem": told, "kind": item.kind.decode(), "record": record}
        try:
            file = os.open(self._rejected_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                if os.fstat(file).st_size < REJECTED_BYTES:
                    os.write(file, json.dumps(line, ensure_ascii=False).encode() + b"\n")
                else:
                    self._told.warn(
                        "rejected_full", f"{self._rejected_file} is full, refused lines are not kept"
                    )
            finally:
                os.close(file)
        except OSError as error:
            self._told.warn("rejected_lost", f"a refused line could not be kept ({error})")


def _batch_results(answer: Answer, count: int) -> list[dict[str, Any]]:
    if answer.status not in {GOOD[0], MIXED}:
        raise answer.error()
    return lines_of(answer, count)


def _blames_a_line(error: EcpClientError, first: Item) -> bool:
    """Whether a refused request could pass without one of its lines; else the key or the address is wrong."""
    if not isinstance(error, Refused):
        return False
    if error.code == "not_found":
        return first.kind == b"a"  # the decision that the annotation speaks of
    return error.code == "agent_not_allowed" or error.problem.get("status") in _MAY_BE_ONE_LINE


def _on_hold(error: Refused) -> EcpClientError:
    """What cannot be learnt now may be learnt once the settings are right; no line is to blame."""
    return Refused(error.problem | {"status": 403})
