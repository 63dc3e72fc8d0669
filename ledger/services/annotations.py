"""Notes, corrections and outcomes beside a record: always a new entry (LEDGER section 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import transaction

from ecp_project.kernel.clock import format_time
from ecp_project.kernel.errors import BadRequest, Conflict, PermissionDenied
from ecp_project.kernel.ids import new_uuid7
from ledger.core import statement as statements
from ledger.models import Entry
from ledger.selectors.entries import agent_status
from ledger.services.ledger import Receipt, TransparencyLedger, refuse_agent, refuse_unsigned

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ecp_project.api.authentication import Principal

KIND = "ecp.annotation/1"
MEMBERS = frozenset({"id", "kind", "status", "text"})
MAY_WRITE_ALL_KINDS = frozenset({"operator"})  # auditors and manufacturers leave notes (SECURITY section 2)


def annotation_add(
    *, entry: Entry, document: Mapping[str, Any], principal: Principal, actor: str, now: datetime
) -> Receipt:
    """Annotate what the caller may see; with an `id` a retry is safe.

    Statements carry their time, and a retry comes later: the time of the first one counts.
    """
    refuse_unsigned(principal)
    log = entry.log
    if principal.agent_slug is not None:
        status = agent_status(organisation_id=log.organisation_id, slug=principal.agent_slug)
        refuse_agent(principal, {principal.agent_slug: status}, principal.agent_slug, at="")
    for name in document:
        if name not in MEMBERS:
            raise BadRequest("unknown_field", f"{name} is not a member of an annotation", pointer=f"/{name}")
    stmt = {
        "id": new_uuid7(now),
        **document,
        "v": KIND,
        "org": log.organisation.slug,
        "ts": format_time(now),
        "actor": actor,
        "target": str(entry.uid),
    }
    statements.validate(stmt)
    is_limited = principal.kind == "staff" and principal.roles.isdisjoint(MAY_WRITE_ALL_KINDS)
    if is_limited and stmt["kind"] != "note":
        raise PermissionDenied("role_missing", f"a {stmt['kind']} is an operator's to write", pointer="/kind")
    ledger = TransparencyLedger(log)
    try:
        return _append(ledger, stmt, now)
    except Conflict:
        # An equal request was faster, or it is a repeat after all; else the second try says the same.
        return _append(ledger, stmt, now)


def _append(ledger: TransparencyLedger, stmt: dict[str, Any], now: datetime) -> Receipt:
    first = Entry.objects.filter(log_id=ledger.log.id, uid=stmt["id"], kind=KIND)
    ts = first.values_list("ts", flat=True).first()
    with transaction.atomic():
        return ledger.append_statement(stmt if ts is None else stmt | {"ts": format_time(ts)}, now=now)
