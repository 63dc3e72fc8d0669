"""Probes: what they say with and without their servers (OPERATIONS section 7)."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from ecp_project import redis as redis_module
from ecp_project.observability import health
from ecp_project.observability.health import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator  # noqa: F401 - as intended

    from django.test import Client

PROBES = {"db": Finding("ok"), "ledger": Finding("ok", {"mode": "active", "size": 5})}


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """An empty register for `readyz`, filled by the test."""
    registered: dict[str, Any] = {}
    monkeypatch.setattr(health, "_ready", registered)
    monkeypatch.setattr(health, "_readiness", health._Judge(registered))
    return registered


def finding(status: health.Status, **members: Any) -> Any:
    return lambda: Finding(status, members)


@pytest.mark.unit
def test_livez_touches_nothing(client: Client) -> None:
    answer = client.get("/livez")
    assert (answer.status_code, answer.content) == (200, b"ok")


@pytest.mark.unit
@pytest.mark.parametrize(
    ("statuses", "overall", "http"),
    [
        (("ok", "ok"), "ok", 200),
        (("ok", "degraded"), "degraded", 200),
        (("fail", "degraded"), "fail", 503),
    ],
)
def test_worst_probe_decides(
    client: Client, probes: dict[str, Any], statuses: tuple[health.Status, ...], overall: str, http: int
) -> None:
    del probes
    for number, status in enumerate(statuses):
        health.register(f"p{number}", finding(status))
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (http, overall)


@pytest.mark.unit
@pytest.mark.parametrize(("on_error", "http"), [("fail", 503), ("degraded", 200)])
def test_probe_that_raises_says_its_word_for_that(
    client: Client, probes: dict[str, Any], on_error: health.Status, http: int
) -> None:
    del probes

    def broken() -> Finding:
        raise OSError("canary")

    health.register("x", broken, on_error=on_error)
    answer = client.get("/readyz?verbose")
    assert (answer.status_code, answer.json()["x"]) == (http, {"error": "OSError"})
    assert b"canary" not in answer.content


@pytest.mark.unit
def test_probe_that_hangs_costs_a_second_and_fails(client: Client, probes: dict[str, Any]) -> None:
    del probes

    def slow() -> Finding:
        time.sleep(2.5)
        return Finding("ok")

    health.register("slow", slow)
    started = time.monotonic()
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert time.monotonic() - started < 1.5
    assert client.get("/livez").status_code == 200


@pytest.mark.unit
@pytest.mark.parametrize(
    ("query", "extra", "sees"),
    [
        ("?verbose", {}, True),
        ("", {}, False),
        ("?verbose", {"REMOTE_ADDR": "9.9.9.9"}, False),
        ("?verbose", {"REMOTE_ADDR": "nonsense"}, False),
        ("?verbose", {"HTTP_X_FORWARDED_FOR": "127.0.0.1"}, False),
    ],
)
def test_details_are_for_allowed_networks(
    client: Client,
    probes: dict[str, Any],
    query: str,
    extra: dict[str, Any],
    sees: bool,  # noqa: FBT001 - a parameter of the table
) -> None:
    del probes
    health.register("ledger", finding("ok", mode="active", size=5))
    document = client.get(f"/readyz{query}", **extra).json()
    assert document["checks"] == {"ledger": "ok"}
    assert ("ledger" in document, "version" in document) == (sees, sees)


@pytest.mark.db
@pytest.mark.django_db(databases=["default", "direct"])
def test_running_installation_is_ready_and_started(client: Client) -> None:
    redis_module.client.cache_clear()
    ready, started = client.get("/readyz?verbose"), client.get("/startupz?verbose")
    assert ready.status_code == 200, ready.content
    assert ready.json()["checks"]["db"] == ready.json()["checks"]["migrations"] == "ok"
    assert started.json()["checks"] == {"migrations": "ok", "hash": "ok", "clock": "ok"}
    redis_module.client.cache_clear()


@pytest.mark.db
@pytest.mark.django_db(databases=["default", "direct"])
def test_missing_migration_is_not_ready(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = health._migrations_on_disk() | {("ledger", "9999_not_there")}
    monkeypatch.setattr(health, "_migrations_on_disk", lambda: wanted)
    answer = client.get("/readyz?verbose")
    assert answer.status_code == 503
    assert answer.json()["migrations"] == {"missing": ["ledger.9999_not_there"]}
    assert client.get("/startupz").status_code == 503


@pytest.mark.unit
def test_without_redis_reads_go_on(client: Client, settings: Any, probes: dict[str, Any]) -> None:
    del probes
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    redis_module.client.cache_clear()
    health.register("redis", health._redis, on_error="degraded")
    assert (client.get("/readyz").status_code, client.get("/readyz").json()["status"]) == (200, "degraded")
    redis_module.client.cache_clear()


@pytest.mark.unit
def test_full_disk_is_told(settings: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ECP_STATE_DIR = tmp_path / "not" / "yet"
    assert health._disk().members["free_share"] >= 0
    monkeypatch.setattr(health, "MIN_FREE_SHARE", 1.1)
    assert health._disk().status == "degraded"


@pytest.mark.db
@pytest.mark.django_db(databases=["direct"])
def test_clock_far_from_the_database_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "MAX_CLOCK_SKEW_S", timedelta(microseconds=-1).total_seconds())
    assert health._clock().status == "fail"
