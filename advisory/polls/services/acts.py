"""What a person does to polls beyond the entries that each poll leaves: one `ecp.staff/1` for each act."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ledger.services.staff import staff_act

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ledger.models import Organisation

PERSON = "staff:"


def act_of_person(
    *,
    organisation: Organisation,
    actor: str,
    action: str,
    object_: str,
    now: datetime,
    detail: Mapping[str, str | int] | None = None,
) -> None:
    """Append inside the caller's transaction; what agents, beat and sample data do is no staff act."""
    if actor.startswith(PERSON):
        staff_act(
            organisation=organisation, actor=actor, action=action, object_=object_, now=now, detail=detail
        )
