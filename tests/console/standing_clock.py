"""A clock of a machine and its database that stands where a test puts it.

Pictures show the same times whenever they are taken, and sample decisions come in over thirty days, as those
of agents would, where a load takes seconds.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING, Any

from ecp_project.kernel import clock
from ledger import modes
from ledger.services import ingest

if TYPE_CHECKING:
    import psycopg

# Schemas before pg_catalog win only when pg_catalog is named.
DATABASE = """
BEGIN;
SET LOCAL ecp.migration = 'a clock for pictures';
CREATE SCHEMA standing;
CREATE TABLE standing.clock (at timestamptz NOT NULL);
INSERT INTO standing.clock VALUES ('2026-03-01T15:00:00Z');
CREATE FUNCTION standing.clock_timestamp() RETURNS timestamptz LANGUAGE sql STABLE
    AS 'SELECT at FROM standing.clock';
GRANT USAGE ON SCHEMA standing TO PUBLIC;
GRANT SELECT ON standing.clock TO PUBLIC;
COMMIT;
"""
NOW = datetime(2026, 3, 31, 15, 0, tzinfo=UTC)  # a Tuesday afternoon
DAYS = 30
BATCH = 10


class StandingClock:
    """Runs through the thirty days while a load brings that many decisions, then stands."""

    def __init__(self, superuser: psycopg.Connection[Any], database: str, patch: Any, decisions: int) -> None:
        self._superuser = superuser
        self._decisions = decisions
        self.at = NOW - timedelta(days=DAYS)
        superuser.execute(DATABASE)
        superuser.execute(f'ALTER DATABASE "{database}" SET search_path = standing, pg_catalog, public')
        standing = self

        class Standing(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> Any:
                return standing.at.astimezone(tz)

        patch.setattr(clock, "datetime", Standing)  # the machine's clock, at its one door
        patch.setattr(modes, "MAX_CLOCK_SKEW_S", float("inf"))  # between two steps the clocks differ
        patch.setattr(ingest, "BATCH", BATCH)

    def arrive(self, done: int, _total: int) -> None:
        """Told by a load how many have come in: so much of the thirty days has gone by."""
        gone = min(done / self._decisions, 1)
        self.set(NOW - timedelta(days=DAYS) * (1 - gone))

    def read(self) -> datetime:
        return self.at

    def set(self, at: datetime) -> None:
        self._superuser.execute("UPDATE standing.clock SET at = %s", (at,))
        self.at = at
