"""What an entry says about another one, as a sentence for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils.translation import gettext as _

from ledger.core.columns import DECISION
from ledger.selectors.actwords import act_in_words

if TYPE_CHECKING:
    from collections.abc import Mapping

PSEUDONYM_SHOWN = 8


def actor_in_words(stmt: Mapping[str, Any]) -> str:
    """Who speaks: an agent by its name, a person by the start of the pseudonym, a part of the system."""
    actor = str(stmt.get("actor") or (f"agent:{stmt['agent']}" if "agent" in stmt else ""))
    kind, _colon, name = actor.partition(":")
    if kind == "agent":
        return _("Agent %(name)s") % {"name": name}
    if kind == "staff":
        return _("Staff member %(name)s") % {"name": name[:PSEUDONYM_SHOWN]}
    if kind == "system":
        return _("The system (%(name)s)") % {"name": name}
    return _("Somebody")


def _annotation(stmt: Mapping[str, Any]) -> str:
    if stmt.get("kind") == "correction":
        return _("%(who)s corrected the record")
    if stmt.get("kind") == "outcome":
        return _("%(who)s reported the outcome: %(status)s")
    return _("%(who)s left a note")


def _key(stmt: Mapping[str, Any]) -> str:
    return {
        "added": _("%(who)s announced the key that signed this record"),
        "rotated": _("%(who)s replaced the key that signed this record"),
        "revoked": _("%(who)s revoked the key that signed this record"),
    }.get(str(stmt.get("event")), _("%(who)s changed the key that signed this record"))


def sentence(*, stmt: Mapping[str, Any], about: str) -> str:  # noqa: PLR0911 - one return for each kind
    """One line of the timeline of record `about`; `stmt` may be the record itself or a broken entry's {}."""
    v = stmt.get("v")
    values = {
        "who": actor_in_words(stmt),
        "action": stmt.get("action", ""),
        "status": stmt.get("status") or _("not stated"),
        "kind": v or _("something that can no longer be read"),
    }
    if v == DECISION and stmt.get("id") == about:
        return _("%(who)s decided: %(action)s") % values
    if v and v != "ecp.staff/1" and stmt.get("id") == about:
        return _("%(who)s recorded this entry") % values
    if v == DECISION:
        rel = next((ref["rel"] for ref in stmt.get("refs", []) if ref.get("id") == about), "related")
        return _("%(who)s decided %(action)s and named this record (%(rel)s)") % (values | {"rel": rel})
    if v == "ecp.annotation/1":
        return _annotation(stmt) % values
    if v == "ecp.key/1":
        return _key(stmt) % values
    if v == "ecp.erasure/1":
        parts = [part for part in stmt.get("parts", []) if part.get("id") == about]
        return _("%(who)s erased private values of this record: %(number)d") % (
            values | {"number": len(parts)}
        )
    if v == "ecp.staff/1":
        return _("%(who)s %(act)s") % (values | {"act": act_in_words(str(stmt.get("action", "")))})
    return _("%(who)s recorded %(kind)s about this record") % values
