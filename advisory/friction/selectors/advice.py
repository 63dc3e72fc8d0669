"""Reading advice and bypasses: within the caller's organisation, and for agents only their own."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db.models import Count, Exists, OuterRef, Q
from django.utils.translation import gettext as _

from advisory.friction.core.waiting import ANYBODY, PEOPLE_STEPS, role_of
from advisory.friction.models import (
    AdviceMode,
    AdvisoryMode,
    FrictionAdvice,
    FrictionBypass,
    FrictionInvalidLink,
    Level,
    Outcome,
    ReasonCode,
    StandingBypass,
)
from advisory.friction.selectors.people import office_of
from advisory.friction.selectors.traces import trace_of
from ecp_project.kernel.clock import format_time
from ecp_project.kernel.errors import NotFound, PermissionDenied
from ledger.selectors.hot import hot_row

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from django.db.models import QuerySet

    from ledger.selectors.entries import OrgScope

MOST_FOUND = 10_000
RULE = re.compile(r"[A-Z]{2,5}-[0-9]{3,4}")
OBSERVED = "observer mode: nothing is suggested"


@dataclass(frozen=True, slots=True)
class AdviceFilter:
    agent: str | None = None
    level: str | None = None
    bypassed: bool | None = None
    since: datetime | None = None
    rule: str | None = None
    undeclared: bool = False


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
    rows = _filtered(scope, filters)
    if before is not None:
        rows = rows.filter(pk__lt=UUID(int=before))
    return list(rows.order_by("-pk")[: size + 1])


def _filtered(scope: OrgScope, filters: AdviceFilter) -> QuerySet[FrictionAdvice]:
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
    if filters.rule is not None:
        rows = rows.filter(result__fired__contains=[{"rule": filters.rule}])
    if filters.undeclared:
        found = FrictionBypass.objects.filter(advice=OuterRef("pk"), reason_code=ReasonCode.UNDECLARED)
        rows = rows.filter(Exists(found))
    if filters.since is not None:
        rows = rows.filter(evaluated_at__gte=filters.since)
    return rows


@dataclass(frozen=True, slots=True)
class Counts:
    """Among the newest matches of a list; `is_full` when there may be older ones that were not counted."""

    total: int
    is_full: bool
    levels: Sequence[tuple[str, int]]
    bypassed: int
    undeclared: int
    agents: Sequence[tuple[str, int]]


def advice_counts(*, scope: OrgScope, filters: AdviceFilter) -> Counts:
    """What a list can be narrowed to, counted over its newest 10,000 rows in two queries."""
    newest = _filtered(scope, filters).order_by("-pk").values("pk")[:MOST_FOUND]
    rows = FrictionAdvice.objects.filter(pk__in=newest)
    bypasses_ = FrictionBypass.objects.filter(advice=OuterRef("pk"))
    found = rows.aggregate(
        total=Count("pk"),
        bypassed=Count("pk", filter=Exists(bypasses_)),
        undeclared=Count("pk", filter=Exists(bypasses_.filter(reason_code=ReasonCode.UNDECLARED))),
        **{level: Count("pk", filter=Q(level=level)) for level in Level.values},
    )
    agents = rows.values_list("agent").annotate(number=Count("pk")).order_by("-number", "agent")
    return Counts(
        total=found["total"],
        is_full=found["total"] == MOST_FOUND,
        levels=[(level, found[level]) for level in Level.values],
        bypassed=found["bypassed"],
        undeclared=found["undeclared"],
        agents=list(agents[:10]),
    )


def refuse_bystander(*, scope: OrgScope, row: FrictionAdvice, actor: str) -> None:
    """403 for whoever answers no step of this advice, whatever he would say."""
    office = office_of(scope=scope, actor=actor)
    steps = [step for step in row.result["steps"] if step["type"] in PEOPLE_STEPS]
    roles = {role_of(step) for step in steps} or {ANYBODY}
    if office is None or not any(office.has_role(role) for role in roles):
        raise PermissionDenied("role_missing", _("The steps of this advice are for other roles."))


def decisions_of_rules(*, scope: OrgScope, rules: Iterable[str]) -> list[UUID]:
    """Decisions whose advice these rules shaped, the newest of them; what is no rule's name finds nothing."""
    fired = Q()
    for rule in rules:
        if RULE.fullmatch(rule):
            fired |= Q(result__fired__contains=[{"rule": rule}])
    if not fired:
        return []
    rows = advice(scope=scope).filter(fired, decision_id__isnull=False).order_by("-pk")
    return [uid for uid in rows.values_list("decision_id", flat=True)[:MOST_FOUND] if uid is not None]


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
    document |= row.result | {"level": row.level, "score": row.score}
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
    document["comments"] = [
        {"n": comment.n, "actor": comment.actor, "at": format_time(comment.at), "text": comment.text}
        for comment in row.comments.order_by("at", "id")
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
        + len(document["comments"])
        + sum(1 + ("review" in bypass) for bypass in document["bypasses"])
        + (row.decision_id is not None)
    )
    invalid = FrictionInvalidLink.objects.filter(organisation_id=row.organisation_id, advice_id=row.pk)
    document["invalid_links"] = [
        {"decision_id": str(link.decision_id), "fault": link.fault}
        for link in invalid.order_by("found_at")[:50]
    ]
    if staff:
        document["trace"] = trace_of(row)
        document["facts"] = row.facts
    return document


_CHANGES_SQL = """
SELECT (SELECT count(*) FROM friction_frictionstepoutcome WHERE advice_id = a.id)
    + (SELECT count(*) FROM friction_frictioncomment WHERE advice_id = a.id)
    + (SELECT count(*) + count(*) FILTER (WHERE review_verdict <> '')
       FROM friction_frictionbypass WHERE advice_id = a.id)
    + (a.decision_id IS NOT NULL)::int
FROM friction_frictionadvice a WHERE a.id = $1
"""


def change_count(*, uid: UUID) -> int:
    """How much has become of an advice: outcomes, comments, bypasses, reviews and the link. It only grows."""
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


def bypass_inbox(
    *, scope: OrgScope, review: str | None, reason: str | None, before: UUID | str | None, now: datetime,
    size: int,
) -> list[FrictionBypass]:  # fmt: skip
    """Bypasses for people, at most `size` + 1, newest first; `review` is due, overdue, done or nothing."""
    rows = bypasses(scope=scope)
    if review in {"due", "overdue"}:
        rows = rows.filter(review_due_at__isnull=False, review_verdict="")
    if review == "overdue":
        rows = rows.filter(review_due_at__lte=now)
    if review == "done":
        rows = rows.exclude(review_verdict="")
    if reason is not None:
        rows = rows.filter(reason_code=reason)
    if before is not None:
        rows = rows.filter(pk__lt=before)
    return list(rows.order_by("-pk")[: size + 1])


def standing_bypasses(*, scope: OrgScope) -> QuerySet[StandingBypass]:
    return StandingBypass.objects.filter(organisation_id=scope.organisation_id)


def standing_of(*, scope: OrgScope, uid: UUID | str) -> StandingBypass:
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
