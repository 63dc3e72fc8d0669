"""Advice, bypasses and rules for the furnished console, with hostile text wherever people or agents write."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.test import Client

from advisory.friction.models import (
    FrictionAdvice,
    FrictionDuty,
    NotificationTarget,
    TargetKind,
)
from advisory.friction.selectors.recorded import RecordedFilter
from advisory.friction.services.answering import Answer, step_answer
from advisory.friction.services.following import bypass_record, standing_start
from advisory.friction.services.replaying import simulation_ask, simulation_step
from advisory.friction.services.rulesets import ruleset_import
from ecp_project.kernel.clock import utc_now
from ledger.models import Membership
from tests.advisory.friction.world import SHIPPED, activate

if TYPE_CHECKING:
    from ledger.models import Entry
    from tests.people import People


def furnish_friction(people: People, decided: Entry, hostile: str) -> FrictionAdvice:
    """The shipped rules in force, a draft beside them, one advice with everything that can be said of it."""
    log, now = people.log, utc_now()
    members = Membership.objects.filter(organisation=people.acme)
    member, admin = members.get(user=people.ada), members.filter(role="admin").earliest("pk")
    actor = f"staff:{member.pseudonym}"
    version = activate(people, proposer=actor, approver=f"staff:{admin.pseudonym}")
    draft = SHIPPED.replace(b"\nversion: 1\n", b"\nversion: 2\n").replace(b"points: 35", b"points: 36")
    drafted, _ = ruleset_import(log=log, source=draft, actor=version.proposed_by, now=now)
    FrictionDuty.objects.create(organisation=people.acme, label="privacy", member=member)
    NotificationTarget.objects.create(
        organisation=people.acme, name="on-call", kind=TargetKind.MAIL, address="duty@acme.example"
    )
    advice = _asked(people, hostile)
    step_answer(
        log=log,
        advice=advice,
        n=1,
        answer=Answer.COMMENT,
        note=hostile,
        evidence_url="",
        actor=actor,
        now=now,
    )
    bypass_record(
        log=log, advice=advice, steps=[1], reason_code="other", reason_text=hostile,
        actor="agent:pricing-bot", key=None, now=now,
    )  # fmt: skip
    standing_start(
        log=log, rules=["PAY-100"], agents=["nobody"], actions=[], reason_text=hostile, actor=actor, now=now,
        expires_at=now + timedelta(hours=1),
    )  # fmt: skip
    simulation_ask(
        log=log, source=drafted.source_yaml, sha256=drafted.sha256, against=None,
        wanted=RecordedFilter(last=1_000), actor=actor, now=utc_now(),
    )  # fmt: skip
    assert simulation_step(clock=utc_now)
    FrictionAdvice.objects.filter(pk=advice.pk).update(decision_id=decided.uid, linked_at=now, decided_at=now)
    return advice


def _asked(people: People, explanation: str) -> FrictionAdvice:
    proposal: dict[str, Any] = {
        "agent": "pricing-bot", "action": "payment.transfer", "explanation": explanation,
        "context": {
            "environment": "prod", "amount_minor": 2_500_000, "currency": "EUR", "reversible": False,
            "affected_people": 1, "confidence_pct": 91, "data_classes": ["health"],
        },
    }  # fmt: skip
    answer = Client().post(
        "/api/v1/friction/advice/", json.dumps({"proposal": proposal}), content_type="application/json",
        **people.ada_agent.headers,
    )  # fmt: skip
    assert answer.status_code == 201, answer.content
    return FrictionAdvice.objects.get(pk=answer.json()["id"])
