"""Rule sets from file to force: one person proposes, another one decides, the log tells both (FRICTION 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import IntegrityError, transaction

from advisory.friction.core.calculator import FrictionCalculator
from advisory.friction.core.lint import LintWarning, warnings
from advisory.friction.core.rules import RuleSetInvalid
from advisory.friction.core.statements import RULESET
from advisory.friction.models import (
    AdvisoryMode,
    FrictionMode,
    FrictionRuleSet,
    FrictionRuleSetVersion,
    VersionState,
)
from advisory.friction.selectors import rulesets
from ecp_project.kernel import canonical
from ecp_project.kernel.clock import format_time
from ecp_project.kernel.errors import BadRequest, Conflict, PermissionDenied
from ecp_project.kernel.ids import new_uuid7
from ledger.core.fields import short_reason
from ledger.core.statement import build_mode
from ledger.services.ledger import TransparencyLedger
from ledger.services.staff import staff_act

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from advisory.friction.core.rules import RuleSet
    from ledger.models import Log


# From a state to those that follow it; `retired` is final.
FOLLOWING = {
    VersionState.DRAFT: {VersionState.SHADOW, VersionState.ACTIVE, VersionState.RETIRED},
    VersionState.SHADOW: {VersionState.ACTIVE, VersionState.RETIRED},
    VersionState.ACTIVE: {VersionState.SHADOW, VersionState.RETIRED},
    VersionState.RETIRED: frozenset[VersionState](),
}


def ruleset_validate(*, source: bytes, now: datetime) -> tuple[RuleSet, list[LintWarning]]:
    """The loaded file and its warnings; 400 `ruleset_invalid` with each problem's place."""
    try:
        ruleset = FrictionCalculator.load(source).ruleset
    except RuleSetInvalid as invalid:
        errors = [problem.document() for problem in invalid.problems]
        raise BadRequest("ruleset_invalid", str(invalid), errors=errors) from None
    return ruleset, warnings(ruleset, now)


def ruleset_import(
    *, log: Log, source: bytes, actor: str, now: datetime
) -> tuple[FrictionRuleSetVersion, list[LintWarning]]:
    """Store a file as a draft, whatever state it asks for."""
    loaded, found = ruleset_validate(source=source, now=now)
    organisation = log.organisation
    with transaction.atomic():
        FrictionRuleSet.objects.bulk_create(
            [FrictionRuleSet(organisation=organisation, slug=loaded.id)], ignore_conflicts=True
        )
        # Imports of one id follow one another: the number is compared under the lock.
        ruleset = FrictionRuleSet.objects.select_for_update().get(organisation=organisation, slug=loaded.id)
        newest = rulesets.newest_number(ruleset=ruleset)
        if loaded.version <= newest:
            detail = f"{loaded.id} has version {newest} already; give the file a greater one"
            raise Conflict("version_exists", detail, pointer="/version")
        version = FrictionRuleSetVersion.objects.create(
            organisation=organisation,
            ruleset=ruleset,
            version=loaded.version,
            source_yaml=source.decode(),
            canonical_json=canonical.encode_any(dict(loaded.document)).decode(),
            sha256=loaded.hash,
            proposed_by=actor,
            proposed_at=now,
            changed_at=now,
        )
        staff_act(
            organisation=organisation,
            actor=actor,
            action="friction.ruleset_propose",
            object_=f"{loaded.id} v{loaded.version}",
            now=now,
            detail={"hash": loaded.hash, "asks_for": loaded.mode},
        )
    return version, found


def refuse_short_reason(reason: str) -> None:
    if detail := short_reason(reason):
        raise BadRequest("bad_value", detail, pointer="/reason", reason="length")


def ruleset_state_change(
    *, log: Log, version: FrictionRuleSetVersion, to: VersionState, reason: str, actor: str, now: datetime
) -> FrictionRuleSetVersion:
    """Put a version into another state; the one that it takes the place of retires with it."""
    refuse_short_reason(reason)
    if actor == version.proposed_by:
        raise PermissionDenied("four_eyes", "whoever proposed a version does not decide about it")
    try:
        with transaction.atomic():
            _state_change(log=log, pk=version.pk, to=to, reason=reason, actor=actor, now=now)
    except IntegrityError:  # another change of this organisation was faster
        raise Conflict("state_invalid", "the rule sets have just changed; look again") from None
    return FrictionRuleSetVersion.objects.select_related("ruleset").get(pk=version.pk)


