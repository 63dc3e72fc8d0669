"""What staff did, as the log tells it: who, what, with which object, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ledger.core.entry import EntrySyntax, parse_entry
from ledger.models import Entry, Membership

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STAFF = "ecp.staff/1"


@dataclass(frozen=True, slots=True)
class StaffAct:
    """`who` is the user name of a member, else what the log itself holds; "" where the bytes are no entry."""

    entry: Entry
    who: str
    what: str
    object: str
    reason: str


def staff_acts(*, organisation_id: int, entries: Sequence[Entry]) -> list[StaffAct]:
    read = [(entry, statement_of(entry)) for entry in entries]
    names = names_of(organisation_id=organisation_id, actors=[str(stmt.get("actor", "")) for _, stmt in read])
    return [
        StaffAct(
            entry,
            names.get(str(stmt.get("actor", "")), str(stmt.get("actor", ""))),
            str(stmt.get("action", "")),
            str(stmt.get("object", "")),
            str(stmt.get("reason", "")),
        )
        for entry, stmt in read
    ]


def names_of(*, organisation_id: int, actors: Sequence[str]) -> dict[str, str]:
    """User names for the pseudonyms of members; the log itself holds pseudonyms only."""
    pseudonyms = [actor.removeprefix("staff:") for actor in actors if actor.startswith("staff:")]
    if not pseudonyms:
        return {}
    rows = Membership.objects.filter(organisation_id=organisation_id, pseudonym__in=pseudonyms)
    return {f"staff:{pseudonym}": name for pseudonym, name in rows.values_list("pseudonym", "user__username")}


def statement_of(entry: Entry) -> Mapping[str, Any]:
    """Nothing when the stored bytes are no entry any more."""
    try:
        return parse_entry(bytes(entry.entry)).stmt
    except EntrySyntax:
        return {}
