"""Acts of people on record: each staff act that changes something is one `ecp.staff/1` entry (SECURITY)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecp_project.kernel.ids import new_uuid7
from ledger.core.statement import build_staff
from ledger.models import Guard
from ledger.selectors.entries import OrgScope, default_log
from ledger.services.ledger import Receipt, TransparencyLedger

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ledger.models import Organisation


def act_record(
    *,
    organisation: Organisation,
    actor: str | None,
    action: str,
    object_: str,
    now: datetime,
    detail: Mapping[str, str | int] | None = None,
) -> Receipt | None:
    """`staff_act`, unless nobody is named or the log is still being set up.

    A log without a guard row takes no entries: the checkpointer has never looked at it.
    """
    if actor is None or not Guard.objects.filter(log__organisation=organisation).exists():
        return None
    return staff_act(
        organisation=organisation, actor=actor, action=action, object_=object_, now=now, detail=detail
    )


def staff_act(
    *,
    organisation: Organisation,
    actor: str,
    action: str,
    object_: str,
    now: datetime,
    reason: str | None = None,
    detail: Mapping[str, str | int] | None = None,
) -> Receipt:
    """Append the entry inside the caller's transaction, after the rows that the act changes.

    `actor` is `staff:<pseudonym>` or `system:<component>`, `object_` names what was acted on without naming a
    person. When the log takes nothing, `Unavailable` takes the act back too.
    """
    ledger = TransparencyLedger(default_log(scope=OrgScope(organisation.id)))
    stmt = build_staff(
        id_=new_uuid7(now),
        org=organisation.slug,
        ts=now,
        actor=actor,
        action=action,
        object_=object_,
        reason=reason,
        detail=detail,
    )
    return ledger.append_statement(stmt, now=now)
