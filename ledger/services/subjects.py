"""Looking up a data subject by the handle, and opening what is sealed under the person's key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ecp_project.kernel.errors import BadRequest
from ledger.core.fields import Text
from ledger.selectors.entries import OrgScope
from ledger.selectors.subjects import holding_of
from ledger.services.sealing import handle_mac, open_parts

if TYPE_CHECKING:
    from datetime import datetime

    from ledger.models import Organisation
    from ledger.selectors.subjects import Held, Holding
    from ledger.services.sealing import OpenedPart

HANDLE = Text(1, 128)


def handle_checked(text: str) -> str:
    """A handle as decisions may name one; BadRequest points to the field."""
    handle = text.strip()
    try:
        HANDLE.check(handle)
    except BadRequest as problem:
        problem.pointer = "/handle"
        raise
    return handle


def subject_holding(*, organisation: Organisation, handle: str, now: datetime) -> Holding:
    """What is held about the person; the handle itself is stored nowhere."""
    mac = handle_mac(organisation.slug, handle_checked(handle), now)
    return holding_of(scope=OrgScope(organisation.pk), handle_mac=mac)


def subject_parts(*, held: Held) -> list[OpenedPart]:
    """The person's private values of one record, without those of others that the record holds too."""
    entry = held.entry
    opened = open_parts(log_id=entry.log_id, origin=entry.log.origin, uid=entry.uid)
    return [part for part in opened if part.ptr in held.ptrs]
