"""`history:` facts: what the ledger and the advice on record tell of an agent (FRICTION 3).

Each fact is one indexed query with a short time limit. A fact that takes too long is missing and says so; the
advice is given all the same. Facts about decisions look no further than the search projection has come, so
that a position on the log says exactly what was known.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import OperationalError, connection, transaction

from advisory.friction.core.sources import History
from ledger.models import POSITIONS_PER_LOG, Cursor

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from ledger.models import Log

TIMEOUT_MS = 200
MOST = 10_000  # rows that one fact looks at; a busier agent is told as this many
LEAST_ADVICE = 5

_OWN = """
    SELECT rcvd, action FROM ledger_entry
    WHERE log_id = %(log)s AND agent = %(agent)s AND seq < %(size)s ORDER BY seq DESC LIMIT %(most)s
"""
_ABOUT_OWN = """
    SELECT count(*) FROM (
        SELECT d.uid FROM ledger_entry e
        JOIN ledger_entrysearch s ON s.entry_id = e.id
        JOIN ledger_entry d ON d.log_id = e.log_id AND d.uid = (s.body ->> 'target')::uuid
        WHERE e.log_id = %(log)s AND e.kind = 'ecp.annotation/1' AND e.seq < %(size)s
          AND e.rcvd >= %(since)s AND s.body @> %(says)s AND d.agent = %(agent)s
        GROUP BY d.uid LIMIT %(most)s
    ) AS told
"""
_REVERSED = """
    SELECT count(*) FROM (
        SELECT d.uid FROM ledger_entry e
        JOIN ledger_entrysearch s ON s.entry_id = e.id
        CROSS JOIN LATERAL (
            SELECT (s.body ->> 'target')::uuid AS uid
            WHERE e.kind = 'ecp.annotation/1' AND s.body ->> 'kind' = 'correction'
            UNION ALL
            SELECT (ref ->> 'id')::uuid FROM jsonb_array_elements(s.body -> 'refs') ref
            WHERE e.kind = 'ecp.decision/1' AND ref ->> 'rel' IN ('corrects', 'supersedes')
        ) said
        JOIN ledger_entry d ON d.log_id = e.log_id AND d.uid = said.uid AND d.seq < e.seq
        WHERE e.log_id = %(log)s AND e.kind IN ('ecp.annotation/1', 'ecp.decision/1') AND e.seq < %(size)s
          AND e.rcvd >= %(since)s AND d.agent = %(agent)s
          AND (s.body @> '{"kind": "correction"}' OR s.body @> '{"refs": [{"rel": "corrects"}]}'
               OR s.body @> '{"refs": [{"rel": "supersedes"}]}')
        GROUP BY d.uid LIMIT %(most)s
    ) AS told
"""
_BYPASSED = """
    SELECT CASE WHEN count(*) >= %(least)s THEN 100 * count(*) FILTER (WHERE bypassed) / count(*) END
    FROM (
        SELECT EXISTS (SELECT FROM friction_frictionbypass b WHERE b.advice_id = a.id) AS bypassed
        FROM friction_frictionadvice a
        WHERE a.organisation_id = %(organisation)s AND a.agent = %(agent)s AND a.mode = 'active'
          AND a.level IN ('medium', 'high') AND a.evaluated_at >= %(since)s
        ORDER BY a.id DESC LIMIT %(most)s
    ) AS advised
"""
_DAYS = "SELECT floor(extract(epoch FROM %(now)s - min({column})) / 86400)::bigint FROM "
_KEYS = """ledger_agentkey k JOIN ledger_agent a ON a.id = k.agent_id
    WHERE a.organisation_id = %(organisation)s AND a.slug = %(agent)s"""

QUERIES: Mapping[History, tuple[str, int]] = {  # with the days that the fact looks back
    History.AGENT_AGE_DAYS: (_DAYS.format(column="k.valid_from") + _KEYS, 0),
    History.AGENT_KEY_AGE_DAYS: (
        "SELECT floor(extract(epoch FROM %(now)s - max(k.valid_from)) / 86400)::bigint FROM "
        + _KEYS
        + " AND k.revoked_at IS NULL AND k.valid_from <= %(now)s",
        0,
    ),
    History.AGENT_DECISIONS_30D: (f"SELECT count(*) FROM ({_OWN}) own WHERE rcvd >= %(since)s", 30),
    History.AGENT_SAME_ACTION_30D: (
        f"SELECT count(*) FROM ({_OWN}) own WHERE rcvd >= %(since)s AND action = %(action)s",
        30,
    ),
    History.MINUTES_SINCE_LAST_DECISION: (
        f"SELECT floor(extract(epoch FROM %(now)s - max(rcvd)) / 60)::bigint FROM ({_OWN}) own",
        0,
    ),
    History.AGENT_REVERSALS_30D: (_REVERSED, 30),
    History.AGENT_ADVERSE_90D: (_ABOUT_OWN, 90),
    History.AGENT_BYPASS_PCT_30D: (_BYPASSED, 30),
    History.ORG_OPEN_BYPASS_REVIEWS: (
        (
            "SELECT count(*) FROM (SELECT FROM friction_frictionbypass b"
            " JOIN friction_frictionadvice a ON a.id = b.advice_id WHERE a.organisation_id = %(organisation)s"
            " AND b.review_due_at IS NOT NULL AND b.review_verdict = '' LIMIT %(most)s) AS due"
        ),
        0,
    ),
}


class HistoryFact(NamedTuple):
    value: int | None
    as_of: dict[str, Any]
    error: str | None = None


def history_facts(
    *, log: Log, agent: str, action: str, wanted: Collection[History], now: datetime
) -> dict[History, HistoryFact]:
    """Give the facts of one agent; call it outside the transaction that appends."""
    if not wanted:
        return {}
    size = Cursor.objects.filter(name="search", log_id=log.id).values_list("next_seq", flat=True).first() or 0
    assert size < POSITIONS_PER_LOG, size
    as_of = {"log": log.origin, "size": size}
    values: dict[str, Any] = {
        "log": log.id, "organisation": log.organisation.id, "agent": agent, "action": action, "size": size,
        "now": now, "most": MOST, "least": LEAST_ADVICE, "says": '{"kind": "outcome", "status": "failure"}',
    }  # fmt: skip
    found = {}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL statement_timeout = {TIMEOUT_MS}")
        for fact in wanted:
            sql, days = QUERIES[fact]
            found[fact] = _asked(cursor, sql, values | {"since": now - timedelta(days=days)}, as_of)
    return found


def _asked(cursor: Any, sql: str, values: dict[str, Any], as_of: dict[str, Any]) -> HistoryFact:
    try:
        with transaction.atomic():
            cursor.execute(sql, values)
            (value,) = cursor.fetchone()
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", "") != "57014":  # query_canceled, as by the time limit
            raise
        return HistoryFact(None, as_of, "timeout")
    return HistoryFact(None if value is None else max(0, int(value)), as_of)
