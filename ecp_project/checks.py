"""System checks of the project; each id is documented in docs/DEPLOYMENT.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.checks import CheckMessage, Tags, Warning, register  # noqa: A004 - Django's own name
from django.db import OperationalError, connections

if TYPE_CHECKING:
    from collections.abc import Sequence

_SINGLETONS = 10  # beat, checkpointer, stream, batchers' own connections, a person's psql


@register(Tags.database)
def connections_fit(*, databases: Sequence[str] | None = None, **_kwargs: Any) -> list[CheckMessage]:
    """Workers x threads + singletons + 10 against `max_connections` (OPERATIONS section 5.2)."""
    if "default" not in (databases or ()):
        return []
    wanted = settings.ECP_WEB_PROCESSES * (settings.ECP_WEB_THREADS + 1) + _SINGLETONS
    try:
        with connections["default"].cursor() as cursor:
            cursor.execute("SHOW max_connections")
            (limit,) = cursor.fetchone() or ("0",)
    except OperationalError:
        return []  # the readiness probe reports that
    if wanted <= int(limit):
        return []
    return [
        Warning(
            f"web processes may open {wanted} connections, the server allows {limit}",
            hint="Lower ECP_WEB_PROCESSES or ECP_WEB_THREADS, or put PgBouncer in front.",
            id="ecp.W001",
        )
    ]
