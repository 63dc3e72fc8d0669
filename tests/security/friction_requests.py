"""What the rows of friction in the matrix are about, and the body of each act."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.test import Client
from django.urls import reverse

from advisory.friction.models import FrictionAdvice
from advisory.friction.selectors.recorded import RecordedFilter
from advisory.friction.services.following import bypass_record, standing_start
from advisory.friction.services.replaying import simulation_ask
from advisory.friction.services.rulesets import ruleset_import
from ecp_project.kernel.clock import format_time, utc_now
from ecp_project.kernel.ids import new_uuid7
from tests.advisory.friction.rulefile import HEAD, SCALE, rulefile
from tests.advisory.friction.world import activate
from tests.ledger.test_append import decision

if TYPE_CHECKING:
    from tests.people import People

JSON, YAML = "application/json", "application/yaml"
BYPASS = {"steps": "all", "reason_code": "other", "reason_text": "It was agreed with the bank."}
STANDING = {"reason_text": "The whole team is watching."}
VERSIONS = {"ruleset-version", "ruleset-state", "ruleset-diff"}
FRESH = {"advice-detail", "advice-bypass", "step-outcome"}


class FrictionRequests:
    """Rules of Acme under which everything has one step, a standing bypass, a bypass to review."""

    def __init__(self, people: People) -> None:
        self.people = people
        step = SCALE.replace("low: {steps: []}", "low: {steps: [{type: delay, minutes: 9}]}")
        version = activate(people, rulefile(scale=step).encode())
        ruleset_import(
            log=people.log, source=_rules("tiny", 2).encode(), actor=version.proposed_by, now=utc_now()
        )
        actor = f"staff:{new_uuid7(utc_now())}"
        self.standing = standing_start(
            log=people.log, rules=[], agents=["nobody"], actions=[], actor=actor, now=utc_now(),
            reason_text="The whole team is watching.", expires_at=utc_now() + timedelta(hours=1),
        )  # fmt: skip
        self.simulation = simulation_ask(
            log=people.log, source=_rules("another-set"), sha256=version.sha256, against=None,
            wanted=RecordedFilter(), actor=actor, now=utc_now(),
        )  # fmt: skip
        self.bypass, _ = bypass_record(
            log=people.log, advice=FrictionAdvice.objects.get(pk=self._advice()), steps=None, key=None,
            reason_code="other", reason_text="It was agreed with the bank.", actor=actor, now=utc_now(),
        )  # fmt: skip

    def _advice(self) -> str:
        """An advice of which nothing is done yet."""
        body = json.dumps({"proposal": decision()})
        agent = self.people.ada_agent
        answer = Client().post(reverse("advice-list"), body, content_type=JSON, **agent.headers)
        assert answer.status_code == 201, answer.content
        return str(answer.json()["id"])

    def place(self, route: str, uid: str) -> dict[str, str]:
        """Arguments of the address; `uid` names something that nobody has made."""
        if route in VERSIONS:
            return {"slug": "no-such-set" if uid else "tiny", "number": "2"}
        if route in FRESH:
            return {"uid": uid or self._advice()} | ({"n": "1"} if route == "step-outcome" else {})
        objects = {
            "standing-detail": self.standing.pk, "bypass-review": self.bypass.pk,
            "simulation-detail": self.simulation.pk,
        }  # fmt: skip
        return {"uid": uid or str(objects[route])} if route in objects else {}

    def body(self, route: str) -> tuple[str, str]:
        if route in {"ruleset-list", "ruleset-validate"}:
            return _rules("another-set"), YAML
        documents: dict[str, Any] = {
            "advice-list": {"proposal": decision()},
            "advice-bypass": BYPASS,
            "step-outcome": {"outcome": "not_applicable"},
            "ruleset-state": {"to": "retired", "reason": "nobody wants it any more"},
            "standing-list": STANDING | {"expires_at": format_time(utc_now() + timedelta(hours=1))},
            "bypass-review": {"verdict": "justified"},
            "advisory-mode": {"to": "observer", "reason": "nobody has looked at the rules yet"},
            "simulation-list": {"source_yaml": _rules("another-set")},
        }
        return json.dumps(documents[route]), JSON


def _rules(name: str, version: int = 1) -> str:
    return rulefile(head=HEAD.replace("id: tiny", f"id: {name}").replace("version: 1", f"version: {version}"))
