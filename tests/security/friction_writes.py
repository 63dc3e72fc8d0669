"""Forms of friction's pages: rules, the mode, bypasses, answers to steps, duties and targets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from advisory.friction.core.statements import BYPASS, RULESET
from advisory.friction.models import (
    FrictionAdvice,
    FrictionBypass,
    FrictionDuty,
    FrictionRuleSetVersion,
    NotificationTarget,
    StandingBypass,
    VersionState,
)
from tests.advisory.friction.rulefile import rulefile
from tests.console.furnished_friction import furnish_friction
from tests.security.writes import ANNOTATION, LOG, TEXT, Write

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.security.writes import World

MODE = "ecp.mode/1"
REASON = "It was agreed in the risk meeting."


def furnish(world: World) -> None:
    furnish_friction(world.people, world.decided, REASON)


def only(model: Any) -> Callable[[World], list[Any]]:
    return lambda _: [model.objects.get().pk]


def draft(_: World) -> list[Any]:
    return [FrictionRuleSetVersion.objects.get(state=VersionState.DRAFT).pk]


def review_answered(answer: str) -> Callable[[World], dict[str, Any]]:
    def form(_: World) -> dict[str, Any]:
        steps = FrictionAdvice.objects.get().result["steps"]
        n = next(step["n"] for step in steps if step["type"] == "second_review")
        return {"n": n, "answer": answer, "note": TEXT}

    return form


def new_duty(w: World) -> dict[str, Any]:
    return {"organisation": w.people.acme.pk, "label": "legal", "member": w.member("viewer").pk}


def handed_over(w: World) -> dict[str, Any]:
    return {"label": "privacy", "member": w.member("auditor").pk}


def new_target(w: World) -> dict[str, Any]:
    return target(w) | {"organisation": w.people.acme.pk, "name": "night"}


def target(_: World) -> dict[str, Any]:
    return {"kind": "mail", "address": "night@acme.example", "active": "on"}


def proposed(_: World) -> dict[str, Any]:
    return LOG | {"source": rulefile()}


def decided(to: str) -> Callable[[World], dict[str, Any]]:
    return lambda _: {"to": to, "reason": REASON}


def switched(_: World) -> dict[str, Any]:
    return LOG | {"to": "observer", "reason": REASON}


def standing(_: World) -> dict[str, Any]:
    return LOG | {"hours": "1", "agents": "pricing-bot", "reason": REASON}


def ended(_: World) -> dict[str, Any]:
    return LOG | {"end": str(StandingBypass.objects.get().pk)}


def judged(_: World) -> dict[str, Any]:
    return {"verdict": "justified", "note": TEXT}


ADVICE, VERSION = "friction_frictionadvice_change", "friction_frictionrulesetversion_change"
VERSIONS, STANDING = "friction_frictionrulesetversion_changelist", "friction_standingbypass_changelist"
WRITES = (
    Write(ADVICE, "operator", "outcome", review_answered("done"), only(FrictionAdvice), TEXT, v=ANNOTATION),
    Write(ADVICE, "operator", "outcome", review_answered("declined"), only(FrictionAdvice), TEXT,
          v=ANNOTATION),
    Write(ADVICE, "operator", "note", review_answered("comment"), only(FrictionAdvice), TEXT, v=ANNOTATION),
    Write("friction_frictionbypass_change", "auditor", "outcome", judged, only(FrictionBypass), TEXT,
          v=ANNOTATION),
    Write(STANDING, "operator", "", standing, kept=REASON, v=BYPASS),
    Write(STANDING, "operator", "friction.standing_end", ended),
    Write(VERSIONS, "operator", "friction.ruleset_propose", proposed, kept="id: tiny"),
    Write(VERSION, "admin", "", decided("shadow"), draft, REASON, v=RULESET),
    Write(VERSION, "admin", "", decided("retired"), draft, REASON, v=RULESET),
    Write("friction_frictionmode_changelist", "admin", "", switched, kept=REASON, v=MODE),
    Write("friction_frictionduty_add", "admin", "frictionduty.register", new_duty, kept="legal"),
    Write("friction_frictionduty_change", "admin", "frictionduty.change", handed_over, only(FrictionDuty),
          "privacy"),
    Write("friction_frictionduty_delete", "admin", "frictionduty.delete", lambda _: {"post": "yes"},
          only(FrictionDuty)),
    Write("friction_notificationtarget_add", "admin", "notificationtarget.register", new_target,
          kept="night@acme.example"),
    Write("friction_notificationtarget_change", "admin", "notificationtarget.change", target,
          only(NotificationTarget), "night@acme.example"),
)  # fmt: skip
UNRECORDED = {
    "friction_frictionrulesetversion_try": "a dry run over a pasted proposal; nothing is stored",
    "friction_frictionsimulation_changelist": "a dry run, for HALT too; its row says who asked",
    "friction_frictionsimulation_change": "it stops a dry run, and must be able to in HALT too",
}
