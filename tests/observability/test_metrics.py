"""The metrics port: what it shows, for one process and for several, and who is alive behind it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import REGISTRY, CollectorRegistry

from ecp_project import redis as redis_module
from ecp_project.kernel.clock import utc_now
from ecp_project.observability import metrics
from ecp_project.observability.queues import QueueDepth
from ledger import modes
from tests.installation import PROJECT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from django.test import Client

    from tests.databases import Cluster

LATENCY = "django_http_requests_latency_seconds_by_view_method"
RESPONSES = "django_http_responses_total_by_status_view_method_total"


def ask(path: str, is_alive: Callable[[], bool] = lambda: True, **options: Any) -> tuple[int, str]:
    server, thread = metrics.started(0, is_alive=is_alive, **options)
    try:
        host = f"[{options['address']}]" if "address" in options else "127.0.0.1"
        with urllib.request.urlopen(f"http://{host}:{server.server_port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.unit
def test_port_shows_metrics_and_life_and_nothing_else() -> None:
    assert "ecp_throttled_total" in ask("/metrics")[1]
    assert ask("/livez") == (200, "ok")
    assert ask("/livez", lambda: False) == (503, "stuck")
    assert ask("/")[0] == ask("/metrics/../x")[0] == 404


@pytest.mark.unit
def test_address_of_either_kind_is_served() -> None:
    assert ask("/livez", address="::1") == (200, "ok")


@pytest.mark.unit
def test_process_says_its_mode_from_the_first_second(fresh_gauges: None) -> None:
    del fresh_gauges
    metrics.process_started("c0ffee")
    assert REGISTRY.get_sample_value("ecp_ledger_mode", {"mode": "active"}) == 1
    assert REGISTRY.get_sample_value("ecp_ledger_mode", {"mode": "halt"}) == 0


@pytest.fixture
def fresh_gauges() -> Any:
    modes.process.forget()
    yield
    modes.process.forget()
    modes.process.show()


@pytest.mark.unit
def test_halt_and_return_are_shown(fresh_gauges: None) -> None:
    del fresh_gauges
    modes.process.enter("test", utc_now())
    assert REGISTRY.get_sample_value("ecp_ledger_mode", {"mode": "halt"}) == 1
    for _ in range(modes.GOOD_PROBES):
        modes.process.probed(good=True)
    assert REGISTRY.get_sample_value("ecp_ledger_mode", {"mode": "halt"}) == 0
    assert REGISTRY.get_sample_value("ecp_ledger_mode", {"mode": "active"}) == 1


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0


@pytest.mark.unit
def test_request_is_counted_by_view_and_not_by_what_callers_make_up(client: Client) -> None:
    labels = {"status": "404", "view": "none", "method": "other"}
    before = sample(RESPONSES, **labels)
    client.generic("BREW", "/no-such-place/")
    assert sample(RESPONSES, **labels) == before + 1
    assert sample(f"{LATENCY}_count", view="none", method="other") >= 1


@pytest.mark.unit
def test_probes_are_not_counted(client: Client) -> None:
    before = sample(f"{LATENCY}_count", view="livez", method="GET")
    client.get("/livez")
    assert sample(f"{LATENCY}_count", view="livez", method="GET") == before == 0


@pytest.mark.db
def test_queue_depth_is_asked_when_somebody_looks(cluster: Cluster, settings: Any) -> None:
    if not cluster.redis_url:
        pytest.skip("no Redis: run `make test` or set REDIS_URL")
    settings.REDIS_URL = cluster.redis_url
    redis_module.client.cache_clear()
    collected = CollectorRegistry()
    collected.register(QueueDepth())
    redis_module.client().delete("polls", "default")
    redis_module.client().lpush("polls", "a", "b")
    try:
        assert collected.get_sample_value("ecp_celery_queue_depth", {"queue": "polls"}) == 2
        assert collected.get_sample_value("ecp_celery_queue_depth", {"queue": "default"}) == 0
    finally:
        redis_module.client().delete("polls")
        redis_module.client.cache_clear()


@pytest.mark.unit
def test_without_redis_the_depth_is_unknown_and_not_zero(settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    redis_module.client.cache_clear()
    collected = CollectorRegistry()
    collected.register(QueueDepth())
    assert collected.get_sample_value("ecp_celery_queue_depth", {"queue": "polls"}) is None
    redis_module.client.cache_clear()


TWO_PROCESSES = """
import os, pathlib
import django
django.setup()
from ecp_project.api.metrics import THROTTLED
from ecp_project.kernel.clock import utc_now
from ecp_project.observability import metrics
from ledger import modes
from ledger.metrics import OUTSTANDING
from ledger.metrics import APPEND_SECONDS, VERIFIED_SIZE
folder = pathlib.Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
shown = metrics.registry()
for number in range(4):
    child = os.fork()
    OUTSTANDING.set(2 if child else 300)
    THROTTLED.labels(scope="append").inc(2 if child else 3)
    metrics.process_started("c0ffee")
    if not child:
        APPEND_SECONDS.labels(path="single").observe(0.02)
        VERIFIED_SIZE.set(100 + number)
        os._exit(0)
    os.waitpid(child, 0)
    if number == 2:
        (folder / f"counter_{child}.db").write_bytes(b"")  # killed before it wrote a byte
    shown.get_sample_value("ecp_throttled_total", {"scope": "append"})
print(shown.get_sample_value("ecp_throttled_total", {"scope": "append"}),
      shown.get_sample_value("ecp_ledger_mode", {"mode": "active"}),
      shown.get_sample_value("ecp_ledger_outstanding"),
      shown.get_sample_value("ecp_ledger_append_seconds_count", {"path": "single"}),
      shown.get_sample_value("ecp_ledger_append_seconds_bucket", {"path": "single", "le": "0.025"}),
      shown.get_sample_value("ecp_ledger_append_seconds_bucket", {"path": "single", "le": "0.01"}),
      shown.get_sample_value("ecp_ledger_verified_size"),
      shown.get_sample_value("ecp_build_info", {"version": metrics.__version__, "commit": "c0ffee"}),
      len({file.stem.rpartition("_")[2] for file in folder.glob("*.db")}))
"""


@pytest.mark.unit
def test_numbers_of_all_processes_are_added_up_but_what_a_dead_one_had_in_hand_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "metrics"
    folder.mkdir()
    surroundings = {
        "PROMETHEUS_MULTIPROC_DIR": str(folder),
        "DJANGO_SETTINGS_MODULE": "ecp_project.settings.test",
    }
    told = subprocess.run(  # noqa: S603 - our own text
        [sys.executable, "-c", TWO_PROCESSES],
        cwd=PROJECT, check=True, capture_output=True, text=True, env=os.environ | surroundings,
    )  # fmt: skip
    assert json.loads(told.stderr)["event"] == "metrics_file_torn"
    assert told.stdout.split() == ["17.0", "1.0", "2.0", "4.0", "4.0", "0.0", "103.0", "1.0", "2"]
