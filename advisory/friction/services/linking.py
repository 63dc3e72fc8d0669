"""Which advice a decision names (FRICTION 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

DECISION = "ecp.decision/1"


def advice_named(stmt: Mapping[str, Any]) -> str | None:
    """By its `advisory` member, or, where nothing was suggested, by a reference."""
    named: str | None = stmt.get("advisory", {}).get("advice_id")
    if named is None:
        named = next((ref["id"] for ref in stmt.get("refs", ()) if ref["rel"] == "advice"), None)
    return named
