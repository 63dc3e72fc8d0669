"""Reading advice and bypasses: within the caller's organisation, and for agents only their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db.models import Exists, OuterRef

from advisory.friction.models import (
    AdviceMode,
    AdvisoryMode,
    FrictionAdvice,
    FrictionBypass,
    FrictionInvalidLink,
    Outcome,
    StandingBypass,
)
from ecp_project.kernel.clock import format_time
from ecp_project.kernel.errors import NotFound
from ledger.selectors.hot import hot_row

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from django.db.models import QuerySet

    from ledger.selectors.entries import OrgScope

OBSERVED = "observer mode: nothing is suggested"


@dataclass(frozen=True, slots=True)
class AdviceFilter:
    agent: str | None = None
    level: str | None = None
    bypassed: bool | None = None
    since: datetime | None = None


def advice(*, scope: OrgScope) -> QuerySet[FrictionAdvice]:
    """Rows that the caller may see. What was never told to agents is not there for them."""
    rows = FrictionAdvice.objects.filter(organisation_id=scope.organisation_id)
    if scope.agents is not None:
        rows = rows.filter(agent__in=scope.agents).exclude(mode=AdviceMode.SHADOW)
    return rows.select_related("ruleset_version__ruleset")


def advice_of(*, scope: OrgScope, uid: UUID) -> FrictionAdvice:
    found = advice(scope=scope).filter(pk=uid).first()
    if found is None:
        raise NotFound("not_found", "there is no such advice")
    return found


def advice_page(
    *, scope: OrgScope, filters: AdviceFilter, before: int | None, size: int
) -> list[FrictionAdvice]:
    """Newest first, at most `size` + 1 rows: ids are UUIDv7, so they sort by time."""
    rows = advice(scope=scope)
    if filters.agent is not None:
        rows = rows.filter(agent=filters.agent)
    if filters.level is not None:
        rows = rows.filter(level=filters.level)
        if scope.agents is not None:
            rows = rows.exclude(mode=AdviceMode.OBSERVER)  # else the filter would tell what is kept back
    if filters.bypassed is not None:
        bypassed = Exists(FrictionBypass.objects.filter(advice=OuterRef("pk")))
        rows = rows.filter(bypassed) if filters.bypassed else rows.exclude(bypassed)
    if filters.since is not None:
        rows = rows.filter(evaluated_at__gte=filters.since)
    if before is not None:
        rows = rows.filter(pk__lt=UUID(int=before))
    return list(rows.order_by("-pk")[: size + 1])


def steps_done(row: FrictionAdvice) -> set[int]:
    """Steps that are completed, or that somebody found not to apply."""
    people: dict[int, set[str]] = {}
    done = set()
    for outcome in row.outcomes.all():
        if outcome.outcome == Outcome.NOT_APPLICABLE:
            done.add(outcome.n)
        elif outcome.outcome == Outcome.COMPLETED:
            people.setdefault(outcome.n, set()).add(outcome.actor)
    for step in row.result["steps"]:
        if len(people.get(step["n"], ())) >= step.get("count", 1):
            done.add(step["n"])
    return done


def steps_bypassed(row: FrictionAdvice) -> set[int]:
    return {n for bypass in row.bypasses.all() for n in bypass.steps}


def advice_document(row: FrictionAdvice, *, log: str, staff: bool) -> dict[str, Any]:
    """What the caller is told: an agent in observer mode nothing but that nothing is suggested."""
    is_observed = row.mode == AdviceMode.OBSERVER
    mode = AdvisoryMode.OBSERVER if is_observed else AdvisoryMode.FRICTION
    document: dict[str, Any] = {
        "id": str(row.id),
        "advisory": True,
        "blocking": False,
        "mode": mode.value,
        "agent": row.agent,
        "action": row.action,
        "input_sha256": row.input_sha256,
        "evaluated_at": format_time(row.evaluated_at),
        "entry": {"log": log, "seq": row.entry_seq},
    }
    if is_observed and not staff:
        nothing: dict[str, Any] = dict.fromkeys(("level", "score", "raw_score", "level_from", "ruleset"))
        lists: dict[str, Any] = {
            name: [] for name in ("fired", "undecided_rules", "missing_fields", "near_misses", "steps")
        }
        return document | nothing | lists | {"explanation": OBSERVED}
    told = {name: value for name, value in row.result.items() if name != "trace"}
    document |= told | {"level": row.level, "score": row.score}
    if row.mode == AdviceMode.ACTIVE:
        document["links"] = {"bypass": f"/api/v1/friction/advice/{row.id}/bypass/"}
    if row.mode == AdviceMode.SHADOW:
        document["mode"] = AdviceMode.SHADOW.value
    for name, uid in (("previous_advice_id", row.previous_advice_id), ("repeat_of", row.repeat_of_id)):
        if uid is not None:
            document[name] = str(uid)
    if row.standing_id is not None:
        document["standing_bypass"] = str(row.standing_id)
    return document


def advice_detail(row: FrictionAdvice, *, log: str, staff: bool) -> dict[str, Any]:
    """The same with what has become of it since."""
    document = advice_document(row, log=log, staff=staff)
    document["outcomes"] = [
        {
            "n": outcome.n,
            "outcome": outcome.outcome,
            "actor": outcome.actor,
            "at": format_time(outcome.at),
            **({"note": outcome.note} if outcome.note else {}),
            **({"evidence_url": outcome.evidence_url} if outcome.evidence_url else {}),
        }
        for outcome in row.outcomes.order_by("at", "id")
    ]
    document["bypasses"] = [bypass_document(bypass) for bypass in row.bypasses.order_by("at", "id")]
    if row.decision_id is not None:
        document["decision"] = {
            "id": str(row.decision_id),
            "changed_fields": row.changed_fields,
        }
    # Of what is told here, so that a change between two queries is one that was not seen.
    document["changes"] = (
        len(document["outcomes"])
        + sum(1 + ("review" in bypass) for bypass in document["bypasses"])
        + (row.decision_id is not None)
    )
    invalid = FrictionInvalidLink.objects.filter(organisation_id=row.organisation_id, advice_id=row.pk)
    document["invalid_links"] = [
        {"decision_id": str(link.decision_id), "fault": link.fault}
        for link in invalid.order_by("found_at")[:50]
    ]
    if staff:
        document["trace"] = row.result.get("trace", [])
        document["facts"] = row.facts
    return document


_CHANGES_SQL = """
SELECT (SELECT count(*) FROM friction_frictionstepoutcome WHERE advice_id = a.id)
    + (SELECT count(*) + count(*) FILTER (WHERE review_verdict <> '')
       FROM friction_frictionbypass WHERE advice_id = a.id)
    + (a.decision_id IS NOT NULL)::int
