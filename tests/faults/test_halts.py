"""Appends are refused, never lost: a full queue, a read-only database, a restored backup (F13)."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import statistics
import subprocess
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from ledger.sequencer import MAX_OUTSTANDING
from tests.faults.conftest import NO_LIMITS, key_of
from tests.faults.load import SINGLE, Load, decision
from tests.faults.oracle import LOG, audit, checkpoint_catches_up, query
from tests.faults.processes import PROC
from tests.faults.test_crowd import call
from tests.installation import Installation, free_port, needs_binaries, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.fault, needs_binaries]

BACK_S = 30.0
REFUSAL_S = 0.050
METRICS_PORT = free_port()
WEB_THREADS = 12


@pytest.fixture(scope="module")
def one_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation with one web process, whose queue twelve clients can fill."""
    if not (PROC / "self" / "stat").exists():
        pytest.skip("needs /proc")
    home = tmp_path_factory.mktemp("halts") / "home"
    with Installation(home, **NO_LIMITS, ECP_WEB_PROCESSES="1", ECP_WEB_THREADS=str(WEB_THREADS),
                      ECP_METRICS_PORT=str(METRICS_PORT)) as found:  # fmt: skip
        found.start()
        yield found
        shutil.copytree(home / "logs", home.parent / "logs")


def load_on(installation: Installation, tmp_path: Path, **options: int) -> Load:
    return Load(installation.port, key_of(installation), tmp_path / "journal", **options)


def record_one(installation: Installation) -> tuple[int, dict[str, Any]]:
    return call(installation, SINGLE, json.dumps(decision(0)).encode())


def outstanding() -> float:
    """What the web process shows as waiting in its queue."""
    with urllib.request.urlopen(f"http://127.0.0.1:{METRICS_PORT}/metrics", timeout=5) as answer:
        found = re.search(rb"^ecp_ledger_outstanding (\S+)", answer.read(), re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_request_beyond_the_limit_is_refused_at_once(
    one_process: Installation, tmp_path: Path, tell: Callable[..., None]
) -> None:
    """4 batches of 1,000 and one of 96 fill the queue of 4,096 while somebody holds the head."""
    state = json.loads((one_process.home / "state" / "servers.json").read_text(encoding="utf-8"))
    set_role(one_process, "SET lock_timeout = '10s'")  # else the first of them gives up after 2 s
    set_role(one_process, "SET statement_timeout = '10s'")
    with ThreadPoolExecutor(WEB_THREADS) as clients:  # until the web process has new connections
        until(lambda: set(clients.map(lambda _: record_one(one_process)[0], range(WEB_THREADS))) == {201})
    client = http.client.HTTPConnection("127.0.0.1", one_process.port, timeout=10)
    headers = {"Authorization": f"Bearer {key_of(one_process)}", "Content-Type": "application/json"}
    took, told = [], []

    def knock() -> None:
        began = time.monotonic()
        client.request("POST", SINGLE, json.dumps(decision(0)).encode(), headers)
        answer = client.getresponse()
        told.append((answer.status, json.loads(answer.read())["code"], answer.headers["Retry-After"]))
        took.append(time.monotonic() - began)

    with psycopg.connect(state["DATABASE_URL_MIGRATOR"]) as holder:
        holder.execute(
            "SELECT 1 FROM ledger_head h JOIN ledger_log l ON l.id = h.log_id WHERE l.slug = %s "
            "FOR UPDATE OF h", (LOG,)
        )  # fmt: skip
        with (
            load_on(one_process, tmp_path, singles=0, batches=4, lines=1_000, each=1) as four,
            load_on(one_process, tmp_path, singles=0, batches=1, lines=96, each=1) as fifth,
        ):
            until(lambda: outstanding() == MAX_OUTSTANDING)
            for _ in range(20):
                knock()
            holder.rollback()
            four.finish()
            fifth.finish()
    client.close()
    set_role(one_process, "SET lock_timeout = '2s'")
    set_role(one_process, "SET statement_timeout = '5s'")
    tell(refusal_ms=[1000 * seconds for seconds in took], told=told[:1])
    assert set(told) == {(503, "ledger_busy", "1")}
    assert statistics.median(took) < REFUSAL_S
    for load in (four, fifth):
        load.retry_open(BACK_S)
    checkpoint_catches_up(one_process)


def set_role(installation: Installation, change: str) -> None:
    """Change a setting of the application's role, for the connections to come; the others are ended."""
    query(installation, f"ALTER ROLE ecp_app {change}")
    query(installation, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'ecp_app'")


def test_read_only_database_halts_appends_and_lets_reads_go_on(
    one_process: Installation, tmp_path: Path, tell: Callable[..., None]
) -> None:
    """As after a failover to a standby; the log opens again by itself."""
    with load_on(one_process, tmp_path, singles=4, batches=1) as load:
        time.sleep(2)
        query(one_process, "UPDATE ledger_apikey SET last_used_at = last_used_at - interval '1 hour'")
        set_role(one_process, "SET default_transaction_read_only = on")
        time.sleep(2)
        problem = record_one(one_process)
        assert (problem[0], problem[1]["code"]) == (503, "ledger_halted")
        assert [call(one_process, f"{SINGLE}?page_size=1")[0] for _ in range(20)] == [200] * 20
        annotation = {"kind": "note", "text": "Nothing can be written now."}
        uid = next(iter(load.places))
        assert call(one_process, f"{SINGLE}{uid}/annotations/", json.dumps(annotation).encode())[0] == 503
        set_role(one_process, "RESET default_transaction_read_only")
        back = load.back_after(time.monotonic(), BACK_S)
    tell(back_after_s=[back], statuses=load.statuses, problems=load.problems,
         **audit(one_process, load, tmp_path))  # fmt: skip


def test_f13_restored_backup_that_is_older_than_the_last_checkpoint(
    one_process: Installation, tmp_path: Path, tell: Callable[..., None]
) -> None:
    """Whoever puts an old backup back gets no second history, but a halt that says why."""
    data = (one_process.home / "postgres").resolve()
    one_process.stop()
    backup = data.with_name("backup")
    subprocess.run(["cp", "-a", data, backup], check=True)  # noqa: S603, S607 - keeps the owners, as a backup does
    one_process.start()
    until(lambda: record_one(one_process)[0] == 201)
    with load_on(one_process, tmp_path, singles=4, batches=1) as load:
        time.sleep(3)
    checkpoint_catches_up(one_process)
    uid = next(iter(load.places))
    one_process.stop()
    shutil.rmtree(data)
    backup.rename(data)
    one_process.start()
    until(lambda: record_one(one_process)[1].get("halt_reason")
          == "restored_behind_checkpoint")  # fmt: skip
    began = time.monotonic()
    assert one_process.get("/readyz") == 200
    assert call(one_process, f"{SINGLE}{uid}/receipt/")[0] == 404
    size = query(one_process, "SELECT size FROM ledger_head h JOIN ledger_log l ON l.id = h.log_id "
                 "WHERE l.slug = %s", LOG)  # fmt: skip
    while time.monotonic() - began < 5:  # neither time nor a new start of the checkpointer opens it
        status, problem = record_one(one_process)
        assert (status, problem["code"], problem["proceed"]) == (503, "ledger_halted", False)
        time.sleep(0.5)
    assert query(one_process, "SELECT size, mode FROM ledger_head h JOIN ledger_log l ON l.id = h.log_id "
                 "WHERE l.slug = %s", LOG) == [(size[0][0], "halt")]  # fmt: skip
    tell(size_restored=size[0][0], acknowledged_after_the_backup=load.acknowledged())
