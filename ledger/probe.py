"""What `/readyz` says of the ledger: mode, size, age of the newest checkpoint (OPERATIONS section 7).

A HALT is `degraded` and not `fail`: reads and proofs go on, appends answer 503 themselves. So is a database
that the checkpointer has not compared yet: appends wait for its guard row.
"""

from __future__ import annotations

from django.db import connections

from ecp_project.observability.health import Finding
from ledger import modes
from ledger.models import Mode

# Sizes of all logs added up; the age counts only where entries wait for a checkpoint.
_STATE_SQL = """
SELECT coalesce(bool_or(l.mode <> %s), false),
       coalesce(bool_or((g.system_identifier, g.timeline, g.postmaster_start) IS DISTINCT FROM (%s, %s, %s)
                        OR g.verdict <> ALL(%s)), false),
       coalesce(sum(h.size), 0)::bigint,
       coalesce(extract(epoch FROM max(now() - coalesce(c.created, h.last_rcvd)) FILTER
                        (WHERE h.size > coalesce(c.size, 0))), 0)::bigint
FROM ledger_log l
JOIN ledger_head h ON h.log_id = l.id
LEFT JOIN ledger_guard g ON g.log_id = l.id
LEFT JOIN LATERAL (SELECT size, created FROM ledger_checkpoint WHERE log_id = l.id
                   ORDER BY size DESC LIMIT 1) c ON true
"""


def ledger_probe() -> Finding:
    with connections["direct"].cursor() as cursor:
        identity = modes.read_identity(cursor)
        verdicts = [modes.GUARD_OK, modes.GUARD_OK_RESTORED]
        values = (identity.system_identifier, identity.timeline, identity.postmaster_start, verdicts)
        cursor.execute(_STATE_SQL, [Mode.ACTIVE, *values])
        is_closed, is_unverified, size, age_s = cursor.fetchone() or (False, False, 0, 0)
    is_halted = is_closed or is_unverified or modes.process.halt is not None
    members = {"mode": "halt" if is_halted else "active", "size": size, "checkpoint_age_s": age_s}
    return Finding("degraded" if is_halted else "ok", members)
