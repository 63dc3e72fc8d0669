"""Since when an organisation's choice of context policies is what it is, as the log tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.core.entry import EntrySyntax, parse_entry
from ledger.models import Entry, Log

if TYPE_CHECKING:
    from ledger.models import Organisation

CHANGES_READ = 50


def policy_change(*, organisation: Organisation) -> Entry | None:
    """The newest entry that says a person changed the choice; None when nobody has since the beginning."""
    logs = list(Log.objects.filter(organisation=organisation).values_list("id", flat=True))
    body = {"action": "organisation.change", "object": f"organisation:{organisation.slug}"}
    rows = Entry.objects.filter(log_id__in=logs, kind="ecp.staff/1", search__body__contains=body)
    newest: list[Entry] = list(rows.order_by("-id")[:CHANGES_READ])
    for row in newest:
        try:
            detail = parse_entry(bytes(row.entry)).stmt.get("detail", {})
        except EntrySyntax:
            continue
        if "context_policy" in str(detail.get("fields", "")).split():
            return row
    return None
