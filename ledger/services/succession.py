"""Entries are lost for good: the log is closed, and a successor begins by saying so (LEDGER section 12).

Positions that were ever published are never given out again under one origin, so the successor has an origin
of its own. Receipts of the closed log stay provable against its last checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db import connection, transaction

from ecp_project.kernel.errors import BadRequest, Conflict, PermissionDenied
from ecp_project.kernel.ids import new_uuid7
from ledger import modes
from ledger.core.statement import build_gap, build_key
from ledger.models import AgentKey, Log, Membership, Mode, Role
from ledger.services.ledger import TransparencyLedger
from ledger.services.rebuild import head_create

if TYPE_CHECKING:
    from datetime import datetime

    from ledger.services.standing import Standing

MAX_SLUG = 64


@dataclass(frozen=True, slots=True)
class Succession:
    """The new log, and how many entries the old one has lost for good."""

    log: Log
    lost: int
    keys: int


def loss_accept(
    *, log: Log, standing: Standing, reason: str, by: str, approved_by: str, now: datetime
) -> Succession:
    """Close `log` and open `<slug>-e<n>`, whose first entry is the `ecp.gap/1` that names the loss.

    `by` and `approved_by` are user names of two different admins of the log's organisation.
    """
    if standing.lost is None or standing.newest is None:
        raise Conflict("id_reused", "nothing is lost, so there is no loss to accept")
    if Log.objects.filter(prior_log=log).exists():
        raise Conflict("id_reused", f"{log.slug} has a successor already")
    one, other = (_admin(log, name) for name in (by, approved_by))
    if one.user_id == other.user_id:
        raise PermissionDenied("role_missing", "two different admins must stand for a loss")
    first, end = standing.lost
    names = f"Approved by staff:{other.pseudonym}. Entries {first} to {end - 1} of {log.origin} are lost."
    with transaction.atomic():
        last_rcvd = _close(log)
        successor = _open(log, now)
        actor = f"staff:{one.pseudonym}"
        gap = build_gap(
            id_=new_uuid7(now),
            org=log.organisation.slug,
            ts=now,
            actor=actor,
            from_=min(last_rcvd, now),
            to=now,
            reason=f"{reason} {names}",
            estimate=end - first,
            # What was published last: the checkpoint against which old receipts stay provable.
            prior={"origin": log.origin, "size": end, "root": standing.newest.root.hex()},
        )
        ledger = TransparencyLedger(successor)
        ledger.append_statement(gap, now=now)
        keys = _carry_keys(ledger, log, actor, now)
    return Succession(successor, end - first, keys)


def _admin(log: Log, name: str) -> Membership:
    found = (
        Membership.objects.filter(
            organisation_id=log.organisation_id, role=Role.ADMIN, user__username=name, user__is_active=True
        )
        .select_related("user")
        .first()
    )
    if found is None:
        raise PermissionDenied("role_missing", f"{name} is no admin of {log.organisation.slug}")
    return found


def _close(log: Log) -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT last_rcvd FROM ledger_head WHERE log_id = %s FOR UPDATE", (log.id,))
        (last_rcvd,) = cursor.fetchone()
    Log.objects.filter(pk=log.pk).update(mode=Mode.HALT)
    found: datetime = last_rcvd
    return found


def successor_name(log: Log) -> str:
    """`<slug>-e<n>`; BadRequest when that is too long for a log."""
    stem = log.slug.removesuffix(f"-e{log.epoch}") if log.epoch else log.slug
    name = f"{stem}-e{log.epoch + 1}"
    if len(name) > MAX_SLUG:
        raise BadRequest("bad_value", f"{name} is too long for the name of a log")
    return name


def _open(log: Log, now: datetime) -> Log:
    name, host = successor_name(log), log.origin.rpartition("/")[0]
    successor = Log.objects.create(
        slug=name,
        origin=f"{host}/{name}",
        organisation=log.organisation,
        is_public=log.is_public,
        epoch=log.epoch + 1,
        prior_log=log,
    )
    head_create(log=successor, now=now)
    with connection.cursor() as cursor:
        # Made a moment ago in this very transaction: there is nothing outside to compare it with.
        modes.process.trust(successor.id, modes.read_identity(cursor).postmaster_start)
    return successor


def _carry_keys(ledger: TransparencyLedger, log: Log, actor: str, now: datetime) -> int:
    """Agents' keys that are valid, so that readers of the new log learn them without the old one."""
    rows = (
        AgentKey.objects.filter(agent__organisation_id=log.organisation_id, revoked_at__isnull=True)
        .select_related("agent")
        .order_by("kid")
    )
    for key in rows:
        stmt = build_key(
            id_=new_uuid7(now),
            org=log.organisation.slug,
            ts=now,
            actor=actor,
            event="rotated",
            holder=f"agent:{key.agent.slug}",
            public_key=bytes(key.public_key),
            valid_from=key.valid_from,
            valid_until=key.valid_until,
            reason=f"carried over from {log.origin}",
        )
        ledger.append_statement(stmt, now=now)
    return len(rows)
