"""What is asked of the ledger and how its answers are read, without any input or output.

A conversation is a generator: it yields a `Call` and gets an `Answer` or a `Lost`, or yields a `Pause`. So
`Ledger` and `AsyncLedger` hold the same conversations and differ in who carries the bytes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from ecp_client.errors import EcpClientError, NotInTime, Problem, Refused, Unavailable, problem

JSON, NDJSON, PROBLEM = "application/json", "application/x-ndjson", "application/problem+json"
DECISIONS, BATCH = "/api/v1/decisions/", "/api/v1/decisions/batch/"
MAX_LINES, MAX_BATCH_BYTES = 1_000, 5 * 2**20
MAX_WAIT_S = 30
GOOD = (200, 201)
MIXED = 207  # a batch of which some lines failed
TOO_LARGE = 413
_AFTER_FAILURE_S, _BETWEEN_LOOKS_S = 0.2, 0.25
_ASK_LATER = (408, 425, 429)
T = TypeVar("T")


class Call(NamedTuple):
    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = {}


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def problem(self) -> dict[str, Any] | None:
        """The ledger's problem document; None when somebody else answers."""
        if self.media_type != PROBLEM:
            return None
        try:
            found = json.loads(self.body)
        except ValueError:
            return None
        if not isinstance(found, dict) or not isinstance(found.get("code"), str):
            return None
        wait = self.headers.get("retry-after", "")
        return found | ({"retry_after": int(wait)} if wait.isdecimal() else {})

    def error(self) -> EcpClientError:
        """What an answer other than 200 and 201 means."""
        told = self.problem()
        if told is None and self.status == TOO_LARGE:  # a proxy before the ledger may say so as well
            return Refused(problem("batch_too_large", "the request is too large", status=TOO_LARGE))
        if told is None:
            return Unavailable(problem("no_ledger_answer", f"{self.status}, which is no answer of a ledger"))
        is_final = self.status < 500 and self.status not in _ASK_LATER  # noqa: PLR2004 - server errors
        return Refused(told) if is_final else Unavailable(told)

    def document(self) -> dict[str, Any]:
        try:
            found = json.loads(self.body)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise Unavailable(problem("no_ledger_answer", "the answer is no JSON object"))
        return found


class Lost(NamedTuple):
    """No answer came."""

    why: str

    def error(self) -> EcpClientError:
        return Unavailable(problem("no_answer", self.why))


class Pause(NamedTuple):
    seconds: float


Steps = Generator[Call | Pause, Answer | Lost | None, T]


