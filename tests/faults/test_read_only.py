"""A database that takes no writes, as after a failover: reads go on, writes are 503 and never 500."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from django.db import connection
from django.db.models import F

from ledger.models import ApiKey
from tests.ledger.test_append import URL, decision, post

if TYPE_CHECKING:
    from django.test import Client

    from tests.people import People

pytestmark = pytest.mark.db


@pytest.fixture
def stored(client: Client, people: People) -> str:
    """Id of a decision; afterwards nothing can be written, and the use of the key would be noted again."""
    client.force_login(people.ada)
    uid = str(post(client, people, decision()).json()["id"])
    ApiKey.objects.update(last_used_at=F("last_used_at") - timedelta(hours=1))
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")
    return uid


@pytest.mark.parametrize("path", ["", "{uid}/", "{uid}/public/", "{uid}/receipt/", "{uid}/annotations/"])
def test_reads_go_on_although_the_use_of_the_key_cannot_be_noted(
    path: str, client: Client, people: People, stored: str
) -> None:
    assert client.get(URL + path.format(uid=stored), **people.ada_agent.headers).status_code == 200


def test_annotation_is_refused_as_by_a_halted_ledger(client: Client, people: People, stored: str) -> None:
    body = json.dumps({"kind": "note", "text": "Nothing can be written now."})
    answer = client.post(
        f"{URL}{stored}/annotations/", body, content_type="application/json", **people.ada_agent.headers
    )
    assert (answer.status_code, answer.json()["code"]) == (503, "ledger_halted")
    assert answer.headers["Retry-After"] == "5"


def test_request_for_an_erasure_is_refused(client: Client, people: People, stored: str) -> None:
    del people
    answer = client.post(
        f"{URL}{stored}/erase/", json.dumps({"basis": "legal_order"}), content_type="application/json"
    )
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    assert answer.headers["Retry-After"] == "5"
