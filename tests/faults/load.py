"""Clients that keep recording decisions while something is killed, and remember every answer.

Each acknowledged id goes to a journal that is synced before it counts, as a careful agent would do it. Ids
whose request got no 2xx stay open until they are sent again with the same bytes.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.ids import new_uuid7

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

JSON, NDJSON, PROBLEM = "application/json", "application/x-ndjson", "application/problem+json"
SINGLE, BATCH = "/api/v1/decisions/", "/api/v1/decisions/batch/"
NO_ANSWER = 0  # stands for a refused, reset or torn connection among the status codes
AFTER_FAILURE_S = 0.2
RETRY_LINES = 200
CALM_S = 1.5  # without a failure this long, the service counts as back


@dataclass(frozen=True, slots=True)
class Place:
    """Where the ledger says that a decision stands."""

    seq: int
    leaf_hash: str


@dataclass(frozen=True, slots=True)
class Answer:
    sent: float
    done: float
    status: int


def decision(number: int) -> dict[str, Any]:
    """Give a record with a fresh id; each third one has a private part."""
    context = {"context": {"customer": f"C-{number}"}, "data_subject": f"c-{number % 50}"}
    return {
        "id": new_uuid7(utc_now()),
        "agent": "pricing-bot",
        "action": "price.change",
        "explanation": f"Item {number} is cheaper elsewhere, so we follow the market.",
        **(context if number % 3 == 0 else {}),
    }


class Load:
    """`singles` threads that post one decision at a time, `batches` that post `lines` in one request.

    They go on until the block is left, or until each has sent `each` requests.
    Leaving the block stops the threads; an answer that was not allowed is then an AssertionError.
    """

    def __init__(
        self, port: int, key: str, journal: Path, *, singles: int = 12, batches: int = 4, lines: int = 20,
        each: int | None = None,
    ) -> None:  # fmt: skip
        self._port = port
        self._headers = {"Authorization": f"Bearer {key}"}
        self.journal = journal
        self._each = each
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(1,)) for _ in range(singles)]
        self._threads += [threading.Thread(target=self._work, args=(lines,)) for _ in range(batches)]
        self._lock = threading.Lock()
        # guarded by self._lock
        self._open: dict[str, bytes] = {}
        self._bodies: dict[str, bytes] = {}
        self._number = 0
        self.places: dict[str, Place] = {}
        self.answers: list[Answer] = []
        self.problems: Counter[str] = Counter()
        self.replays = 0
        self.wrong: list[str] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        if kind is None:
            assert not self.wrong, self.wrong[:5]

    @property
    def statuses(self) -> Counter[int]:
        return Counter(answer.status for answer in list(self.answers))

    def acknowledged(self) -> int:
        return len(self.places)

    def open_ids(self) -> int:
        return len(self._open)

    def longest_silence(self, since: float) -> float:
        """Longest time in seconds without any success from `since` on."""
        good = [
            since,
            *sorted(a.done for a in list(self.answers) if 200 <= a.status < 300 and a.done > since),
        ]
        return max((later - earlier for earlier, later in itertools.pairwise(good)), default=float("inf"))

    def finish(self) -> None:
        for thread in self._threads:
            thread.join()

    # --- waiting for the service

    def back_after(self, since: float, within: float) -> float:
        """Seconds from `since` (monotonic) to the first success that no failure follows."""
        while True:
            now = time.monotonic()
            later = [answer for answer in list(self.answers) if answer.done >= since]
            last_failure = max((answer.done for answer in later if answer.status >= 300 or not answer.status),
                               default=since)  # fmt: skip
            good = [answer.done for answer in later if answer.sent >= last_failure and answer.status]
            # A request that hangs is no success either: somebody must have been answered just now.
            is_flowing = bool(good) and now - max(good) < CALM_S
            if is_flowing and now - max(last_failure, since) > CALM_S:
                return min(good) - since
            assert now - since < within + CALM_S, (
                f"not back within {within} s: {self.statuses}, {self.problems}, {self.wrong[:3]}"
            )
            time.sleep(0.05)

    def retry_open(self, within: float) -> int:
        """Send every unanswered id again until it is stored; how many of them had been stored already."""
        deadline, before = time.monotonic() + within, self.replays
        while self._open:
            assert time.monotonic() < deadline, f"{len(self._open)} ids still unanswered"
            self._send_again(dict(itertools.islice(self._open.items(), RETRY_LINES)))
        assert not self.wrong, self.wrong[:5]
        return self.replays - before

    def repeat_acknowledged(self, count: int) -> None:
        """Send `count` acknowledged decisions once more; each must answer 200 with its old place."""
        chosen = list(self.places)[:: max(1, len(self.places) // count)]
        before = self.replays
        for uid in chosen:
            self._send_again({uid: self._bodies[uid]})
        assert not self.wrong, self.wrong[:5]
        assert self.replays - before == len(chosen)

    def _send_again(self, records: dict[str, bytes]) -> None:
        self._post(self._connect(), records).close()

    def receipts(self, count: int) -> Iterator[tuple[str, dict[str, Any], bytes]]:
        """Id, receipt and entry bytes of `count` acknowledged decisions, as the API gives them now."""
        connection = self._connect()
        for uid in list(self.places)[:: max(1, len(self.places) // count)]:
            parts = []
            for part in ("receipt", "public"):
                connection.request("GET", f"{SINGLE}{uid}/{part}/", headers=self._headers)
                answer = connection.getresponse()
                parts.append(answer.read())
                assert answer.status == 200, parts
            yield uid, json.loads(parts[0]), parts[1]
        connection.close()

    # --- one client

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)

    def _work(self, lines: int) -> None:
        connection, done = self._connect(), 0
        while not self._stopped.is_set() and done != self._each:
            done += 1
            records: dict[str, bytes] = {}
            with self._lock:
                numbers = range(self._number, self._number + lines)
                self._number += lines
            for number in numbers:
                record = decision(number)
                records[record["id"]] = json.dumps(record).encode()
            with self._lock:
                self._open |= records
                self._bodies |= records
            connection = self._post(connection, records)
        connection.close()

    def _post(
        self, connection: http.client.HTTPConnection, records: dict[str, bytes]
    ) -> http.client.HTTPConnection:
        """Send `records` in one request; gives the connection for the next one."""
        is_batch = len(records) > 1
        headers = self._headers | {"Content-Type": NDJSON if is_batch else JSON}
        sent = time.monotonic()
        try:
            connection.request("POST", BATCH if is_batch else SINGLE, b"\n".join(records.values()), headers)
            answer = connection.getresponse()
            body = answer.read()
        except (http.client.HTTPException, OSError):
            self._note(Answer(sent, time.monotonic(), NO_ANSWER))
            connection.close()
            time.sleep(AFTER_FAILURE_S)
            return self._connect()
        self._judge(answer, body, records)
        self._note(Answer(sent, time.monotonic(), answer.status))
        if answer.status >= 300:
            time.sleep(AFTER_FAILURE_S)
        return connection

    def _note(self, answer: Answer) -> None:
        with self._lock:
            self.answers.append(answer)

    def _judge(self, answer: http.client.HTTPResponse, body: bytes, records: dict[str, bytes]) -> None:
        if answer.status in {200, 201}:
            results = [json.loads(line) for line in body.splitlines()]
            if len(records) == 1:  # a receipt, whose own `status` is another thing
                results = [result | {"status": answer.status} for result in results]
            self._acknowledge(results, records)
            return
        kind, retry = answer.headers.get("Content-Type", ""), answer.headers.get("Retry-After", "")
        if answer.status == 503 and kind == PROBLEM and retry.isdigit():
            document = json.loads(body)
            with self._lock:
                self.problems[document.get("halt_reason") or document["code"]] += 1
        else:
            self._complain(f"{answer.status} {kind} Retry-After={retry!r}: {body[:300]!r}")

    def _acknowledge(self, results: list[dict[str, Any]], records: dict[str, bytes]) -> None:
        if [result.get("id") for result in results] != list(records):
            self._complain(f"a line of the answer failed or has another id: {results[:2]}")
            return
        text = "".join(f"{r['seq']} {r['leaf_hash']} {r['id']}\n" for r in results)
        with self._lock:
            with self.journal.open("ab") as stream:
                stream.write(text.encode())
                stream.flush()
                os.fsync(stream.fileno())
            for result in results:
                uid, place = result["id"], Place(result["seq"], result["leaf_hash"])
                if self.places.setdefault(uid, place) != place:
                    self.wrong.append(f"{uid} was {self.places[uid]} and now is {place}")
                self.replays += result["status"] == 200
                self._open.pop(uid, None)

    def _complain(self, what: str) -> None:
        with self._lock:
            self.wrong.append(what)
