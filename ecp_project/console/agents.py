"""What the agents' pages tell beside the registration: how much an agent decides, when last, which keys."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import connection
from django.utils.translation import gettext_lazy as _

from ledger.models import AgentKey, ApiKey

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from django_stubs_ext import StrOrPromise

    from ledger.models import Agent

SOON = timedelta(days=14)
# For each agent and log one probe of the index by agent, and one stretch of the rollups.
FIGURES_SQL = """
SELECT a.id, max(seen.rcvd), coalesce(sum(counted.day), 0)::bigint, coalesce(sum(counted.month), 0)::bigint
FROM ledger_agent a
JOIN ledger_log l ON l.organisation_id = a.organisation_id
LEFT JOIN LATERAL (
    SELECT e.rcvd FROM ledger_entry e WHERE e.log_id = l.id AND e.agent = a.slug ORDER BY e.seq DESC LIMIT 1
) seen ON true
LEFT JOIN LATERAL (
    SELECT sum(r.count) FILTER (WHERE r.hour > %(now)s - interval '24 hours') AS day, sum(r.count) AS month
    FROM console_rollup r
    WHERE r.log_id = l.id AND r.agent = a.slug AND r.hour > %(now)s - interval '30 days'
) counted ON true
WHERE a.id = ANY(%(ids)s)
GROUP BY a.id
"""


@dataclass(frozen=True, slots=True)
class Figures:
    """Counts are in whole hours: the running hour and the 23 (or 719) before it."""

    last_seen: datetime | None = None
    day: int = 0
    month: int = 0
    keys: StrOrPromise = ""


def figures_of(agents: Sequence[Agent], now: datetime) -> dict[int, Figures]:
    """One row for each agent; three queries for all of them."""
    ids = [agent.pk for agent in agents]
    states = _key_states(ids, now)
    with connection.cursor() as cursor:
        cursor.execute(FIGURES_SQL, {"ids": ids, "now": now})
        found = {id_: Figures(seen, day, month, states[id_]) for id_, seen, day, month in cursor.fetchall()}
    return {id_: found.get(id_, Figures(keys=states[id_])) for id_ in ids}


def _key_states(ids: Sequence[int], now: datetime) -> dict[int, StrOrPromise]:
    """The best of an agent's keys: with which it can record now, and for how long."""
    states: dict[int, StrOrPromise] = dict.fromkeys(ids, _("no key"))
    api = ApiKey.objects.filter(agent_id__in=ids, revoked_at__isnull=True).order_by("expires_at")
    for agent_id, ends in api.values_list("agent_id", "expires_at"):
        if ends > now + SOON:
            states[agent_id] = _("API key valid")
        elif ends > now:
            states[agent_id] = _("API key ends soon")
        else:
            states[agent_id] = _("API key expired")
    signing = AgentKey.objects.filter(agent_id__in=ids, revoked_at__isnull=True, valid_from__lte=now)
    signs = {
        agent_id
        for agent_id, until in signing.values_list("agent_id", "valid_until")
        if until is None or until > now
    }
    return states | {id_: _("signing key, %(api)s") % {"api": states[id_]} for id_ in signs}
