"""Reading a recorded decision as it was submitted, as far as its private parts still exist."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ledger.core.entry import parse_entry
from ledger.models import Entry
from ledger.services.sealing import open_parts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ledger.models import Log


def decided_body(log: Log, stmt: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """Action and context of a decision, and whether nothing of it has been erased."""
    sealed = {part["ptr"] for part in stmt.get("sealed", ())}
    parts = open_parts(log_id=log.id, origin=log.origin, uid=UUID(stmt["id"])) if sealed else []
    context = {
        name: value
        for name, value in stmt.get("context_summary", {}).items()
        if name != "_other" and f"/context/{name}" not in sealed
    }
    for part in parts:
        if part.ptr == "/context/_other":
            context |= json.loads(part.value_jcs)
        elif part.ptr.startswith("/context/"):
            context[part.ptr.removeprefix("/context/")] = json.loads(part.value_jcs)
    return {"action": stmt["action"], "context": context}, len(parts) == len(sealed)


def decision_body(log: Log, uid: UUID) -> tuple[dict[str, Any], bool]:
    entry = Entry.objects.get(log_id=log.id, uid=uid)
    return decided_body(log, parse_entry(bytes(entry.entry)).stmt)
