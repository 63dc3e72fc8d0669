"""Many clients of the whole installation, and a Redis that is gone: F6, F9, F10 of OPERATIONS section 13."""

from __future__ import annotations

import json
import statistics
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import redis

from ecp_project.redis import plain_url
from tests.faults.conftest import key_of
from tests.faults.load import SINGLE, decision
from tests.faults.oracle import audit, query
from tests.faults.processes import kill, pid_of
from tests.installation import needs_binaries, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.faults.load import Load
    from tests.installation import Installation

pytestmark = [pytest.mark.fault, needs_binaries]

CONSUMING_S = 60.0
ABSENT_S = 30.0


def call(installation: Installation, path: str, body: bytes | None = None) -> tuple[int, dict[str, Any]]:
    headers = {"Authorization": f"Bearer {key_of(installation)}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{installation.port}{path}", body, headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - loopback
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def is_found(installation: Installation, word: str) -> bool:
    """Whether the search, which a worker brings up to date, knows a decision with this word."""
    return bool(call(installation, f"{SINGLE}?q={word}")[1]["results"])


@contextmanager
def kept_dead(installation: Installation, name: str) -> Iterator[None]:
    """A server is killed whenever it comes back."""
    over = threading.Event()

    def kill_again() -> None:
        while not over.is_set():
            pid = pid_of(installation, name)
            if pid is not None:
                kill(pid)
            over.wait(0.02)

    thread = threading.Thread(target=kill_again)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_f6_redis_killed_emptied_and_absent(
    installation: Installation, loaded: Callable[..., Load], tmp_path: Path, tell: Callable[..., None]
) -> None:
    """No append fails; reads go on without it; the worker takes up its work again."""
    state = json.loads((installation.home / "state" / "servers.json").read_text(encoding="utf-8"))
    with loaded(singles=4, batches=1) as load:
        with redis.Redis.from_url(plain_url(state["REDIS_URL"])) as client:
            client.flushall()
        reads = []
        until_then = time.monotonic() + ABSENT_S
        with kept_dead(installation, "valkey"):
            while time.monotonic() < until_then:
                reads.append(call(installation, f"{SINGLE}?page_size=1")[0])
                time.sleep(0.5)
        back = time.monotonic()
        record = decision(0) | {"explanation": "The word zanzibar stands in this one alone."}
        assert call(installation, SINGLE, json.dumps(record).encode())[0] == 201
        until(lambda: is_found(installation, "zanzibar"), CONSUMING_S)
        consuming = time.monotonic() - back
    assert set(load.statuses) <= {200, 201}
    assert set(reads) == {200}
    tell(reads=len(reads), consuming_after_s=consuming, statuses=load.statuses,
         **audit(installation, load, tmp_path))  # fmt: skip


def test_f9_64_clients_200_each(
    installation: Installation, loaded: Callable[..., Load], tmp_path: Path, tell: Callable[..., None]
) -> None:
    began = time.monotonic()
    with loaded(singles=64, batches=0, each=200) as load:
        load.finish()
    seconds = time.monotonic() - began
    assert set(load.statuses) == {201}
    took = sorted(answer.done - answer.sent for answer in load.answers)
    p50, p99 = statistics.median(took), took[int(len(took) * 0.99)]
    positions = sorted(place.seq for place in load.places.values())
    told = (installation.home / "logs" / "postgres.log").read_text(encoding="utf-8", errors="replace")
    tell(per_s=len(took) / seconds, p50_ms=p50 * 1000, p99_ms=p99 * 1000,
         **audit(installation, load, tmp_path))  # fmt: skip
    assert positions == list(range(positions[0], positions[0] + 12_800))
    assert "deadlock detected" not in told
    assert p99 < 10 * p50


def test_f10_one_id_50_times_at_once_then_with_other_bytes(installation: Installation) -> None:
    record = decision(0)
    body = json.dumps(record).encode()
    with ThreadPoolExecutor(50) as clients:
        told = list(clients.map(lambda _: call(installation, SINGLE, body), range(50)))
    assert sorted(status for status, _ in told) == [200] * 49 + [201]
    receipts = {json.dumps(receipt, sort_keys=True) for _, receipt in told}
    assert len(receipts) == 1
    status, problem = call(installation, SINGLE, json.dumps(record | {"action": "price.keep"}).encode())
    assert (status, problem["code"], problem["seq"]) == (409, "id_reused", told[0][1]["seq"])
    assert query(installation, "SELECT count(*) FROM ledger_entry WHERE uid = %s", record["id"]) == [(1,)]
