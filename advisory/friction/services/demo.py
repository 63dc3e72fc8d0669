"""Sample data: the shipped rules in force, an agent that asks, and what became of its questions.

The same proposals every time, so that the pages and their pictures show the same.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.auth import get_user_model

from advisory.friction.models import FrictionAdvice, FrictionDuty, Outcome, VersionState
from advisory.friction.services.advising import advice_give
from advisory.friction.services.following import bypass_record, outcome_record
from advisory.friction.services.reconciling import reconcile
from advisory.friction.services.rulesets import ruleset_import, ruleset_state_change
from ecp_project.api.authentication import Principal
from ecp_project.kernel.ids import new_uuid7
from ledger.core.decision import DecisionRecord
from ledger.models import Agent, AgentStatus, Membership, Role
from ledger.services.demo import part_add
from ledger.services.ingest import ingest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from ledger.models import Log

ROUNDS = 4
# What is asked: action, sentence, context, and what the agent then does.
ASKED: tuple[tuple[str, str, dict[str, Any], str], ...] = (
    (
        "refund.approve", "Approve a refund of {amount} EUR: the parcel arrived damaged.",
        {"environment": "prod", "reversible": True, "affected_people": 1, "confidence_pct": 93}, "follows",
    ),
    (
        "payment.transfer", "Pay the carrier's collected invoices of {amount} EUR before its discount ends.",
        {"environment": "prod", "reversible": False, "affected_people": 1, "confidence_pct": 88}, "bypasses",
    ),
    (
        "refund.decline", "Decline {amount} EUR: the return window ended and no defect was reported.",
        {"environment": "prod", "reversible": True, "affected_people": 1, "confidence_pct": 52}, "follows",
    ),
    (
        "payment.transfer", "Pay the supplier of the autumn catalogue {amount} EUR, as agreed in spring.",
        {"environment": "prod", "reversible": False, "affected_people": 1, "confidence_pct": 97}, "acts",
    ),
    (
        "voucher.send", "Send vouchers worth {amount} EUR to everybody whose parcels were late in March.",
        {"environment": "prod", "reversible": True, "affected_people": 1_840, "confidence_pct": 56},
        "follows",
    ),
    (
        "customer.export", "Hand the carrier the addresses and delivery notes of {amount} parcels.",
        {
            "environment": "prod", "reversible": False, "affected_people": 96, "confidence_pct": 81,
            "data_classes": ["health"],
        }, "waits",
    ),
)  # fmt: skip
COLLEAGUES = (("noor", "Noor", Role.OPERATOR), ("ines", "Ines", Role.ADMIN))
REASON = "The discount ends at noon, and the invoices were checked last week."


def friction_load(*, log: Log, clock: Callable[[], datetime]) -> None:
    """Put the shipped rules in force and let an agent of the organisation ask."""
    proposer, approver = (_colleague(log, *told) for told in COLLEAGUES)
    _duty(log)
    source = (settings.BASE_DIR / "config" / "friction_rules.yml").read_bytes()
    version, _ = ruleset_import(log=log, source=source, actor=proposer, now=clock())
    ruleset_state_change(
        log=log, version=version, to=VersionState.ACTIVE, reason="agreed in the risk meeting of this month",
        actor=approver, now=clock(),
    )  # fmt: skip
    agent = Agent.objects.filter(organisation_id=log.organisation_id).order_by("slug").last()
    assert agent is not None, log.slug
    decided = []
    for proposal, then in _proposals(agent.slug):
        advice = _ask(log, agent.slug, proposal, clock())
        if (advisory := _react(log, advice, then, proposer, clock())) is not None:
            decided.append(json.dumps(proposal | {"id": new_uuid7(clock()), "advisory": advisory}).encode())
    tally = ingest(log=log, lines=decided, actor="system:demo", clock=clock)
    assert not tally.rejects, tally.rejects[0]
    while reconcile(log=log, now=clock()):
        pass


def _proposals(agent: str) -> Iterator[tuple[dict[str, Any], str]]:
    for turn in range(ROUNDS):
        for place, (action, sentence, context, then) in enumerate(ASKED):
            amount = (turn + 2) * (place + 1) * 1_150
            facts = {"amount_minor": amount * 100, "currency": "EUR", "data_classes": []} | context
            yield {
                "agent": agent, "action": action, "explanation": sentence.format(amount=f"{amount:,}"),
                "context": facts,
            }, then  # fmt: skip


def _ask(log: Log, agent: str, proposal: dict[str, Any], now: datetime) -> FrictionAdvice:
    principal = Principal("agent", log.organisation_id, agent_slug=agent, agent_status=AgentStatus.ACTIVE)
    row, _ = advice_give(
        log=log, record=DecisionRecord.from_document(proposal), proposal=proposal, principal=principal,
        actor=f"agent:{agent}", key=None, previous=None, now=now,
    )  # fmt: skip
    return row


def _react(
    log: Log, advice: FrictionAdvice, then: str, operator: str, now: datetime
) -> dict[str, Any] | None:
    """What becomes of the advice before the agent acts; None while it waits for people."""
    if then == "waits":
        return None
    actor = f"agent:{advice.agent}"
    told = {"advice_id": str(advice.pk), "level": advice.level, "bypassed": False}
    if then == "follows":
        for step in advice.result["steps"]:
            outcome_record(
                log=log, advice=advice, n=step["n"], outcome=Outcome.COMPLETED, note="", evidence_url="",
                actor=operator if step["type"] == "second_review" else actor, now=now,
            )  # fmt: skip
    if then == "bypasses" and advice.result["steps"]:
        bypass_record(
            log=log, advice=advice, steps=None, reason_code="time_critical", reason_text=REASON, actor=actor,
            key=None, now=now,
        )  # fmt: skip
        told |= {"bypassed": True, "bypass_reason": REASON}
    return told


def _colleague(log: Log, login: str, name: str, role: Role) -> str:
    """A person of the story, who cannot sign in."""
    user = get_user_model().objects.create_user(login, password=None, first_name=name)
    membership = Membership.objects.create(user=user, organisation_id=log.organisation_id, role=role)
    return f"staff:{membership.pseudonym}"


def _duty(log: Log) -> None:
    """Whoever looks at the sample data answers for privacy, so that something waits for them."""
    reader = Membership.objects.filter(organisation_id=log.organisation_id, user__is_staff=True)
    for membership in reader.order_by("pk")[:1]:
        FrictionDuty.objects.create(organisation_id=log.organisation_id, label="privacy", member=membership)


part_add(friction_load)
