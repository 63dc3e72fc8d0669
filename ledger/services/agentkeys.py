"""Agents' signing keys: row and `ecp.key/1` entry in one transaction (LEDGER sections 3 and 6).

A key counts from its announcement on: whoever reads the log learns from it which key speaks for which agent.
The announcement is signed by the new key, so nobody registers a key that nobody holds. An admin adds an
agent's first key; from then on the agent replaces and revokes its own keys by signed statements.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db import IntegrityError, transaction

from ecp_project.kernel.canonical import encode
from ecp_project.kernel.clock import parse_time
from ecp_project.kernel.errors import BadRequest, Conflict, PermissionDenied
from ecp_project.kernel.ids import new_uuid7
from ecp_project.kernel.signing import b64url, b64url_decode, key_is_registrable
from ledger.core.entry import signed_message
from ledger.core.statement import build_key
from ledger.models import Agent, AgentKey, Entry
from ledger.selectors.entries import OrgScope, default_log
from ledger.services.ledger import (
    Receipt,
    TransparencyLedger,
    check_signatures,
    refuse_agent,
    signed_statement,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from ecp_project.api.authentication import Principal

KIND = "ecp.key/1"


def agent_key_add(
    *,
    agent: Agent,
    public_key: bytes,
    valid_from: datetime,
    valid_until: datetime | None,
    actor: str,
    prove: Callable[[bytes], bytes],
    now: datetime,
) -> AgentKey:
    """Register and announce a key; `prove` signs the announcement's message with the new private key."""
    ledger = _ledger_of(agent)
    _refuse_unsound(public_key, valid_from, valid_until, at="")
    stmt = build_key(
        id_=new_uuid7(now),
        org=agent.organisation.slug,
        ts=now,
        actor=actor,
        event="added",
        holder=f"agent:{agent.slug}",
        public_key=public_key,
        valid_from=valid_from,
        valid_until=valid_until,
    )
    row = AgentKey(
        agent=agent,
        kid=stmt["kid"],
        public_key=public_key,
        valid_from=valid_from,
        valid_until=valid_until,
    )
    message = signed_message(ledger.log.origin, encode(stmt))
    sigs = [{"alg": "ed25519", "kid": row.kid, "sig": b64url(prove(message))}]
    check_signatures(sigs, ledger.log, agent.slug, message, {row.kid: _as_of(row, now)}, now)
    try:
        with transaction.atomic():
            row.save(force_insert=True)
            ledger.append_statement(stmt, now=now, sigs=sigs)
    except IntegrityError as error:
        raise _registered_already() from error
    return row


def agent_key_revoke(*, key: AgentKey, actor: str, reason: str, now: datetime) -> Receipt | None:
    """Take a key out of use from now on; None when that was done before."""
    ledger = _ledger_of(key.agent)
    stmt = build_key(
        id_=new_uuid7(now),
        org=key.agent.organisation.slug,
        ts=now,
        actor=actor,
        event="revoked",
        holder=f"agent:{key.agent.slug}",
        public_key=bytes(key.public_key),
        valid_from=key.valid_from,
        valid_until=key.valid_until,
        reason=reason,
    )
    with transaction.atomic():
        if not _revoke(key.kid, reason, now):
            return None
        return ledger.append_statement(stmt, now=now)


def signed_append(
    *, ledger: TransparencyLedger, body: bytes, key: str | None, principal: Principal, now: datetime
) -> Receipt:
    """Take one signed statement; those about keys change the registry in the same transaction.

    `key` is the Idempotency-Key that came with it, which can only repeat the statement's own id.
    """
    stmt, sigs, raw = signed_statement(body, ledger.log)
    if key is not None and key != stmt["id"]:
        raise BadRequest("idempotency_mismatch", "Idempotency-Key and id differ", pointer="/stmt/id")
    if stmt["v"] != KIND:
        return ledger.append_one_signed(stmt, sigs, raw, principal=principal, now=now)
    slug = stmt["actor"].removeprefix("agent:")
    agents = Agent.objects.filter(organisation_id=ledger.log.organisation_id, slug=slug)
    agent = agents.select_related("organisation").first()
    refuse_agent(principal, {slug: agent.status if agent else None}, slug, at="/stmt/actor")
    assert agent is not None
    if stmt["holder"] != stmt["actor"]:
        detail = f"{slug} speaks for its own keys only"
        raise PermissionDenied("agent_not_allowed", detail, pointer="/stmt/holder")
    said = _Said(ledger, agent, stmt, sigs, signed_message(ledger.log.origin, raw), now)
    try:
        return _key_statement_append(said)
    except (IntegrityError, BadRequest) as error:
        if said.is_stored():  # an equal request was faster, so this one is a repeat
            return _key_statement_append(said)
        if isinstance(error, BadRequest):
            raise
        raise _registered_already("/stmt/public_key") from error


