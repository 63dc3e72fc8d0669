"""Verify the database against its own bytes, with the verifier that strangers use (LEDGER section 15)."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from ecp_project.kernel.clock import format_time
from ledger.core.columns import Columns, columns_of
from ledger.core.verify.stream import LogVerifier
from ledger.keys import verifiers
from ledger.models import POSITIONS_PER_LOG, AgentKey, Checkpoint, Log

if TYPE_CHECKING:
    from collections.abc import Callable

    from ledger.core.verify.report import Report

FETCH = 2_000
ROWS_SQL = """
SELECT seq, uid, kind, agent, action, zone, risk, level, bypassed, rcvd, late, entry, leaf_hash
FROM ledger_entry WHERE id >= %s AND id < %s ORDER BY id
"""


class NoPublicKey(LookupError):
    """No ledger key is configured yet: run `manage.py ledger_keygen`."""


def verify_log(
    *, log: Log, signatures: bool = True, progress: Callable[[int, int], None] = lambda _done, _all: None
) -> Report:
    """Read every entry again in one snapshot.

    Bytes, hashes, chain, tree, checkpoints, columns, head, keys.
    """
    keys = verifiers(settings.ECP_LOG_PUBLIC_KEYS, log.origin)
    if not keys:
        raise NoPublicKey(str(NoPublicKey.__doc__))
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            cursor.execute("SET LOCAL statement_timeout = 0")
            cursor.execute("SELECT size, tip FROM ledger_head WHERE log_id = %s", (log.id,))
            size, tip = cursor.fetchone()
        notes = Checkpoint.objects.filter(log=log).order_by("size").values_list("note", flat=True)
        run = LogVerifier(keys[-1], notes, signatures=signatures)
        base = log.id * POSITIONS_PER_LOG
        with connection.connection.cursor("ledger_verify", binary=True) as rows:
            rows.itersize = FETCH
            # Beyond the head too: an entry that stands there is a finding, not a secret.
            rows.execute(ROWS_SQL, (base, base + POSITIONS_PER_LOG))
            for row in rows:
                entry = run.feed(bytes(row[11]), bytes(row[12]))
                if entry is not None and (
                    UUID(entry.stmt["id"]) != row[1]
                    or columns_of(entry.stmt) != Columns(*row[2:9])
                    or format_time(row[9].astimezone(UTC)) != entry.rcvd
                    or entry.late != row[10]
                ):
                    run.findings.add(
                        "projection_mismatch", seq=row[0], detail="a column differs from the bytes beside it"
                    )
                if run.checked.entries % FETCH == 0:
                    progress(run.checked.entries, size)
        _check_registry(log, run)
        report = run.finish(head=(size, bytes(tip)))
    progress(size, size)
    return report


def _check_registry(log: Log, run: LogVerifier) -> None:
    """Registered keys must be those that the log announced."""
    rows = AgentKey.objects.filter(agent__organisation=log.organisation).values_list("kid", "public_key")
    for kid, public_key in rows:
        announced = run.keys.get(kid)
        if announced is not None and announced.public_key != bytes(public_key):
            run.findings.add(
                "registry_mismatch", found=kid, detail="the registered key is not the announced one"
            )
