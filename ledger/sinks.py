"""Where checkpoints are kept outside the database: files near by, addresses far away (LEDGER section 12).

A sink holds one JSON line per checkpoint: the signed note, and which database cluster it was signed over.
Near sinks are written before a checkpoint is published. Far ones are reached by a `Courier` with a thread of
its own, so that a slow or dead address holds up nothing; only where no near sink could be written does
publishing wait until one far address has answered.
"""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from urllib.parse import urlencode, urlsplit

import httpx
import structlog
from django.conf import settings

from ecp_project.api import outbound as guarded
from ecp_project.kernel import outbound
from ledger import metrics
from ledger.core.merkle import ProofInvalid
from ledger.core.note import open_checkpoint
from ledger.keys import verifiers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ledger.core.note import Checkpoint

NOT_DELIVERED = "checkpoint_not_delivered"
PAUSES_S = (1.0, 2.0, 5.0, 15.0)  # after each failure in a row, the last one again and again
LAST_TRY_S = 3.0
POLL_S = 0.02

_log = structlog.get_logger("ecp.sinks")


class Anchor(NamedTuple):
    """The newest checkpoint that a sink holds, with the cluster it came from."""

    size: int
    root: bytes
    system_identifier: int
    timeline: int


def anchor_of(line: Any, origin: str) -> Anchor | None:
    """The anchor in one line of a sink; None when it is about another log, or no such line at all."""
    try:
        if line["origin"] != origin:
            return None
        return Anchor(
            int(line["size"]),
            bytes.fromhex(line["root"]),
            int(line["system_identifier"]),
            int(line["timeline"]),
        )
    except (KeyError, TypeError, ValueError):
        return None


class Sink(Protocol):
    """A place outside the database that keeps checkpoints."""

    name: str
    is_far: bool

    def newest(self, origin: str) -> Anchor | None:
        """None when it holds nothing for this log; OSError when it cannot be read."""
        ...

    def publish(self, line: dict[str, Any]) -> None:
        """Durable on return; OSError when that failed."""
        ...


