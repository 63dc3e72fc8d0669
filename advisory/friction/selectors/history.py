"""`history:` facts: what the ledger and the advice on record tell of an agent (FRICTION 3).

Each fact is one indexed query with a short time limit. A fact that takes too long is missing and says so; the
advice is given all the same. Facts about decisions look no further than the search projection has come, so
that a position on the log says exactly what was known.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
from django.db import connection, transaction

from advisory.friction.core.sources import History
from ledger.models import POSITIONS_PER_LOG
from ledger.selectors.hot import hot_row

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from datetime import datetime
    from typing import LiteralString

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
    row = hot_row("SELECT next_seq FROM ledger_cursor WHERE name = 'search' AND log_id = $1", (log.id,))
    size = row[0] if row is not None else 0
    assert size < POSITIONS_PER_LOG, size
    as_of = {"log": log.origin, "size": size}
    values: dict[str, Any] = {
        "log": log.id, "organisation": log.organisation.id, "agent": agent, "action": action, "size": size,
        "now": now, "most": MOST, "least": LEAST_ADVICE, "says": '{"kind": "outcome", "status": "failure"}',
    }  # fmt: skip
    asked = {
        fact: (QUERIES[fact][0], values | {"since": now - timedelta(days=QUERIES[fact][1])})
        for fact in wanted
    }
    try:
        return _all_at_once(asked, as_of)
    except psycopg.errors.QueryCanceled:  # one of them; which one, shows when each is asked by itself
        return {fact: _by_itself(*query, as_of) for fact, query in asked.items()}


def _all_at_once(
    asked: Mapping[History, tuple[LiteralString, dict[str, Any]]], as_of: dict[str, Any]
) -> dict[History, HistoryFact]:
    with _limited() as cursor:
        return {fact: _fact(cursor, *query, as_of) for fact, query in asked.items()}


def _by_itself(sql: LiteralString, values: dict[str, Any], as_of: dict[str, Any]) -> HistoryFact:
    try:
        with _limited() as cursor:
            return _fact(cursor, sql, values, as_of)
    except psycopg.errors.QueryCanceled:
        return HistoryFact(None, as_of, "timeout")


@contextmanager
def _limited() -> Iterator[psycopg.Cursor[Any]]:
    """A cursor whose repeated queries are prepared: to plan these takes longer than to answer them."""
    with transaction.atomic(), psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(f"SET LOCAL statement_timeout = {TIMEOUT_MS}")
        yield cursor


def _fact(
    cursor: psycopg.Cursor[Any], sql: LiteralString, values: dict[str, Any], as_of: dict[str, Any]
) -> HistoryFact:
    row = cursor.execute(sql, values).fetchone()
    assert row is not None
    return HistoryFact(None if row[0] is None else max(0, int(row[0])), as_of)