def _state_change(*, log: Log, pk: int, to: VersionState, reason: str, actor: str, now: datetime) -> None:
    rows = FrictionRuleSetVersion.objects.select_for_update(of=("self",)).select_related("ruleset")
    version = rows.get(pk=pk)
    before = VersionState(version.state)
    if to not in FOLLOWING[before]:
        allowed = ", ".join(sorted(FOLLOWING[before])) or "nothing"
        raise Conflict("state_invalid", f"from {before.value} a version goes to {allowed}")
    changes = []
    if to in (VersionState.ACTIVE, VersionState.SHADOW):
        former = rows.filter(organisation_id=version.organisation_id, state=to).first()
        if former is not None:
            changes.append((former, VersionState(former.state), VersionState.RETIRED))
            former.state, former.changed_at = VersionState.RETIRED, now
            former.save(update_fields=["state", "changed_at"])
            if to == VersionState.ACTIVE:
                version.replaces = former
    if to == VersionState.ACTIVE:
        starts = rulesets.calculator_of(version).ruleset.effective_from
        version.effective_at = max(now, starts)
    version.state, version.activated_by, version.changed_at = to, actor, now
    version.entry = new_uuid7(now)
    version.save()
    changes.append((version, before, to))
    ledger = TransparencyLedger(log)
    for row, from_state, to_state in changes:
        uid = str(version.entry) if row is version else new_uuid7(now)
        stmt = _ruleset_statement(
            log, row, from_state, to_state, uid=uid, reason=reason, actor=actor, now=now
        )
        ledger.append_statement(stmt, now=now)


def _ruleset_statement(
    log: Log,
    version: FrictionRuleSetVersion,
    from_state: VersionState,
    to_state: VersionState,
    *,
    uid: str,
    reason: str,
    actor: str,
    now: datetime,
) -> dict[str, object]:
    return {
        "v": RULESET,
        "id": uid,
        "org": log.organisation.slug,
        "ts": format_time(now),
        "actor": version.proposed_by,
        "approver": actor,
        "ruleset": ruleset_named(version),
        "from_state": from_state.value,
        "to_state": to_state.value,
        "reason": reason,
    }


def ruleset_named(version: FrictionRuleSetVersion) -> dict[str, object]:
    return {"id": version.ruleset.slug, "version": version.version, "hash": version.sha256}


def shadows_retire(*, log: Log, older_than: timedelta, now: datetime) -> int:
    """End trials that have run long enough; returns how many."""
    with transaction.atomic():
        rows = FrictionRuleSetVersion.objects.select_for_update(of=("self",)).filter(
            organisation_id=log.organisation_id, state=VersionState.SHADOW, changed_at__lte=now - older_than
        )
        found = list(rows.select_related("ruleset"))
        for row in found:
            row.state, row.changed_at = VersionState.RETIRED, now
            row.save(update_fields=["state", "changed_at"])
            stmt = _ruleset_statement(
                log, row, VersionState.SHADOW, VersionState.RETIRED, uid=new_uuid7(now),
                reason=f"a trial ends by itself after {older_than.days} days", actor="system:friction",
                now=now,
            )  # fmt: skip
            TransparencyLedger(log).append_statement(stmt, now=now)
    return len(found)


def advisory_mode_switch(*, log: Log, to: AdvisoryMode, reason: str, actor: str, now: datetime) -> None:
    """Switch an organisation between observing and advising."""
    refuse_short_reason(reason)
    with transaction.atomic():
        from_ = rulesets.mode_of_organisation(log.organisation_id)
        if from_ == to:
            raise Conflict("state_invalid", f"the mode is {to.value} already")
        FrictionMode.objects.update_or_create(
            organisation_id=log.organisation_id, defaults={"mode": to, "since": now, "actor": actor}
        )
        stmt = build_mode(
            id_=new_uuid7(now), org=log.organisation.slug, ts=now, actor=actor, from_=from_, to=to.value,
            since=now, reason=reason, dimension="advisory",
        )  # fmt: skip
        TransparencyLedger(log).append_statement(stmt, now=now)
