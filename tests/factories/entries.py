"""Small builders: decision lines for `ingest`, and an agent's announced key."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ecp_project.kernel import signing
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.ids import new_uuid7
from ledger.models import Agent, AgentKey
from ledger.services.agentkeys import agent_key_add
from ledger.services.ingest import ingest

if TYPE_CHECKING:
    from ledger.models import Log

KEY_SEED = bytes(range(32, 64))


def decision_lines(count: int, **members: Any) -> list[bytes]:
    """NDJSON lines of the agent pricing-bot, each with an id of its own."""
    return [
        json.dumps({
            "id": new_uuid7(utc_now()), "agent": "pricing-bot", "action": "price.change",
            "explanation": f"Item {number} is cheaper elsewhere.", **members,
        }).encode()
        for number in range(count)
    ]  # fmt: skip


def record(log: Log, lines: list[bytes]) -> None:
    """Append the lines; all of them must be new and good."""
    tally = ingest(log=log, lines=lines, actor="system:ingest", clock=utc_now)
    assert tally.accepted == len(lines), tally


def announced_key(log: Log, seed: bytes = KEY_SEED) -> AgentKey:
    """A key of pricing-bot that the log announces at its next position."""
    now = utc_now()
    return agent_key_add(
        agent=Agent.objects.get(organisation=log.organisation, slug="pricing-bot"),
        public_key=signing.public_from_seed(seed),
        valid_from=now - timedelta(days=1),
        valid_until=None,
        actor="system:shell",
        prove=lambda message: signing.sign(seed, message),
        now=now,
    )
