"""The columns beside an entry: projections of its statement, checked again by checkpointer and verifier."""

from __future__ import annotations

from typing import Any, NamedTuple

DECISION = "ecp.decision/1"


class Columns(NamedTuple):
    kind: str
    agent: str | None = None
    action: str | None = None
    zone: str | None = None
    risk: str | None = None
    level: str | None = None
    bypassed: bool | None = None


def columns_of(stmt: dict[str, Any]) -> Columns:
    """Only decisions fill the columns; other kinds are found by kind and by what they refer to."""
    if stmt["v"] != DECISION:
        return Columns(stmt["v"])
    advisory = stmt.get("advisory") or {}
    return Columns(
        DECISION,
        stmt["agent"],
        stmt["action"],
        stmt.get("zone"),
        stmt.get("risk"),
        advisory.get("level"),
        advisory.get("bypassed"),
    )
