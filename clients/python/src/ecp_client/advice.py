"""Advice before an act: what is asked and told, and conversations about it without input or output.

Advice blocks nothing. `Advice.fields` gives the members that tie a recorded decision to the advice it had.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ecp_client.calls import JSON, Call, Pause, Steps, asked
from ecp_client.errors import InvalidInput, Unavailable, problem
from ecp_client.ids import new_id
from ecp_client.records import decision_line
from ecp_client.statements import named

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ecp_client.calls import Answer
    from ecp_client.recorder import Recorder

ADVICE = "/api/v1/friction/advice/"
LONGEST_WAIT_S = 30
_SPARE_S = 2  # of the time-out, for an answer that comes when the wait is over
_BETWEEN_S = 1.0

ReasonCode = Literal[
    "emergency", "time_critical", "equivalent_control", "rule_misfit", "duplicate_review", "other"
]
StepResult = Literal["completed", "skipped", "expired", "not_applicable"]
Level = Literal["low", "medium", "high"]


@dataclass(frozen=True, slots=True)
class Advice:
    """What was advised, and what has become of it. `document` is all of the answer.

    In observer mode nothing is suggested: `level` is None and `steps` is empty.
    """

    id: str
    level: Level | None
    mode: str
    steps: Sequence[Mapping[str, Any]]
    explanation: str
    document: Mapping[str, Any] = field(repr=False)

    @property
    def fired(self) -> Sequence[Mapping[str, Any]]:
        """Rules that apply, with their reasons."""
        found: Sequence[Mapping[str, Any]] = self.document.get("fired", ())
        return found

    @property
    def outcomes(self) -> Sequence[Mapping[str, Any]]:
        """What people and the agent itself have reported on the steps so far."""
        found: Sequence[Mapping[str, Any]] = self.document.get("outcomes", ())
        return found

    @property
    def bypasses(self) -> Sequence[Mapping[str, Any]]:
        found: Sequence[Mapping[str, Any]] = self.document.get("bypasses", ())
        return found

    @property
    def open_steps(self) -> list[int]:
        """Numbers of the steps that are neither done, found not to apply, nor bypassed."""
        gone = {n for bypass in self.bypasses for n in bypass["steps"]}
        people: dict[int, set[str]] = {}
        for told in self.outcomes:
            if told["outcome"] == "not_applicable":
                gone.add(told["n"])
            elif told["outcome"] == "completed":
                people.setdefault(told["n"], set()).add(told["actor"])
        return [
            step["n"]
            for step in self.steps
            if step["n"] not in gone and len(people.get(step["n"], ())) < step.get("count", 1)
        ]

    def fields(self, *, bypassed: bool = False, reason: str | None = None) -> dict[str, Any]:
        """Arguments of `record` that name this advice; `reason` says why it was not followed."""
        if self.level is None:  # nothing was suggested, so nothing can be followed or not
            return {"refs": [{"rel": "advice", "id": self.id}]}
        if bypassed and not reason:
            raise InvalidInput(problem("missing_field", "a bypass needs its reason", pointer="/reason"))
        said: dict[str, Any] = {"advice_id": self.id, "level": self.level, "bypassed": bypassed}
        return {"advisory": said | ({"bypass_reason": reason} if bypassed else {})}


@dataclass(frozen=True, slots=True)
class Bypass:
    """A bypass on record; `review_due_at` is None where nobody reviews it."""

    id: str
    steps: Sequence[int]
    review_due_at: str | None
    document: Mapping[str, Any] = field(repr=False)


def advice_of(answer: Answer) -> Advice:
    found = answer.document()
    try:
        return Advice(
            found.get("id", ""), found["level"], found["mode"], found["steps"], found["explanation"], found
        )
    except KeyError as error:
        raise Unavailable(problem("no_ledger_answer", f"the advice has no {error}")) from None


# --- conversations


def ask(
    recorder: Recorder[Any], fields: Mapping[str, Any], previous: str | None, *, dry_run: bool
) -> Steps[Advice]:
    deadline = time.monotonic() + recorder.timeout_s
    line = decision_line(fields, recorder.agent, thorough=True)
    body = line.body
    if not line.has_agent:
        agent = yield from recorder.pins.learn_agent(deadline)
        body = named(body, agent)
    more = b"" if previous is None else b',"previous_advice_id":%s' % json.dumps(previous).encode()
    # Under one key a repeat after a lost answer is the same advice.
    headers = {"Content-Type": JSON, "Idempotency-Key": new_id(time.time_ns() // 1_000_000)}
    call = Call(
        "POST", ADVICE + ("?dry_run=1" if dry_run else ""), b'{"proposal":%s%s}' % (body, more), headers
    )
    return advice_of((yield from asked(call, deadline)))


def look(uid: str, timeout_s: float) -> Steps[Advice]:
    return advice_of((yield from asked(Call("GET", f"{ADVICE}{uid}/"), time.monotonic() + timeout_s)))


def await_change(advice: Advice, timeout: float, timeout_s: float) -> Steps[Advice | None]:
    """The advice once more has become of it than is known, or None after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    seen = advice.document.get("changes", 0)
    while (left := deadline - time.monotonic()) > 0:
        wait = max(1, int(min(left, LONGEST_WAIT_S, timeout_s - _SPARE_S)))
        started = time.monotonic()
        call = Call("GET", f"{ADVICE}{advice.id}/?wait={wait}&seen={seen}")
        found = advice_of((yield from asked(call, time.monotonic() + timeout_s)))
        if found.document.get("changes", 0) != seen:
            return found
        if time.monotonic() - started < _BETWEEN_S:  # too many wait there already
            yield Pause(_BETWEEN_S)
    return None


def bypass(
    uid: str, steps: Sequence[int] | Literal["all"], code: str, reason: str, timeout_s: float
) -> Steps[Bypass]:
    body = {"steps": steps if steps == "all" else list(steps), "reason_code": code, "reason_text": reason}
    headers = {"Content-Type": JSON, "Idempotency-Key": new_id(time.time_ns() // 1_000_000)}
    call = Call("POST", f"{ADVICE}{uid}/bypass/", _encoded(body), headers)
    found = (yield from asked(call, time.monotonic() + timeout_s)).document()
    return Bypass(found["id"], found["steps"], found["review_due_at"], found)


def report(uid: str, n: int, outcome: str, note: str | None, evidence_url: str | None) -> Steps[None]:
    told = {"outcome": outcome, "note": note, "evidence_url": evidence_url}
    body = {name: value for name, value in told.items() if value is not None}
    call = Call("POST", f"{ADVICE}{uid}/steps/{n}/outcome/", _encoded(body), {"Content-Type": JSON})
    # Once: whether a lost answer was a stored outcome, a look at the advice tells.
    yield from asked(call, time.monotonic())


def _encoded(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode()