class FileSink:
    """Appends one JSON line per checkpoint to a file and syncs it."""

    is_far = False

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = f"file:{path.name}"

    def newest(self, origin: str) -> Anchor | None:
        if not self.path.exists():
            return None
        found = None
        with self.path.open("rb") as stream:
            for raw in stream:
                try:
                    found = anchor_of(json.loads(raw), origin) or found
                except ValueError:
                    continue  # the torn line of a crash proves nothing
        return found

    def publish(self, line: dict[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not self.path.exists()
        with self.path.open("ab+") as stream:
            # Behind a torn line the next one would be torn too.
            if stream.tell() and not _ends_its_line(stream):
                stream.write(b"\n")
            stream.write(_encoded(line) + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
        if is_new:
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def _ends_its_line(stream: Any) -> bool:
    stream.seek(-1, os.SEEK_END)
    return bool(stream.read(1) == b"\n")


def _encoded(line: dict[str, Any]) -> bytes:
    return json.dumps(line, sort_keys=True).encode()


class HttpsSink:
    """An address that takes each line by POST and gives back the newest one of a log by GET `?origin=`.

    Any 2xx to the POST says that the line is durable there; 404 to the GET says that nothing is held. What
    comes back counts only with a note that our own key has signed.
    """

    is_far = True

    def __init__(self, url: str, client: Callable[[], httpx.Client] = guarded.client) -> None:
        self.url = url
        self.name = f"https:{urlsplit(url).hostname}"
        self._client = client

    def newest(self, origin: str) -> Anchor | None:
        separator = "&" if urlsplit(self.url).query else "?"
        answer = self._exchange("GET", f"{self.url}{separator}{urlencode({'origin': origin})}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        self._refuse_failure(answer)
        try:
            line = json.loads(answer.content)
            note = str(line["note"])
        except (ValueError, KeyError, TypeError) as error:
            raise OSError(f"{self.name} answered with something else than a checkpoint") from error
        anchor, signed = anchor_of(line, origin), _opened(note, origin)
        if anchor is None or signed is None or (signed.size, signed.root) != (anchor.size, anchor.root):
            raise OSError(f"{self.name} answered with a checkpoint of {origin} that our key did not sign")
        return anchor

    def publish(self, line: dict[str, Any]) -> None:
        self._refuse_failure(self._exchange("POST", self.url, _encoded(line)))

    def _exchange(self, method: str, url: str, content: bytes | None = None) -> httpx.Response:
        headers = {"Content-Type": "application/json"} if content is not None else {}
        try:
            with self._client() as client:
                return client.request(method, url, content=content, headers=headers)
        except (httpx.HTTPError, outbound.Refused) as error:
            raise OSError(f"{self.name}: {error}") from error

    def _refuse_failure(self, answer: httpx.Response) -> None:
        if not answer.is_success:
            raise OSError(f"{self.name} answered {answer.status_code}")


def _opened(note: str, origin: str) -> Checkpoint | None:
    for key in verifiers(settings.ECP_LOG_PUBLIC_KEYS, origin):
        try:
            return open_checkpoint(note, key)
        except ProofInvalid:
            continue
    return None


class Courier:
    """Takes lines to one far sink, in a thread of its own; of each log only the newest line matters."""

    def __init__(self, sink: Sink, pauses: Sequence[float] = PAUSES_S) -> None:
        self.sink = sink
        self._pauses = pauses
        self._condition = threading.Condition()
        self._waiting: dict[str, dict[str, Any]] = {}  # guarded by self._condition
        self._delivered: dict[str, int] = {}  # origin -> size; guarded by self._condition
        self._is_urgent = False  # guarded by self._condition
        self._is_stopped = False  # guarded by self._condition
        self._thread: threading.Thread | None = None  # guarded by self._condition

    def send(self, line: dict[str, Any], *, is_urgent: bool = False) -> None:
        """Returns at once; an urgent line cuts the pause after a failure short."""
        with self._condition:
            self._waiting[line["origin"]] = line
            self._is_urgent = self._is_urgent or is_urgent
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self.sink.name, daemon=True)
                self._thread.start()
            self._condition.notify()

    def has_delivered(self, origin: str, size: int) -> bool:
        with self._condition:
            return self._delivered.get(origin, 0) >= size

    def stop(self) -> None:
        """One last try for what waits, then the end."""
        with self._condition:
            self._is_stopped = True
            self._condition.notify()
            thread = self._thread
        if thread is not None:
            thread.join(LAST_TRY_S)

    def _run(self) -> None:
        failures = 0
        while (line := self._next(failures)) is not None:
            try:
                self.sink.publish(line)
            except OSError as error:
                metrics.PUBLISH_FAILURES.labels(sink=self.sink.name).inc()
                _log.warning(NOT_DELIVERED, sink=self.sink.name, size=line["size"], exc_info=error)
                failures += 1
                self._settle(line, is_delivered=False)
            else:
                failures = 0
                self._settle(line, is_delivered=True)

    def _next(self, failures: int) -> dict[str, Any] | None:
        """The line to take now; None at the end."""
        with self._condition:
            if failures:
                pause = self._pauses[min(failures, len(self._pauses)) - 1]
                self._condition.wait_for(lambda: self._is_urgent or self._is_stopped, pause)
            self._condition.wait_for(lambda: self._waiting or self._is_stopped)
            self._is_urgent = False
            return next(iter(self._waiting.values()), None)

    def _settle(self, line: dict[str, Any], *, is_delivered: bool) -> None:
        with self._condition:
            origin = line["origin"]
            if is_delivered:
                self._delivered[origin] = max(self._delivered.get(origin, 0), line["size"])
            # What failed goes to the end of the queue, and at the end of the process it is given up.
            kept = self._waiting.pop(origin)
            if kept is not line or not (is_delivered or self._is_stopped):
                self._waiting[origin] = kept


def wait_for_one(couriers: Sequence[Courier], origin: str, size: int, seconds: float) -> bool:
    """Whether one of them has delivered a checkpoint of at least that size in time."""
    deadline = time.monotonic() + seconds
    while not any(courier.has_delivered(origin, size) for courier in couriers):
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_S)
    return True


def sinks_of(names: Sequence[str]) -> Iterator[Sink]:
    """Sinks named in `ECP_CHECKPOINT_SINKS`; ValueError says what is wrong with one."""
    for name in names:
        scheme, _, rest = name.partition(":")
        if scheme == "file" and rest:
            yield FileSink(Path(rest))
        elif scheme in {"https", "http"}:
            try:
                outbound.check_url(
                    name,
                    allowed_ports=settings.ECP_AGENT_ALLOWED_PORTS,
                    allowed_networks=settings.ECP_AGENT_ALLOWED_NETS,
                    allow_loopback_http=settings.ECP_OUTBOUND_LOOPBACK,
                )
            except outbound.Refused as error:
                raise ValueError(f"ECP_CHECKPOINT_SINKS: {name} is refused: {error}") from error
            yield HttpsSink(name)
        else:
            raise ValueError(
                f"ECP_CHECKPOINT_SINKS: {name} is no sink; write file:/path/to/checkpoints.ndjson or "
                "https://host/path"
            )
