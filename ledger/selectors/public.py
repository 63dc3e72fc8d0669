"""What strangers may see of a public log: no search, no person, nothing sealed (CONSOLE section 13)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from uuid import UUID

from ecp_project.kernel.errors import BadRequest, NotFound
from ledger.models import POSITIONS_PER_LOG, Checkpoint, Entry, Log

if TYPE_CHECKING:
    from datetime import datetime

MAX_DIGITS = 12
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def public_logs() -> list[Log]:
    return list(Log.objects.filter(is_public=True).select_related("organisation").order_by("id"))


def signed_at(*, log_id: int, size: int) -> datetime:
    return Checkpoint.objects.values_list("created", flat=True).get(log_id=log_id, size=size)


def public_entry(*, log: Log, text: str) -> Entry:
    """One record by id or position; the caller has seen to it that the log is public."""
    text = text.strip().lower()
    rows = Entry.objects.filter(log_id=log.id).select_related("log__organisation")
    if _UUID.fullmatch(text):
        rows = rows.filter(uid=UUID(text))
    elif text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS:
        rows = rows.filter(id=log.id * POSITIONS_PER_LOG + int(text))
    else:
        raise BadRequest("bad_value", "a record is found by its id or its position")
    entry: Entry | None = rows.first()
    if entry is None:
        raise NotFound("not_found", "this log has no such record")
    return entry
