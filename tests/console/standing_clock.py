"""A clock of a machine and its database that stands where a test puts it.

Pictures show the same times whenever they are taken, and each sample line comes in a moment after it was
decided, as those of agents would, where a load takes seconds.
"""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import accumulate
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.utils import timezone

from ecp_project.kernel import clock
from ledger import modes
from ledger.services import demo, ingest

if TYPE_CHECKING:
    import psycopg

# Schemas before pg_catalog win only when pg_catalog is named.
DATABASE = """
BEGIN;
SET LOCAL ecp.migration = 'a clock for pictures';
CREATE SCHEMA standing;
CREATE TABLE standing.clock (at timestamptz NOT NULL);
INSERT INTO standing.clock VALUES ('2026-02-17T15:00:00Z');
CREATE FUNCTION standing.clock_timestamp() RETURNS timestamptz LANGUAGE sql STABLE
    AS 'SELECT at FROM standing.clock';
GRANT USAGE ON SCHEMA standing TO PUBLIC;
GRANT SELECT ON standing.clock TO PUBLIC;
COMMIT;
"""
NOW = datetime(2026, 3, 19, 15, 0, tzinfo=UTC)  # a Thursday afternoon, so that the story spans two months
ON_THE_WAY = timedelta(seconds=1)


def arrivals(organisation: str) -> list[datetime]:
    """When each sample line of an organisation comes in: after it was decided, and none before the last."""
    lines = (
        line
        for story, line in demo.story_lines(random.Random(demo.SEED), NOW)  # noqa: S311 - the sample data are no secret
        if story.organisation == organisation
    )
    decided = (UUID(json.loads(line)["id"]).int >> 80 for line in lines)  # milliseconds, as UUIDv7 begin
    return [datetime.fromtimestamp(at / 1000, UTC) + ON_THE_WAY for at in accumulate(decided, max)]


class StandingClock:
    """Goes from line to line while a load brings those of the first organisation, then stands."""

    def __init__(
        self, superuser: psycopg.Connection[Any], database: str, patch: Any, organisation: str
    ) -> None:
        self._superuser = superuser
        self._arrivals = arrivals(organisation)
        self.at = NOW - timedelta(days=demo.DAYS)
        superuser.execute(DATABASE)
        superuser.execute(f'ALTER DATABASE "{database}" SET search_path = standing, pg_catalog, public')
        standing = self

        class Standing(datetime):
            @classmethod
            def now(cls, tz: tzinfo | None = None) -> Any:
                return standing.at.astimezone(tz)

        patch.setattr(clock, "datetime", Standing)  # the machine's clock, at its one door
        patch.setattr(timezone, "datetime", Standing)  # and at Django's
        patch.setattr(modes, "MAX_CLOCK_SKEW_S", float("inf"))  # between two steps the clocks differ
        patch.setattr(ingest, "BATCH", 1)  # lines of a batch are received at once
        self.arrive(0, 0)

    def arrive(self, done: int, _total: int) -> None:
        """Told by a load how many have come in: it is now the time of the next one."""
        self.set(self._arrivals[done] if done < len(self._arrivals) else NOW)

    def read(self) -> datetime:
        return self.at

    def set(self, at: datetime) -> None:
        self._superuser.execute("UPDATE standing.clock SET at = %s", (at,))
        self.at = at
