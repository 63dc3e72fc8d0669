"""An agent with a signing key, as a client of the signed path sees it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ecp_project.kernel.canonical import encode
from ecp_project.kernel.clock import format_time, utc_now
from ecp_project.kernel.ids import new_uuid7
from ecp_project.kernel.signing import b64url, kid_of, public_from_seed, sign
from ledger.core.entry import signed_message
from ledger.services.agentkeys import agent_key_add

if TYPE_CHECKING:
    from datetime import datetime

    from ledger.models import Agent, AgentKey, Log

JSON = "application/json"
NDJSON = "application/x-ndjson"


@dataclass(frozen=True, slots=True)
class Pen:
    """A private key, and what it signs for one log."""

    seed: bytes
    origin: str

    @property
    def public_key(self) -> bytes:
        return public_from_seed(self.seed)

    @property
    def kid(self) -> str:
        return kid_of(self.public_key)

    def sig(self, stmt: dict[str, Any], **changed: str) -> dict[str, str]:
        """Signature over the canonical statement; `changed` members replace what is right."""
        signature = sign(self.seed, signed_message(self.origin, encode(stmt)))
        return {"alg": "ed25519", "kid": self.kid, "sig": b64url(signature)} | changed

    def body(self, stmt: dict[str, Any]) -> bytes:
        return signed_body(stmt, self.sig(stmt))


def signed_body(stmt: dict[str, Any], *sigs: Any) -> bytes:
    return encode({"sigs": list(sigs), "stmt": stmt})


def pen(log: Log, number: int = 1) -> Pen:
    return Pen(bytes([number]) * 32, log.origin)


def registered(
    agent: Agent,
    log: Log,
    number: int = 1,
    *,
    valid_from: datetime | None = None,
    valid_until: datetime | None = None,
) -> tuple[Pen, AgentKey]:
    made, now = pen(log, number), utc_now()
    key = agent_key_add(
        agent=agent,
        public_key=made.public_key,
        valid_from=valid_from or now,
        valid_until=valid_until,
        actor="system:test",
        prove=lambda message: sign(made.seed, message),
        now=now,
    )
    return made, key


def decision_statement(**members: Any) -> dict[str, Any]:
    now = utc_now()
    return {
        "v": "ecp.decision/1",
        "id": new_uuid7(now),
        "org": "acme",
        "agent": "pricing-bot",
        "action": "price.change",
        "ts": format_time(now),
        "explanation": "Lowered the price of a slow-selling lamp by 5 %.",
    } | members


def annotation_statement(target: str, **members: Any) -> dict[str, Any]:
    now = utc_now()
    return {
        "v": "ecp.annotation/1",
        "id": new_uuid7(now),
        "org": "acme",
        "ts": format_time(now),
        "actor": "agent:pricing-bot",
        "kind": "outcome",
        "status": "success",
        "target": target,
        "text": "Sales rose within the week.",
    } | members


def key_statement(event: str, made: Pen, **members: Any) -> dict[str, Any]:
    now = utc_now()
    return {
        "v": "ecp.key/1",
        "id": new_uuid7(now),
        "org": "acme",
        "ts": format_time(now),
        "actor": "agent:pricing-bot",
        "event": event,
        "holder": "agent:pricing-bot",
        "alg": "ed25519",
        "kid": made.kid,
        "public_key": b64url(made.public_key),
        "valid_from": format_time(now),
    } | members


def results(answer: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in answer.content.splitlines()]
