"""Acme with the shipped rules in force, and people who ask, decide and look on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.test import Client

from advisory.friction.models import FrictionRuleSetVersion, VersionState
from advisory.friction.services import reconciling
from advisory.friction.services.rulesets import ruleset_import, ruleset_state_change
from ecp_project.kernel.clock import utc_now
from ledger.core.entry import parse_entry
from ledger.models import Entry
from ledger.services.projections import project_search
from tests.shared import PROJECT

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from tests.people import Machine, People

SHIPPED = (PROJECT / "config" / "friction_rules.yml").read_bytes()
BASE = "/api/v1/friction/"
DF1: dict[str, Any] = {
    "action": "payment.transfer",
    "agent": "pay-agent-3",
    "explanation": "Pay supplier invoice 4711 that is due today.",
    "context": {
        "environment": "prod", "amount_minor": 2500000, "currency": "EUR", "reversible": False,
        "affected_people": 1, "confidence_pct": 91, "data_classes": [],
    },
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class World:
    """Acme and its callers; `agent` may ask for advice."""

    people: People
    agent: Machine
    colleague: Machine
    stranger: Machine
    staff: dict[str, User]

    def client(self, role: str) -> Client:
        client = Client()
        client.force_login(self.staff[role])
        return client

    def ask(self, proposal: dict[str, Any] | None = None, caller: Machine | None = None, **more: Any) -> Any:
        body = {"proposal": DF1 if proposal is None else proposal} | more.pop("members", {})
        return self.post("advice/", body, caller, **more)

    def post(self, path: str, body: Any, caller: Machine | str | None = None, **headers: Any) -> Any:
        """POST as a machine, as the role of a person, or as the agent."""
        client = self.client(caller) if isinstance(caller, str) else Client()
        if not isinstance(caller, str):
            headers |= (caller or self.agent).headers
        content_type = headers.pop("content_type", "application/json")
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return client.post(BASE + path, raw, content_type=content_type, **headers)

    def get(self, path: str, caller: Machine | str | None = None) -> Any:
        client = self.client(caller) if isinstance(caller, str) else Client()
        return client.get(BASE + path, **({} if isinstance(caller, str) else (caller or self.agent).headers))

    def decide(self, advisory: dict[str, Any] | None = None, **members: Any) -> str:
        document = DF1 | ({"advisory": advisory} if advisory else {}) | members
        answer = Client().post(
            "/api/v1/decisions/", json.dumps(document), content_type="application/json", **self.agent.headers
        )
        assert answer.status_code == 201, answer.content
        return str(answer.json()["id"])

    def reconcile(self) -> None:
        while reconciling.reconcile(log=self.people.log, now=utc_now()):
            pass
        while project_search(log_id=self.people.log.id):
            pass

    def statements(self, kind: str) -> list[dict[str, Any]]:
        rows = Entry.objects.filter(log=self.people.log, kind=kind).order_by("id")
        return [parse_entry(bytes(row.entry)).stmt for row in rows]


def activate(
    people: People,
    source: bytes = SHIPPED,
    to: VersionState = VersionState.ACTIVE,
    *,
    proposer: str = "staff:11111111-1111-4111-8111-111111111111",
    approver: str = "staff:22222222-2222-4222-8222-222222222222",
) -> FrictionRuleSetVersion:
    version, _ = ruleset_import(log=people.log, source=source, actor=proposer, now=utc_now())
    return ruleset_state_change(
        log=people.log, version=version, to=to, reason="agreed in the risk meeting",
        actor=approver, now=utc_now(),
    )  # fmt: skip