FROM friction_frictionadvice a WHERE a.id = %s
"""


def change_count(*, uid: UUID) -> int:
    """How much has become of an advice: outcomes, bypasses, reviews and the link. It only grows."""
    row = hot_row(_CHANGES_SQL, (uid,))
    return 0 if row is None else int(row[0])


def advice_link_of(*, scope: OrgScope, decision_id: UUID) -> FrictionInvalidLink | None:
    """The flag of a decision that names an advice which is not its own."""
    rows = FrictionInvalidLink.objects.filter(organisation_id=scope.organisation_id, decision_id=decision_id)
    return rows.first()


def bypass_document(row: FrictionBypass) -> dict[str, Any]:
    document: dict[str, Any] = {
        "id": str(row.id),
        "advice_id": str(row.advice_id),
        "steps": row.steps,
        "reason_code": row.reason_code,
        "reason_text": row.reason_text,
        "actor": row.actor,
        "at": format_time(row.at),
        "review_due_at": format_time(row.review_due_at) if row.review_due_at else None,
    }
    if row.on_behalf_of:
        document["on_behalf_of"] = row.on_behalf_of
    if row.same_text:
        document["warnings"] = ["the same reason as in the bypass before"]
    if row.review_verdict:
        document["review"] = {"verdict": row.review_verdict, "by": row.reviewed_by}
    return document


def bypasses(*, scope: OrgScope) -> QuerySet[FrictionBypass]:
    rows = FrictionBypass.objects.filter(advice__organisation_id=scope.organisation_id)
    if scope.agents is not None:
        rows = rows.filter(advice__agent__in=scope.agents)
    return rows.select_related("advice")


def bypass_of(*, scope: OrgScope, uid: UUID) -> FrictionBypass:
    found = bypasses(scope=scope).filter(pk=uid).first()
    if found is None:
        raise NotFound("not_found", "there is no such bypass")
    return found


def bypass_page(*, scope: OrgScope, due: bool, before: int | None, size: int) -> list[FrictionBypass]:
    rows = bypasses(scope=scope)
    if due:
        rows = rows.filter(review_due_at__isnull=False, review_verdict="")
    if before is not None:
        rows = rows.filter(pk__lt=UUID(int=before))
    return list(rows.order_by("-pk")[: size + 1])


def standing_bypasses(*, scope: OrgScope) -> QuerySet[StandingBypass]:
    return StandingBypass.objects.filter(organisation_id=scope.organisation_id)


def standing_of(*, scope: OrgScope, uid: UUID) -> StandingBypass:
    found = standing_bypasses(scope=scope).filter(pk=uid).first()
    if found is None:
        raise NotFound("not_found", "there is no such standing bypass")
    return found


def standing_for(
    *, scope: OrgScope, agent: str, action: str, fired: Iterable[str], at: datetime
) -> StandingBypass | None:
    """The standing bypass that covers this advice now, if one does."""
    rules = set(fired)
    running = standing_bypasses(scope=scope).filter(
        starts_at__lte=at, expires_at__gt=at, ended_at__isnull=True
    )
    for row in running.order_by("starts_at", "id"):
        fits = (not row.agents or agent in row.agents) and (not row.actions or action in row.actions)
        if fits and (not row.rules or not rules.isdisjoint(row.rules)):
            return row
    return None


def standing_document(row: StandingBypass, now: datetime) -> dict[str, Any]:
    ends = min(row.expires_at, row.ended_at or row.expires_at)
    return {
        "id": str(row.id),
        "scope": standing_scope(row),
        "reason_text": row.reason,
        "actor": row.actor,
        "starts_at": format_time(row.starts_at),
        "expires_at": format_time(ends),
        "running": row.starts_at <= now < ends,
    }


def standing_scope(row: StandingBypass) -> list[str]:
    """What it covers, as the log tells it; `set` stands for every rule, agent and action."""
    named = [
        f"{kind}:{name}"
        for kind, names in (("rule", row.rules), ("agent", row.agents), ("action", row.actions))
        for name in names
    ]
    return named or ["set"]
