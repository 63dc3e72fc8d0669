"""What a view writes can be asked for by its media type; anything else is 406."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.ids import new_uuid7

if TYPE_CHECKING:
    from django.test import Client

    from ledger.checkpointer import Checkpointer
    from tests.people import People

NDJSON, TEXT, BYTES = "application/x-ndjson", "text/plain", "application/octet-stream"


@pytest.fixture
def uid(client: Client, people: People, checkpointer: Checkpointer) -> str:
    """One signed decision of Ada's agent."""
    record = {"id": str(new_uuid7(utc_now())), "agent": "pricing-bot", "action": "price.change",
              "explanation": "The lamp has been in stock for 90 days."}  # fmt: skip
    answer = client.post("/api/v1/decisions/", record, "application/json", **people.ada_agent.headers)
    assert answer.status_code == 201, answer.content
    checkpointer.turn()
    return str(record["id"])


@pytest.mark.parametrize(
    ("path", "served"),
    [
        ("/api/v1/decisions/{uid}/receipt/", TEXT),
        ("/api/v1/logs/acme/entries/", NDJSON),
        ("/api/v1/logs/acme/export.ndjson", NDJSON),
        ("/log/acme/checkpoint", TEXT),
        ("/log/acme/tile/0/000.p/1", BYTES),
    ],
)
def test_media_type_that_is_served_can_be_asked_for(
    client: Client, people: People, uid: str, path: str, served: str
) -> None:
    address = path.format(uid=uid)
    answer = client.get(address, HTTP_ACCEPT=served, **people.ada_agent.headers)
    assert (answer.status_code, answer.headers["Content-Type"].split(";")[0]) == (200, served)
    refused = client.get(address, HTTP_ACCEPT="application/xml", **people.ada_agent.headers)
    assert (refused.status_code, refused.json()["code"]) == (406, "not_acceptable")
