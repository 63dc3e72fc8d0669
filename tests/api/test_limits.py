"""Rate limits as callers of the ledger's endpoints meet them (SECURITY section 8)."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import REGISTRY

from ecp_project import redis as redis_module
from ecp_project.api import throttling
from ecp_project.env import Rate
from tests.ledger.test_append import URL, decision, post
from tests.people import machine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.test import Client

    from tests.people import People

pytestmark = pytest.mark.db

SLOW = Rate(1 / 3600, 1)  # one token, and the next one after the test


@pytest.fixture(autouse=True)
def limits(settings: Any) -> Iterator[Any]:
    """One call for each scope and caller, and no Redis anywhere."""
    settings.ECP_RATES = dict.fromkeys(settings.ECP_RATES, SLOW)
    settings.ECP_RUNNING = {"export": 1, "verify": 1}
    settings.ECP_WEB_PROCESSES = 1
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    redis_module.client.cache_clear()
    throttling.reset()
    yield settings
    redis_module.client.cache_clear()
    throttling.reset()


def assert_refused(answer: Any) -> None:
    assert answer.status_code == 429, answer.content
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["type"] == "urn:ecp:problem:rate_limited"
    assert int(answer.headers["Retry-After"]) >= 1


def fallbacks() -> float:
    found = (
        REGISTRY.get_sample_value("ecp_throttle_fallbacks_total", {"scope": scope})
        for scope in ("append", "append_batch", "read", "staff", "static")
    )
    return sum(value or 0 for value in found)


def test_append_is_counted_by_key_and_never_asks_redis(client: Client, people: People) -> None:
    before = fallbacks()
    colleague = machine(people.acme, "refund-bot")
    assert post(client, people, decision()).status_code == 201
    assert_refused(post(client, people, decision()))
    other = json.dumps(decision(agent="refund-bot"))
    assert client.post(URL, other, "application/json", **colleague.headers).status_code == 201
    assert fallbacks() == before


def test_batch_has_a_limit_of_its_own(client: Client, people: People) -> None:
    def batch() -> Any:
        line = json.dumps(decision())
        return client.post(f"{URL}batch/", line, "application/x-ndjson", **people.ada_agent.headers)

    assert post(client, people, decision()).status_code == 201
    assert batch().status_code == 200
    assert_refused(batch())


def test_refused_append_stores_nothing(client: Client, people: People) -> None:
    post(client, people, decision())
    document = decision()
    assert_refused(post(client, people, document))
    throttling.reset()
    assert post(client, people, document).status_code == 201


def test_reads_go_on_at_their_rate_while_redis_is_away(client: Client, people: People) -> None:
    before = fallbacks()
    assert client.get(URL, **people.ada_agent.headers).status_code == 200
    assert_refused(client.get(URL, **people.ada_agent.headers))
    assert fallbacks() == before + 2


def test_person_is_counted_as_a_person_in_reads_and_acts_together(client: Client, people: People) -> None:
    client.force_login(people.ada)
    assert client.get(URL).status_code == 200
    assert_refused(client.post("/api/v1/agents/", {"slug": "desk-bot"}, "application/json"))
    client.force_login(people.eve)
    assert client.get(URL).status_code == 200


def test_strangers_are_counted_by_address(client: Client, people: People) -> None:
    del people
    keys = "/.well-known/ecp-log-keys"
    assert client.get(keys, REMOTE_ADDR="2001:db8::1").status_code == 200
    assert_refused(client.get(keys, REMOTE_ADDR="2001:db8::2"))
    assert client.get(keys, REMOTE_ADDR="9.9.9.9").status_code == 200
    assert client.get(keys, REMOTE_ADDR="9.9.9.9", HTTP_X_FORWARDED_FOR="8.8.8.8").status_code == 429


def test_whoever_may_not_act_is_told_so_and_spends_nothing(client: Client, people: People) -> None:
    reader = machine(people.acme, "audit-bot", ("decisions:read",))
    for _ in range(3):
        refusal = client.post(URL, "{}", "application/json", **reader.headers)
        assert refusal.status_code == 403
    assert client.post(URL, "{}", "application/json").status_code == 401
    assert client.get(URL, **reader.headers).status_code == 200


def test_probes_have_no_limit(client: Client, people: People) -> None:
    del people
    assert {client.get("/livez").status_code for _ in range(5)} == {200}
    assert {client.get("/readyz").status_code for _ in range(3)} == {200}


@pytest.fixture
def export(client: Client, people: People, checkpointer: Any, limits: Any) -> str:
    """Where a log with a signed entry is exported, as often as one likes but once at a time."""
    limits.ECP_RATES = limits.ECP_RATES | {"read": Rate(100.0, 100)}
    throttling.reset()
    assert post(client, people, decision()).status_code == 201
    checkpointer.turn()
    return f"/api/v1/logs/{people.log.slug}/export.ndjson"


def test_second_export_waits_for_the_first(client: Client, people: People, export: str) -> None:
    running: Any = client.get(export, **people.ada_agent.headers)
    assert running.status_code == 200
    assert_refused(client.get(export, **people.ada_agent.headers))
    assert b"ecp.export/1" in running.getvalue()
    again: Any = client.get(export, **people.ada_agent.headers)
    assert again.status_code == 200
    again.getvalue()


@pytest.mark.parametrize("lines_read", [0, 1])
def test_client_that_goes_away_early_lets_the_next_export_run(
    client: Client, people: People, export: str, lines_read: int
) -> None:
    left: Any = client.get(export, **people.ada_agent.headers)
    assert len(list(itertools.islice(iter(left), lines_read))) == lines_read
    assert_refused(client.get(export, **people.ada_agent.headers))
    left.close()
    again: Any = client.get(export, **people.ada_agent.headers)
    assert again.status_code == 200
    again.getvalue()
