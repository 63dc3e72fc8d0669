"""The stream process's one connection to the database: it listens, and it reads how far the logs are.

Announcements of the checkpointer come at once. Every few seconds the heads are read besides, over the same
connection: that shows what is recorded and not signed yet, a change of mode, and whether the connection lives
at all, so one that was lost costs no more than that pause.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import psycopg
import structlog
from psycopg import sql

from ecp_project.console.metrics import STREAM_LISTENING
from ecp_project.console.sse import State
from ledger.announcements import CHANNEL, announced
from ledger.selectors.heads import heads
from ledger.sequencer import connection_parameters

if TYPE_CHECKING:
    from ecp_project.console.sse import Hub

RETRY_S = 1.0
ANSWER_S = 10.0
LISTENS = "stream_listens"
LISTENING_LOST = "stream_listening_lost"
LISTEN = sql.SQL("LISTEN {}").format(sql.Identifier(CHANNEL))
_log = structlog.get_logger("ecp.stream")


async def listen(hub: Hub, *, heads_s: float) -> None:
    """Keep the hub told until cancelled; a lost connection is made anew."""
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(
                **connection_parameters("direct"), autocommit=True
            ) as connection:
                await _told_by(connection, hub, heads_s)
        except (psycopg.Error, OSError) as error:
            STREAM_LISTENING.set(0)
            _log.warning(LISTENING_LOST, exc_info=error)
        await asyncio.sleep(RETRY_S)


async def _told_by(connection: psycopg.AsyncConnection[Any], hub: Hub, heads_s: float) -> None:
    await connection.execute(LISTEN)
    STREAM_LISTENING.set(1)
    _log.info(LISTENS)
    while True:
        async with asyncio.timeout(ANSWER_S):  # a connection that the network swallowed says nothing at all
            found = await heads(connection, hub.logs())
        hub.tell({log_id: State(*row) for log_id, row in found.items()})
        async for notice in connection.notifies(timeout=heads_s):
            if signed := announced(notice.payload):
                hub.tell_signed(*signed)