@dataclass(frozen=True, slots=True)
class _Said:
    """What an agent says of its keys, as far as it is read."""

    ledger: TransparencyLedger
    agent: Agent
    stmt: dict[str, Any]
    sigs: list[Any]
    message: bytes
    now: datetime

    def is_stored(self) -> bool:
        return Entry.objects.filter(log_id=self.ledger.log.id, uid=self.stmt["id"]).exists()

    def check_signatures(self, keys: dict[str, AgentKey]) -> None:
        check_signatures(self.sigs, self.ledger.log, self.agent.slug, self.message, keys, self.now)


def _key_statement_append(said: _Said) -> Receipt:
    stmt = said.stmt
    with transaction.atomic():
        # A repeat of a revocation is signed by a key that is not valid any more, so it is known by its id.
        if not said.is_stored():
            if stmt["event"] == "rotated":
                _rotated(said)
            elif stmt["event"] == "revoked":
                _revoked(said)
            else:
                detail = "an admin adds the first key; with a key of its own an agent sends event rotated"
                raise PermissionDenied("agent_not_allowed", detail, pointer="/stmt/event")
        return said.ledger.append_statement(stmt, now=said.now, sigs=said.sigs)


def _rotated(said: _Said) -> None:
    """The new key proves that somebody holds it, an older one that the agent wants it."""
    stmt = said.stmt
    row = AgentKey(
        agent=said.agent,
        kid=stmt["kid"],
        public_key=b64url_decode(stmt["public_key"]),
        valid_from=parse_time(stmt["valid_from"]),
        valid_until=parse_time(stmt["valid_until"]) if "valid_until" in stmt else None,
    )
    _refuse_unsound(bytes(row.public_key), row.valid_from, row.valid_until, at="/stmt")
    said.check_signatures({row.kid: _as_of(row, said.now)})
    kids = {sig["kid"] for sig in said.sigs}
    if row.kid not in kids or len(kids) == 1:
        detail = "the new key and a valid older one must both sign"
        raise BadRequest("bad_signature", detail, pointer="/sigs")
    row.save(force_insert=True)


def _revoked(said: _Said) -> None:
    stmt = said.stmt
    row = AgentKey.objects.filter(kid=stmt["kid"], agent=said.agent).first()
    if row is None:
        raise BadRequest("unknown_key", f"no key of {said.agent.slug} has this kid", pointer="/stmt/kid")
    said.check_signatures({})
    if not _revoke(row.kid, stmt.get("reason", ""), said.now):
        raise BadRequest("key_not_valid", "the key is revoked already", pointer="/stmt/kid")


def _revoke(kid: str, reason: str, now: datetime) -> bool:
    rows = AgentKey.objects.filter(kid=kid, revoked_at__isnull=True)
    return rows.update(revoked_at=now, revoked_reason=reason[:500]) == 1


def _ledger_of(agent: Agent) -> TransparencyLedger:
    return TransparencyLedger(default_log(scope=OrgScope(agent.organisation_id)))


def _as_of(row: AgentKey, now: datetime) -> AgentKey:
    """The new key as valid now: it may be announced ahead of its time."""
    return AgentKey(agent=row.agent, kid=row.kid, public_key=row.public_key, valid_from=now)


def _refuse_unsound(
    public_key: bytes, valid_from: datetime, valid_until: datetime | None, *, at: str
) -> None:
    if not key_is_registrable(public_key):
        detail = "this is no sound Ed25519 public key of prime order"
        raise BadRequest("key_weak", detail, pointer=f"{at}/public_key")
    if valid_until is not None and valid_until <= valid_from:
        raise BadRequest("bad_value", "valid_until must be after valid_from", pointer=f"{at}/valid_until")


def _registered_already(pointer: str = "/public_key") -> Conflict:
    return Conflict("id_reused", "this public key is registered already", pointer=pointer)
