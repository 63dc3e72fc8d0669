"""System checks of the ledger; each id is documented in docs/DEPLOYMENT.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.checks import CheckMessage, Tags, Warning, register  # noqa: A004 - Django's own name
from django.db import OperationalError, ProgrammingError, connections

if TYPE_CHECKING:
    from collections.abc import Sequence

EVENT_TRIGGERS = ("ledger_ddl_guard", "ledger_drop_guard")


@register(Tags.database)
def event_triggers_stand(*, databases: Sequence[str] | None = None, **_kwargs: Any) -> list[CheckMessage]:
    """Event triggers guard the ledger's tables against DDL; it takes a superuser to create them."""
    if "default" not in (databases or ()):
        return []
    try:
        with connections["default"].cursor() as cursor:
            cursor.execute("SELECT evtname FROM pg_event_trigger WHERE evtenabled = 'A'")
            standing = {name for (name,) in cursor.fetchall()}
    except (OperationalError, ProgrammingError):
        return []  # no database, which the readiness probe reports
    missing = [name for name in EVENT_TRIGGERS if name not in standing]
    if not missing:
        return []
    return [
        Warning(
            f"the ledger's tables stand without event triggers: {', '.join(missing)}",
            hint="Triggers on the rows still refuse changes, but DDL could take those away. Let a superuser "
            "run migration ledger 0010, or enable the event triggers with ENABLE ALWAYS.",
            id="ecp.W012",
        )
    ]
