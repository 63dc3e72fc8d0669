"""The forms that wait: conversations that record at once, past the queue."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ecp_client import calls
from ecp_client.calls import (
    Answer,
    Call,
    Outcome,
    Receipt,
    Steps,
    asked,
    outcome_of,
    receipt_of,
    signed_later,
)
from ecp_client.records import annotation_line, decision_line
from ecp_client.statements import named, signed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ecp_client.recorder import Recorder


def record(recorder: Recorder[Any], fields: Mapping[str, Any], wait_signed: float) -> Steps[Receipt]:
    deadline = time.monotonic() + recorder.timeout_s
    body = yield from _ready(recorder, fields, deadline)
    if recorder.signer is None:
        call = calls.decision_call(body.text, wait_signed)
    else:
        call = calls.statement_call(body.slug, body.text)
    answer = yield from asked(call, deadline)
    return (yield from signed_later(_receipt(answer), wait_signed, recorder.timeout_s))


def batch(
    recorder: Recorder[Any], records: Iterable[Mapping[str, Any]], wait_signed: float
) -> Steps[list[Outcome]]:
    """In requests of as many lines as fit; a request that fails as a whole raises."""
    outcomes: list[Outcome] = []
    bodies = []
    for fields in records:
        body = yield from _ready(recorder, fields, time.monotonic() + recorder.timeout_s)
        bodies.append(body)
    for chunk in _chunks(bodies):
        path = calls.BATCH if recorder.signer is None else calls.entries_path(chunk[0].slug)
        call = calls.batch_call(path, [body.text for body in chunk])
        results = yield from _results(call, len(chunk), time.monotonic() + recorder.timeout_s)
        outcomes += [outcome_of(body.id, result) for body, result in zip(chunk, results, strict=True)]
    stored = [outcome for outcome in outcomes if outcome.is_stored]
    if wait_signed and stored:
        # Whatever covers the last one covers them all.
        last = max(stored, key=lambda outcome: outcome.seq or 0)
        yield from calls.receipt(last.id, wait_signed, recorder.timeout_s)
    return outcomes


def annotate(recorder: Recorder[Any], uid: str, kind: str, text: str, status: str | None) -> Steps[Receipt]:
    deadline = time.monotonic() + recorder.timeout_s
    line = annotation_line(uid, kind, text, status, recorder.agent)
    if recorder.signer is None:
        call = calls.annotation_call(line.body)
    else:
        body = yield from _signed(recorder, line.id, line.body, deadline, is_annotation=True)
        call = calls.statement_call(body.slug, body.text)
    return _receipt((yield from asked(call, deadline)))


class _Body:
    __slots__ = ("id", "slug", "text")

    def __init__(self, uid: str, text: bytes, slug: str = "") -> None:
        self.id, self.text, self.slug = uid, text, slug


def _ready(recorder: Recorder[Any], fields: Mapping[str, Any], deadline: float) -> Steps[_Body]:
    """The body to send: with its agent, and signed where the recorder signs."""
    line = decision_line(fields, recorder.agent, thorough=True)
    if recorder.signer is not None:
        recorder.refuse_private(fields)
        return (yield from _signed(recorder, line.id, line.body, deadline, is_annotation=False))
    if line.has_agent:
        return _Body(line.id, line.body)
    agent = yield from recorder.pins.learn_agent(deadline)
    return _Body(line.id, named(line.body, agent))


def _signed(
    recorder: Recorder[Any], uid: str, body: bytes, deadline: float, *, is_annotation: bool
) -> Steps[_Body]:
    assert recorder.signer is not None
    log = recorder.log or (yield from recorder.pins.learn_log(deadline))
    agent = recorder.agent or (yield from recorder.pins.learn_agent(deadline))
    text = signed(body, is_annotation=is_annotation, agent=agent, log=log, signer=recorder.signer)
    return _Body(uid, text, log.slug)


def _receipt(answer: Answer) -> Receipt:
    return receipt_of(answer.document(), is_replay=answer.status == calls.GOOD[0])


def _chunks(bodies: list[_Body]) -> Iterable[list[_Body]]:
    chunk: list[_Body] = []
    size = 0
    for body in bodies:
        size += len(body.text) + 1
        if chunk and (len(chunk) == calls.MAX_LINES or size > calls.MAX_BATCH_BYTES):
            yield chunk
            chunk, size = [], len(body.text) + 1
        chunk.append(body)
    if chunk:
        yield chunk


def _results(call: Call, count: int, deadline: float) -> Steps[list[dict[str, Any]]]:
    answer = yield from asked(call, deadline)
    return calls.lines_of(answer, count)
