"""An export that is killed, edited, or all that is left: F11 and F12 of OPERATIONS section 13."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import call_command
from django.db import connection

from ledger import sequencer
from ledger.keys import verifiers
from ledger.services import projections
from tests import databases
from tests.faults.works import ref, work
from tests.installation import PROJECT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ledger.checkpointer import Checkpointer
    from tests.databases import Cluster
    from tests.people import People

pytestmark = pytest.mark.fault

ENTRIES = 100_000
BATCH = 1_000
REBUILD_S = 60.0
CLIENTS = 4


@pytest.fixture
def filled(people: People, checkpointer: Checkpointer) -> People:
    """A signed log of 100,000 entries, with its search projection."""

    def record(_number: int) -> None:
        sequencer.batcher.submit(ref(people), [work() for _ in range(BATCH)], is_batch=True)

    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(record, range(ENTRIES // BATCH)))
    checkpointer.turn()
    projections.rebuild(log=people.log)
    return people


def digest(sql: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.execute(sql)
        found = hashlib.sha256()
        while rows := cursor.fetchmany(5_000):
            for row in rows:
                found.update(repr([bytes(v) if isinstance(v, memoryview) else v for v in row]).encode())
    return found.hexdigest()


SEARCH = "SELECT entry_id, explanation::text, body::text FROM ledger_entrysearch ORDER BY entry_id"
EVIDENCE = (
    "SELECT seq, uid, kind, agent, action, ts, rcvd, late, entry, leaf_hash FROM ledger_entry ORDER BY id",
    "SELECT level, idx, data, root FROM ledger_tile ORDER BY 1, 2",
    "SELECT size, root, note FROM ledger_checkpoint ORDER BY 1 DESC LIMIT 1",
)


def test_f11_export_killed_10_times_then_edited(
    filled: People,
    server_environment: dict[str, str],
    settings: Any,
    tmp_path: Path,
    tell: Callable[..., None],
) -> None:
    out, reference = tmp_path / "out", tmp_path / "reference"
    command = [sys.executable, "manage.py", "ledger_export", "--log", "acme", "--to"]
    places = {"ECP_LOG_PUBLIC_KEYS": str(settings.ECP_LOG_PUBLIC_KEYS)}

    def export(to: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*command, str(to)], cwd=PROJECT, env=server_environment | places)  # noqa: S603 - our own

    assert export(reference).wait(60) == 0
    whole = {
        path.relative_to(reference): path.read_bytes() for path in reference.rglob("*") if path.is_file()
    }
    seen = []
    for number in range(10):
        exporting = export(out)
        while exporting.poll() is None and len(list(out.rglob("*"))) < 40 * number:
            time.sleep(0.01)
        time.sleep(random.uniform(0.0, 0.3))  # noqa: S311 - no secret
        exporting.kill()
        exporting.wait()
        files = [path for path in out.rglob("*") if path.is_file() and not path.name.startswith(".")]
        seen.append(len(files))
        assert all(path.read_bytes() == whole[path.relative_to(out)] for path in files)
    assert export(out).wait(60) == 0
    assert (out / "export.ndjson").read_bytes() == (reference / "export.ndjson").read_bytes()
    tell(files_after_each_kill=seen, files_of_a_whole_export=len(whole))

    vkey = tmp_path / "vkey"
    vkey.write_text(verifiers(settings.ECP_LOG_PUBLIC_KEYS, filled.log.origin)[0].vkey, encoding="utf-8")
    lines = (out / "export.ndjson").read_bytes().splitlines(keepends=True)
    lines[7] = lines[7].replace(b"remember", b"remembEr")
    (out / "export.ndjson").write_bytes(b"".join(lines))
    done = subprocess.run(  # noqa: S603 - our own module
        [sys.executable, "-m", "ledger.core.verify", "export", str(out / "export.ndjson"),
         "--vkey", str(vkey), "--json"], cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert (report["kind"], report["first_bad_seq"]) == ("chain_break", 7)


def test_f12_projection_dropped_and_log_rebuilt_from_its_export(  # noqa: PLR0917 - fixtures
    filled: People,
    checkpointer: Checkpointer,
    cluster: Cluster,
    committed_db: str,
    tmp_path: Path,
    tell: Callable[..., None],
) -> None:
    search, evidence = digest(SEARCH), [digest(sql) for sql in EVIDENCE]
    call_command("ledger_export", "--log", "acme", "--to", str(tmp_path / "out"))
    began = time.monotonic()
    assert projections.rebuild(log=filled.log) == ENTRIES
    projected = time.monotonic() - began
    assert digest(SEARCH) == search
    sequencer.batcher.stop()
    checkpointer.close()  # a rebuild leaves tiles and signature to a checkpointer that runs
    databases.remove_committed_rows(cluster, committed_db)
    began = time.monotonic()
    call_command("ledger_rebuild", "--from", str(tmp_path / "out"))
    rebuilt = time.monotonic() - began
    assert [digest(sql) for sql in EVIDENCE] == evidence
    tell(projection_s=projected, rebuild_s=rebuilt, entries=ENTRIES)
    assert max(projected, rebuilt) < REBUILD_S
