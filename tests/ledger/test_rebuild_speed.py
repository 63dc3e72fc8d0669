"""100,000 entries from an export: stored, projected, verified within a minute (LEDGER section 19)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from django.db import connection

from ecp_project.kernel.clock import utc_now
from ledger.core.export import write_log
from ledger.core.tiles import TILE_WIDTH
from ledger.models import Log
from ledger.services import verification_runs
from ledger.services.operations import export_static
from ledger.services.projections import project_search, rebuild
from ledger.services.rebuild import log_rebuild
from ledger.services.verification import verify_log
from ledger.services.verification_runs import verification_request, verification_step
from tests.ledger.core.sample_log import sample_log

if TYPE_CHECKING:
    from pathlib import Path

    from ledger.checkpointer import Checkpointer

pytestmark = [pytest.mark.db, pytest.mark.perf]

COUNT = 100_000
BAR_S = 60.0
DIGEST_SQL = """
SELECT encode(sha256(string_agg(sha256(convert_to(s::text, 'UTF8')), ''::bytea ORDER BY entry_id)), 'hex')
FROM ledger_entrysearch s
"""


def projection_digest() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = '60s'")
        cursor.execute(DIGEST_SQL)
        return str(cursor.fetchone()[0])


def files(folder: Path) -> dict[str, bytes]:
    wanted = (file for file in folder.rglob("*") if file.is_file() and file.name != "export.ndjson")
    return {str(file.relative_to(folder)): file.read_bytes() for file in wanted}


def test_rebuild_of_100_000_entries(
    checkpointer: Checkpointer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del checkpointer  # its key signs the sample log too
    sample = sample_log(COUNT)
    write_log(tmp_path / "export", sample.entries, sample.notes[-1])
    size = len(sample.entries)

    began = time.monotonic()
    rebuilt = log_rebuild(place=str(tmp_path / "export"), now=utc_now())
    stored = time.monotonic()
    assert rebuilt.log is not None
    while project_search(log_id=rebuilt.log.id):
        pass
    projected = time.monotonic()
    report = verify_log(log=rebuilt.log, projections=True)
    verified = time.monotonic()

    assert (report.ok, report.incomplete, report.size) == (True, "", size), report.to_text()
    print(  # noqa: T201 - the measurement is the point
        f"{size:,} entries: stored in {stored - began:.1f} s, projected in {projected - stored:.1f} s, "
        f"verified with projections in {verified - projected:.1f} s"
    )
    assert projected - began < BAR_S
    assert verified - projected < BAR_S
    export_static(log=Log.objects.get(), to=tmp_path / "again")
    assert files(tmp_path / "again") == files(tmp_path / "export")
    digest = projection_digest()
    rebuild(log=rebuilt.log)
    assert projection_digest() == digest

    # The same log in slices, across a full tile of level 1.
    monkeypatch.setattr(verification_runs, "SLICE", 100 * TILE_WIDTH)
    run = verification_request(log=rebuilt.log, requested_by="", now=utc_now())
    while verification_step(now=utc_now()) is not None:
        pass
    run.refresh_from_db()
    assert (run.ok, run.next_seq) == (True, size), run.report
    assert run.report["checked"]["tiles"] == report.checked.tiles == size // 256 + size // 65_536
