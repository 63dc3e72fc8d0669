"""Rate limits: append counts in the process, the rest in Redis, and here while Redis is away."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from ecp_project import redis as redis_module
from ecp_project.api import throttling
from ecp_project.api.authentication import Principal
from ecp_project.api.throttling import Buckets, client_address, client_network, share, take
from ecp_project.env import Rate
from ecp_project.kernel.errors import RateLimited

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.databases import Cluster

RATES = {
    "append": Rate(10.0, 4),
    "append_batch": Rate(2.0, 2),
    "read": Rate(5.0, 3),
    "staff": Rate(1.0, 2),
    "static": Rate(1.0, 1),
}


@pytest.fixture(autouse=True)
def limits(settings: Any) -> Iterator[Any]:
    settings.ECP_RATES = RATES
    settings.ECP_RUNNING = {"export": 2}
    settings.ECP_WEB_PROCESSES = 2
    settings.REDIS_URL = ""
    redis_module.client.cache_clear()
    throttling.reset()
    yield settings
    redis_module.client.cache_clear()
    throttling.reset()


@pytest.fixture
def real_redis(limits: Any, cluster: Cluster) -> None:
    if not cluster.redis_url:
        pytest.skip("no Redis: run `make test` or set REDIS_URL")
    limits.REDIS_URL = cluster.redis_url
    redis_module.client().flushdb()


def admitted(scope: str, key: str, tries: int) -> int:
    passed = 0
    for _ in range(tries):
        try:
            take(scope, key)
        except RateLimited:
            continue
        passed += 1
    return passed


@pytest.mark.unit
def test_burst_passes_then_the_rate_holds() -> None:
    buckets = Buckets(Rate(2.0, 3))
    assert [buckets.wait("k", 0.0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert buckets.wait("k", 0.25) == 0.25
    assert buckets.wait("k", 0.5) == 0
    assert buckets.wait("other", 0.5) == 0


@pytest.mark.unit
@given(
    rate=st.floats(0.1, 1000),
    burst=st.integers(1, 100),
    steps=st.lists(st.floats(0, 2), min_size=1, max_size=200),
)
def test_no_pattern_of_calls_gets_more_than_rate_and_burst_allow(
    rate: float, burst: int, steps: list[float]
) -> None:
    buckets, now, passed = Buckets(Rate(rate, burst)), 0.0, 0
    for step in steps:
        now += step
        passed += buckets.wait("k", now) == 0
    assert passed <= burst + rate * now + 1e-6


@pytest.mark.unit
def test_clock_that_runs_back_gives_nothing_away() -> None:
    buckets = Buckets(Rate(1.0, 1))
    assert buckets.wait("k", 100.0) == 0
    assert buckets.wait("k", 50.0) > 0


@pytest.mark.unit
def test_memory_is_bounded_whatever_keys_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttling, "_MAX_BUCKETS", 100)
    buckets = Buckets(Rate(0.001, 1))
    for number in range(1000):
        buckets.wait(str(number), float(number) / 1000)
    assert len(buckets._levels) <= 100
    assert buckets.wait("999", 1.0) > 0  # the newest were kept


@pytest.mark.unit
def test_web_processes_share_the_append_rate() -> None:
    assert share(Rate(100.0, 200), 4) == Rate(25.0, 50)
    assert share(Rate(1.0, 1), 4) == Rate(0.25, 1)
    assert admitted("append", "k", 10) == 2  # burst 4 over two processes


@pytest.mark.unit
def test_append_path_never_asks_redis() -> None:
    """There is none here, so asking would be counted as a fallback."""
    take("append", "k")
    take("append_batch", "k")
    assert REGISTRY.get_sample_value("ecp_throttle_fallbacks_total", {"scope": "append"}) is None
    assert REGISTRY.get_sample_value("ecp_throttle_fallbacks_total", {"scope": "append_batch"}) is None


@pytest.mark.unit
def test_refusal_is_429_with_retry_after() -> None:
    take("static", "k")
    with pytest.raises(RateLimited) as caught:
        take("static", "k")
    assert caught.value.code == "rate_limited"
    assert caught.value.retry_after == 1


@pytest.mark.unit
def test_without_redis_the_full_rate_is_counted_here_and_said_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert admitted("read", "k", 10) == 3
    assert capsys.readouterr().err.count("throttle_redis_lost") == 1


@pytest.mark.db
def test_redis_counts_for_all_processes_together(real_redis: None) -> None:
    del real_redis
    assert admitted("read", "k", 10) == 3
    throttling.reset()  # as in another process
    assert admitted("read", "k", 10) == 0
    assert admitted("read", "other", 10) == 3


@pytest.mark.db
def test_bucket_in_redis_refills_and_ends(real_redis: None) -> None:
    del real_redis
    assert admitted("read", "k", 10) == 3
    key = "ecp:rate:read:k"
    assert 0 < redis_module.client().pttl(key) <= 1600
    redis_module.client().hincrbyfloat(key, "at", -0.2)  # a fifth of a second passes
    assert admitted("read", "k", 10) == 1


@pytest.mark.parametrize(
    "with_redis", [pytest.param(True, marks=pytest.mark.db), pytest.param(False, marks=pytest.mark.unit)]
)
def test_only_so_many_exports_run_at_one_time(with_redis: bool, request: pytest.FixtureRequest) -> None:  # noqa: FBT001 - a parameter of the table
    if with_redis:
        request.getfixturevalue("real_redis")
    with throttling.running("export", 1):
        with throttling.running("export", 1):
            with pytest.raises(RateLimited), throttling.running("export", 1):
                pass
            with throttling.running("export", 2):
                pass
        with throttling.running("export", 1):
            pass


@pytest.mark.unit
def test_lease_that_nobody_gave_back_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttling, "_LEASE_S", -1)
    with throttling.running("export", 1), throttling.running("export", 1), throttling.running("export", 1):
        pass


@pytest.mark.unit
@pytest.mark.parametrize(
    ("hops", "forwarded", "found"),
    [
        (0, "6.6.6.6", "10.0.0.9"),
        (1, "6.6.6.6, 9.9.9.9", "9.9.9.9"),
        (2, "6.6.6.6, 9.9.9.9, 10.0.0.1", "9.9.9.9"),
        (2, "9.9.9.9", "10.0.0.9"),  # fewer hops than we have proxies: nothing there is theirs
        (1, "", "10.0.0.9"),
        (1, "not an address", "unknown"),
        (1, "9.9.9.9, [::1]:80", "unknown"),
    ],
)
def test_forwarded_address_counts_only_as_far_as_our_proxies_wrote_it(
    limits: Any, hops: int, forwarded: str, found: str
) -> None:
    limits.ECP_TRUSTED_PROXIES = hops
    assert client_address({"REMOTE_ADDR": "10.0.0.9", "HTTP_X_FORWARDED_FOR": forwarded}) == found


@pytest.mark.unit
def test_addresses_of_one_customer_count_together() -> None:
    first, second = {"REMOTE_ADDR": "2001:db8:1:2::1"}, {"REMOTE_ADDR": "2001:db8:1:2:ffff::9"}
    assert client_network(first) == client_network(second) == "2001:db8:1:2::/64"
    assert client_network({"REMOTE_ADDR": "9.9.9.9"}) == "9.9.9.9"
    assert client_network({}) == "unknown"


@pytest.mark.unit
def test_machines_count_by_key_people_by_person_strangers_by_address() -> None:
    def ask(principal: Principal | None, address: str = "9.9.9.9") -> None:
        request: Any = SimpleNamespace(auth=principal, META={"REMOTE_ADDR": address})
        throttling.enforce("append", request)

    key = Principal(kind="agent", organisation_id=1, key_prefix="k1")
    person = Principal(kind="staff", organisation_id=1, user_id=5)
    for caller, burst in ((key, 2), (person, 2), (None, 1)):
        for _ in range(burst):
            ask(caller)
        with pytest.raises(RateLimited):
            ask(caller)
    ask(Principal(kind="agent", organisation_id=1, key_prefix="k2"))
    ask(Principal(kind="staff", organisation_id=1, user_id=6))
    ask(None, "8.8.8.8")