@dataclass(frozen=True, slots=True)
class Receipt:
    """`ecp.receipt/1`. `document` is all of it, as `verify_receipt` takes it."""

    id: str
    status: str
    seq: int
    leaf_hash: str
    document: Mapping[str, Any] = field(repr=False)
    is_replay: bool = False

    @property
    def is_signed(self) -> bool:
        return "tlog_proof" in self.document

    @property
    def warnings(self) -> Sequence[str]:
        found: Sequence[str] = self.document.get("warnings", ())
        return found


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one line of a batch: a place in the log, or a problem."""

    id: str
    seq: int | None = None
    leaf_hash: str | None = None
    is_replay: bool = False
    warnings: Sequence[str] = ()
    problem: Problem | None = None

    @property
    def is_stored(self) -> bool:
        return self.problem is None


def receipt_of(document: Mapping[str, Any], *, is_replay: bool = False) -> Receipt:
    try:
        return Receipt(
            document["id"], document["status"], document["seq"], document["leaf_hash"], document, is_replay
        )
    except KeyError as error:
        raise Unavailable(problem("no_ledger_answer", f"the receipt has no {error}")) from None


def outcome_of(uid: str, line: Mapping[str, Any]) -> Outcome:
    if line["status"] in GOOD:
        seq, leaf_hash, warnings = line.get("seq"), line.get("leaf_hash"), line.get("warnings", ())
        return Outcome(uid, seq, leaf_hash, line["status"] == GOOD[0], warnings)
    return Outcome(uid, problem=line)


def lines_of(answer: Answer, count: int) -> list[dict[str, Any]]:
    """One result for each line of a batch; Unavailable when the answer is not that."""
    try:
        found = json.loads(b"[%s]" % b",".join(answer.body.splitlines()))
        good = len(found) == count and all(
            type(line["status"]) is int and line["line"] == number for number, line in enumerate(found, 1)
        )
    except (ValueError, TypeError, KeyError):
        found, good = [], False
    if not good or answer.media_type != NDJSON:
        raise Unavailable(problem("no_ledger_answer", f"no results for the {count} lines sent"))
    results: list[dict[str, Any]] = found
    return results


# --- the calls


def decision_call(body: bytes, wait_signed: float = 0) -> Call:
    headers = {"Content-Type": JSON}
    if wait_signed >= 1:
        headers["Prefer"] = f"wait={min(int(wait_signed), MAX_WAIT_S)}"
    return Call("POST", DECISIONS, body, headers)


def batch_call(path: str, bodies: Sequence[bytes]) -> Call:
    return Call("POST", path, b"\n".join(bodies), {"Content-Type": NDJSON})


def statement_call(slug: str, body: bytes) -> Call:
    return Call("POST", entries_path(slug), body, {"Content-Type": JSON})


def entries_path(slug: str) -> str:
    return f"/api/v1/logs/{slug}/entries/"


def annotation_call(body: bytes) -> Call:
    """`ts` and `agent` are there for signed annotations; of others the server knows them."""
    document = json.loads(body)
    target = document.pop("target")
    for name in ("ts", "agent"):
        document.pop(name, None)
    text = json.dumps(document, ensure_ascii=False).encode()
    return Call("POST", f"{DECISIONS}{target}/annotations/", text, {"Content-Type": JSON})


# --- conversations


def asked(call: Call, deadline: float) -> Steps[Answer]:
    """A good answer. Until the deadline it is asked again where that is safe and may help."""
    pause = _AFTER_FAILURE_S
    while True:
        answer = yield call
        assert answer is not None
        if isinstance(answer, Answer) and answer.status in (*GOOD, MIXED):
            return answer
        error = answer.error()
        wait = max(error.retry_after or 0.0, pause)
        if not isinstance(error, Unavailable) or time.monotonic() + wait > deadline:
            raise error
        yield Pause(wait)
        pause *= 2


def receipt(uid: str, signed_within: float, timeout_s: float) -> Steps[Receipt]:
    """The receipt of a decision; with `signed_within` one that holds a proof, or NotInTime."""
    deadline = time.monotonic() + signed_within
    call = Call("GET", f"{DECISIONS}{uid}/receipt/")
    while True:
        answer = yield from asked(call, time.monotonic() + timeout_s)
        found = receipt_of(answer.document())
        if found.is_signed or not signed_within:
            return found
        if time.monotonic() + _BETWEEN_LOOKS_S > deadline:
            raise NotInTime(problem("not_signed_yet", f"no checkpoint within {signed_within} s"))
        yield Pause(_BETWEEN_LOOKS_S)


def signed_later(found: Receipt, wait_signed: float, timeout_s: float) -> Steps[Receipt]:
    """The same receipt with its proof, as soon as there is one within the time; else as it is."""
    if found.is_signed or not wait_signed:
        return found
    try:
        later = yield from receipt(found.id, wait_signed, timeout_s)
    except (NotInTime, Refused):  # a key that may write need not be one that may read
        return found
    return receipt_of({**found.document, **later.document}, is_replay=found.is_replay)


def public(uid: str, timeout_s: float) -> Steps[bytes]:
    """The exact bytes of the entry."""
    answer = yield from asked(Call("GET", f"{DECISIONS}{uid}/public/"), time.monotonic() + timeout_s)
    return answer.body
