"""What must hold after any fault: every acknowledged decision stands once, where its receipt says."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import psycopg

from ledger.core.proof import verify_proof
from ledger.keys import verifiers
from tests.installation import PROJECT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.load import Load
    from tests.installation import Installation

LOG = "northwind-retail"  # where the key of the demo records
RETRY_S = 30.0
CHECKPOINT_S = 10.0
SAMPLE = 50


def query(installation: Installation, sql: str, *arguments: Any) -> list[tuple[Any, ...]]:
    """Ask the installation's database as its superuser."""
    state = installation.home / "state" / "servers.json"
    url = json.loads(state.read_text(encoding="utf-8"))["DATABASE_URL_MIGRATOR"]
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(sql, arguments)
        return cursor.fetchall() if cursor.description else []


def manage(installation: Installation, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own program, arguments of the tests
        [sys.executable, "manage.py", *arguments], cwd=PROJECT, env=installation.surroundings,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def audit(installation: Installation, load: Load, folder: Path) -> dict[str, float]:
    """Settle what is open, then compare journal, database, checkpoint and an export with each other."""
    unanswered = load.open_ids()
    were_stored = load.retry_open(RETRY_S)
    load.repeat_acknowledged(SAMPLE)
    caught_up = checkpoint_catches_up(installation)
    _compare(installation, load)
    _verify(installation, load, folder)
    return {
        "acknowledged": load.acknowledged(),
        "unanswered": unanswered,
        "of these stored before the retry": were_stored,
        "checkpoint at the head after s": caught_up,
    }


def checkpoint_catches_up(installation: Installation, within: float = CHECKPOINT_S) -> float:
    sql = """
        SELECT coalesce(max(c.size), 0) = max(h.size) FROM ledger_log l JOIN ledger_head h ON h.log_id = l.id
        LEFT JOIN ledger_checkpoint c ON c.log_id = l.id WHERE l.slug = %s
    """
    began = time.monotonic()
    while not query(installation, sql, LOG)[0][0]:
        assert time.monotonic() - began < within, "the checkpointer does not catch up"
        time.sleep(0.1)
    return time.monotonic() - began


def _compare(installation: Installation, load: Load) -> None:
    rows = query(
        installation,
        "SELECT e.seq, e.uid, e.leaf_hash FROM ledger_entry e JOIN ledger_log l ON l.id = e.log_id "
        "WHERE l.slug = %s ORDER BY e.seq",
        LOG,
    )
    assert [row[0] for row in rows] == list(range(len(rows))), "positions have a gap"
    stored = {str(uid): (seq, bytes(leaf).hex()) for seq, uid, leaf in rows}
    assert len(stored) == len(rows), "an id stands twice"
    journal = [line.split() for line in load.journal.read_text(encoding="utf-8").splitlines()]
    assert {uid for _, _, uid in journal} == set(load.places)
    lost = [uid for seq, leaf, uid in journal if stored.get(uid) != (int(seq), leaf)]
    assert not lost, f"{len(lost)} acknowledged decisions are not where their receipts say: {lost[:3]}"


def _verify(installation: Installation, load: Load, folder: Path) -> None:
    """The chain by the database's verifier, then an export and some receipts by the strangers' one."""
    done = manage(installation, "ledger_verify", "--full", "--json", "--log", LOG)
    assert done.returncode == 0, done.stdout + done.stderr
    out = folder / "export"
    done = manage(installation, "ledger_export", "--log", LOG, "--to", str(out))
    assert done.returncode == 0, done.stderr
    vkey, ((origin,),) = (
        folder / "vkey",
        query(installation, "SELECT origin FROM ledger_log WHERE slug = %s", LOG),
    )
    verifier = verifiers(installation.home / "keys" / "log-keys.json", origin)[0]
    vkey.write_text(verifier.vkey, encoding="utf-8")
    offline = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", "ledger.core.verify", "log", str(out), "--vkey", str(vkey)], cwd=PROJECT,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert offline.returncode == 0, offline.stdout + offline.stderr
    for uid, receipt, entry in load.receipts(SAMPLE // 2):
        proven = verify_proof(receipt["tlog_proof"], entry, verifier)
        assert (receipt["seq"], receipt["leaf_hash"]) == (load.places[uid].seq, load.places[uid].leaf_hash)
        assert proven.size > receipt["seq"]
