"""Answers as they come in: judged in one fixed order, sealed, announced in the log (POLLS section 4)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import F, Q

from advisory.polls import selectors
from advisory.polls.core import answers
from advisory.polls.core.bodies import DECLINED, checked
from advisory.polls.core.statements import RESPONSE
from advisory.polls.models import (
    InvitationState,
    Poll,
    PollInvitation,
    PollResponse,
    Revisions,
    State,
    Transport,
)
from advisory.polls.services import blind
from advisory.polls.services.lifecycle import demand_reason, share_lock
from ecp_project.kernel.canonical import parse_document, parse_statement
from ecp_project.kernel.clock import format_time
from ecp_project.kernel.errors import BadRequest, Conflict, EcpError, Invalid, NotFound
from ecp_project.kernel.ids import new_uuid7
from ledger.models import AgentKey
from ledger.services.ledger import TransparencyLedger

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

MAX_ANSWER = 65_536
# Faults of an answer that the invited agent sent to an open poll; a repeat or a late one is none.
_REFUSED = frozenset(
    {"question_mismatch", "agent_mismatch", "key_inactive", "signature_invalid", "choice_unknown"}
)


@dataclass(frozen=True, slots=True)
class Received:
    """What became of an answer; `late` ones are kept and not counted."""

    response_id: UUID
    response_sha256: str
    is_duplicate: bool
    is_late: bool = False

    def document(self) -> dict[str, Any]:
        return {
            "id": str(self.response_id),
            "response_sha256": self.response_sha256,
            "duplicate": self.is_duplicate,
            "counted": not self.is_late,
        }


def read_answer(raw: bytes) -> dict[str, Any]:
    """Read canonical bytes of an answer; what is JSON but not canonical has one code."""
    try:
        document = parse_statement(raw, max_bytes=MAX_ANSWER)
    except BadRequest as error:
        if error.code == "malformed_json":
            raise
        raise BadRequest("not_canonical", error.detail, pointer=error.pointer, reason=error.code) from None
    answers.check_answer(document)
    return document


def declined_invitation(raw: bytes) -> UUID | None:
    """Name the invitation that `{"declined":"yes","invitation_id":..}` refuses; None for anything else."""
    try:
        document = parse_document(raw, max_bytes=MAX_ANSWER)
    except EcpError:
        return None
    if document.get("declined") != "yes":
        return None
    checked(DECLINED, document)
    return UUID(document["invitation_id"])


def answer_receive(*, poll_id: UUID, document: Mapping[str, Any], agent_id: int, now: datetime) -> Received:
    """Take the answer of one agent; `now` is when its last byte was received."""
    invitation_id = _uuid(document["payload"]["invitation_id"])
    try:
        with transaction.atomic():
            found = _received(poll_id, invitation_id, document, agent_id, now)
    except IntegrityError as error:
        # Another request with this nonce was faster by the width of a transaction.
        raise Conflict("nonce_reused", pointer="/payload/nonce") from error
    except EcpError as refused:
        if refused.code in _REFUSED:
            PollInvitation.objects.filter(pk=invitation_id, agent_id=agent_id).update(
                refused_answers=F("refused_answers") + 1
            )
        raise
    if found.is_late:
        raise Conflict("poll_closed", response_sha256=found.response_sha256)
    return found


def _received(
    poll_id: UUID, invitation_id: UUID, document: Mapping[str, Any], agent_id: int, now: datetime
) -> Received:
    poll, invitation = _open_invitation(poll_id, invitation_id, agent_id)
    payload = document["payload"]
    is_late = _is_late(poll, now)
    try:
        public_key = _judge(poll, invitation, document, now)
    except Invalid:
        if is_late:
            raise Conflict("poll_closed") from None
        raise
    digest = answers.response_sha256(payload)
    same = PollResponse.objects.filter(
        poll=poll, invitation=invitation, response_sha256=bytes.fromhex(digest)
    ).first()
    if same is not None:
        return Received(same.id, digest, is_duplicate=True, is_late=same.late)
    sealed = {"payload": payload, "public_key": public_key.hex(), "signature": document["signature"]}
    return _kept(
        poll,
        invitation,
        sealed,
        now,
        actor=f"agent:{invitation.agent.slug}",
        is_late=is_late,
    )


def _open_invitation(poll_id: UUID, invitation_id: UUID, agent_id: int | None) -> tuple[Poll, PollInvitation]:
    """Lock in the order poll, invitation; a poll of others and an unknown one are the same."""
    share_lock(poll_id)
    rows = PollInvitation.objects.select_for_update(of=("self",)).select_related(
        "agent", "poll", "poll__organisation"
    )
    invitation = rows.filter(pk=invitation_id, poll_id=poll_id).first()
    if invitation is None or (agent_id is not None and invitation.agent_id != agent_id):
        raise NotFound("not_found", "there is no such invitation")
    return invitation.poll, invitation


def _is_late(poll: Poll, now: datetime) -> bool:
    if poll.state in selectors.FINAL:
        raise Conflict("poll_closed")
    if poll.state != State.OPEN:
        raise Conflict("poll_not_open", f"the poll is {poll.state}")
    assert poll.deadline is not None, poll.id
    return now > poll.deadline


def _judge(poll: Poll, invitation: PollInvitation, document: Mapping[str, Any], now: datetime) -> bytes:
    """Go through the checks of section 4 that need rows; gives the key that signed."""
    payload = document["payload"]
    if payload["question_hash"] != poll.question_hash or payload["poll_id"] != str(poll.id):
        raise Invalid("question_mismatch", pointer="/payload/question_hash")
    if payload["agent_id"] != invitation.agent.slug:
        raise Invalid("agent_mismatch", pointer="/payload/agent_id")
    key = AgentKey.objects.filter(
        Q(valid_until__isnull=True) | Q(valid_until__gt=now),
        Q(revoked_at__isnull=True) | Q(revoked_at__gt=now),
        agent_id=invitation.agent_id,
        kid=document["kid"],
        valid_from__lte=now,
    ).first()
    if key is None:
        raise Invalid("key_inactive", pointer="/kid")
    public_key = bytes(key.public_key)
    if not answers.signature_is_good(public_key, payload, bytes.fromhex(document["signature"])):
        raise Invalid("signature_invalid", pointer="/signature")
    if payload["choice"] not in poll.options:
        raise Invalid("choice_unknown", pointer="/payload/choice")
    return public_key


def _kept(
    poll: Poll,
    invitation: PollInvitation,
    sealed: dict[str, Any],
    now: datetime,
    *,
    actor: str,
    is_late: bool,
    entered_by: UUID | None = None,
    reason: str = "",
) -> Received:
    key = blind.answer_key(poll)
    nonce_mac = blind.nonce_mac(key, sealed["payload"]["nonce"])
    if PollResponse.objects.filter(poll=poll, nonce_mac=nonce_mac).exists():
        raise Conflict("nonce_reused", pointer="/payload/nonce")
    before = PollResponse.objects.filter(invitation=invitation, counted=True).first()
    if before is not None and not is_late:
        if poll.revisions != Revisions.LAST:
            raise Conflict("already_answered")
        before.counted = False
        before.save(update_fields=["counted"])
    supersedes = before.id if before is not None and not is_late else None
    digest = answers.response_sha256(sealed["payload"])
    stmt: dict[str, Any] = {
        "v": RESPONSE,
        "id": new_uuid7(now),
        "org": poll.organisation.slug,
        "ts": format_time(now),
        "actor": actor,
        "poll_id": str(poll.id),
        "invitation_id": str(invitation.id),
        "response_sha256": digest,
        "received_at": format_time(now),
        "counted": not is_late,
    } | ({} if supersedes is None else {"supersedes": str(supersedes)})
    if not is_late:
        invitation.state = InvitationState.ANSWERED
        invitation.delivered_at = invitation.delivered_at or now
        invitation.save(update_fields=["state", "delivered_at"])
    response_id = UUID(stmt["id"])
    receipt = TransparencyLedger(selectors.log_of(poll)).append_statement(stmt, now=now)
    PollResponse.objects.create(
        id=response_id,
        poll=poll,
        invitation=invitation,
        response_sha256=bytes.fromhex(digest),
        nonce_mac=nonce_mac,
        sealed=blind.seal(key, response_id, sealed),
        received_at=now,
        seq=receipt.stored.seq,
        counted=not is_late,
        late=is_late,
        supersedes=supersedes,
        entered_by=entered_by,
        entered_reason=reason,
    )
    return Received(response_id, digest, is_duplicate=False, is_late=is_late)


def answer_enter(*, poll_id: UUID, entry: Mapping[str, Any], pseudonym: UUID, now: datetime) -> Received:
    """Type in what a person said, for an agent that had neither endpoint nor key at the commitment."""
    demand_reason(entry["reason"])
    with transaction.atomic():
        poll, invitation = _open_invitation(poll_id, UUID(entry["invitation_id"]), None)
        if invitation.transport != Transport.MANUAL:
            raise Conflict("poll_state", "this agent answers for itself", pointer="/invitation_id")
        if _is_late(poll, now):
            raise Conflict("poll_closed")
        if entry["choice"] not in poll.options:
            raise Invalid("choice_unknown", pointer="/choice")
        payload = {
            "schema": answers.SCHEMA,
            "poll_id": str(poll.id),
            "question_hash": poll.question_hash,
            "invitation_id": str(invitation.id),
            "agent_id": invitation.agent.slug,
            "choice": entry["choice"],
            "confidence_pct": entry.get("confidence_pct", 100),
            "rationale": entry.get("rationale", ""),
            "answered_at": format_time(now),
            "nonce": secrets.token_hex(16),
        }
        return _kept(
            poll,
            invitation,
            {"payload": payload, "public_key": None, "signature": None},
            now,
            actor=f"staff:{pseudonym}",
            is_late=False,
            entered_by=pseudonym,
            reason=entry["reason"],
        )


def answer_decline(*, poll_id: UUID, invitation_id: UUID, agent_id: int, now: datetime) -> None:
    """Take a refusal: it is told apart from silence, and nobody is asked again."""
    with transaction.atomic():
        poll, invitation = _open_invitation(poll_id, invitation_id, agent_id)
        if _is_late(poll, now):
            raise Conflict("poll_closed")
        if invitation.state == InvitationState.ANSWERED:
            raise Conflict("already_answered")
        invitation.state = InvitationState.DECLINED
        invitation.delivered_at = invitation.delivered_at or now
        invitation.save(update_fields=["state", "delivered_at"])


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise NotFound("not_found", "there is no such invitation") from None
