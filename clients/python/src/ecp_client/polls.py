"""Polls that ask this agent: its inbox and its signed answers, without any input or output.

A poll is non-binding. What the agent answers is sealed until the poll closes and public afterwards.
"""

from __future__ import annotations

import math
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ecp_client._core.kernel.canonical import encode
from ecp_client._core.kernel.clock import format_time, utc_now
from ecp_client.calls import GOOD, JSON, Call, Pause, Steps, asked
from ecp_client.errors import InvalidInput, Unavailable, problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ecp_client.recorder import Recorder
    from ecp_client.statements import Signer

INBOX = "/api/v1/polls/inbox/"
DOMAIN = b"ECP-POLL-RESPONSE-v1\n"
SCHEMA = "ecp.poll.response/1"
MAX_WAIT_S = 25  # the longest that the server keeps an empty inbox waiting
_SPARE_S, _BETWEEN_LOOKS_S = 2, 0.25


@dataclass(frozen=True, slots=True)
class Invitation:
    """A question to this agent; `options` stand in the order that was drawn for it."""

    id: str
    poll_id: str
    agent: str
    question: str
    question_hash: str
    options: Sequence[str]
    deadline: str


@dataclass(frozen=True, slots=True)
class PollReceipt:
    """The answer arrived. Its hash is on the log; what it says is not, until the poll closes."""

    id: str
    response_sha256: str
    is_duplicate: bool


def inbox(wait: float, timeout_s: float) -> Steps[list[Invitation]]:
    """What waits for an answer; while nothing does, for up to `wait` seconds whatever comes first."""
    deadline = time.monotonic() + wait
    longest = max(0, min(MAX_WAIT_S, int(timeout_s) - _SPARE_S))
    while True:
        held = max(0, min(longest, math.ceil(deadline - time.monotonic())))
        answer = yield from asked(Call("GET", f"{INBOX}?wait={held}"), time.monotonic() + timeout_s)
        found = _invitations(answer.document())
        if found or time.monotonic() + _BETWEEN_LOOKS_S > deadline:
            return found
        yield Pause(_BETWEEN_LOOKS_S)


def _invitations(document: Mapping[str, Any]) -> list[Invitation]:
    try:
        return [
            Invitation(
                row["invitation_id"], row["poll_id"], row["agent_id"], row["question"], row["question_hash"],
                tuple(row["options"]), row["deadline"],
            )
            for row in document["results"]
        ]  # fmt: skip
    except (KeyError, TypeError) as error:
        raise Unavailable(problem("no_ledger_answer", f"the inbox is not readable: {error}")) from None


def answer(
    recorder: Recorder[Any], invitation: Invitation, choice: str, members: Mapping[str, Any]
) -> Steps[PollReceipt]:
    """Sign one answer and send it; the same bytes again where the first sending was lost."""
    if recorder.signer is None:
        detail = "answers to polls are signed: give the ledger a signer"
        raise InvalidInput(problem("signer_missing", detail, pointer="/signer"))
    if choice not in invitation.options:
        detail = f"{choice} is none of {', '.join(invitation.options)}"
        raise InvalidInput(problem("choice_unknown", detail, pointer="/choice"))
    body = signed_answer(recorder.signer, invitation, choice, members)
    found = yield from asked(_call(invitation, body), time.monotonic() + recorder.timeout_s)
    document = found.document()
    try:
        return PollReceipt(document["id"], document["response_sha256"], found.status == GOOD[0])
    except KeyError as error:
        raise Unavailable(problem("no_ledger_answer", f"the answer has no {error}")) from None


def signed_answer(signer: Signer, invitation: Invitation, choice: str, members: Mapping[str, Any]) -> bytes:
    payload = {
        "schema": SCHEMA,
        "poll_id": invitation.poll_id,
        "question_hash": invitation.question_hash,
        "invitation_id": invitation.id,
        "agent_id": invitation.agent,
        "choice": choice,
        "answered_at": format_time(utc_now()),
        "nonce": secrets.token_hex(16),
        **{name: value for name, value in members.items() if value is not None},
    }
    signature = signer.sign(DOMAIN + encode(payload)).hex()
    return encode({"kid": signer.kid, "payload": payload, "signature": signature})


def decline(invitation: Invitation, timeout_s: float) -> Steps[None]:
    body = encode({"declined": "yes", "invitation_id": invitation.id})
    yield from asked(_call(invitation, body), time.monotonic() + timeout_s)


def _call(invitation: Invitation, body: bytes) -> Call:
    return Call("POST", f"/api/v1/polls/{invitation.poll_id}/responses/", body, {"Content-Type": JSON})
