"""The append path through HTTP: stored, answered again, refused, signed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.ids import new_uuid7
from ledger.core.proof import verify_proof
from ledger.keys import verifiers
from ledger.models import Entry, Head

if TYPE_CHECKING:
    from django.test import Client

    from ledger.checkpointer import Checkpointer
    from ledger.core.note import Verifier
    from tests.people import People

pytestmark = pytest.mark.db

URL = "/api/v1/decisions/"


def decision(**members: Any) -> dict[str, Any]:
    return {
        "id": new_uuid7(utc_now()),
        "agent": "pricing-bot",
        "action": "price.change",
        "explanation": "Lowered the price of a slow-selling lamp by 5 %.",
    } | members


def post(client: Client, people: People, document: Any, **headers: Any) -> Any:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return client.post(URL, body, content_type="application/json", **people.ada_agent.headers, **headers)


def key_of(people: People, settings: Any) -> Verifier:
    return verifiers(settings.ECP_LOG_PUBLIC_KEYS, people.log.origin)[0]


def test_new_decision_is_201_with_a_logged_receipt(client: Client, people: People) -> None:
    answer = post(client, people, decision())
    assert answer.status_code == 201, answer.content
    assert answer.json()["status"] == "logged"
    assert answer.json()["seq"] == 0
    assert Head.objects.get(log=people.log).size == 1


def test_same_record_again_is_200_with_the_old_receipt(client: Client, people: People) -> None:
    document = decision(context={"amount": 12.5, "customer": "Erika"})
    first, second = post(client, people, document), post(client, people, document)
    assert (first.status_code, second.status_code) == (201, 200), second.content
    assert second.headers["Idempotency-Replayed"] == "true"
    assert second.json()["leaf_hash"] == first.json()["leaf_hash"]
    assert Entry.objects.count() == 1


def test_same_id_with_other_content_is_409(client: Client, people: People) -> None:
    document = decision()
    post(client, people, document)
    answer = post(client, people, document | {"explanation": "Something else was decided here."})
    assert answer.status_code == 409
    assert answer.json()["code"] == "id_reused"
    assert answer.json()["seq"] == 0


def test_receipt_verifies_after_the_checkpoint(
    client: Client, people: People, checkpointer: Checkpointer, settings: Any
) -> None:
    ids = [post(client, people, decision()).json()["id"] for _ in range(5)]
    assert checkpointer.turn() == 1
    for uid in ids:
        receipt = client.get(f"{URL}{uid}/receipt/", **people.ada_agent.headers).json()
        entry = client.get(f"{URL}{uid}/public/", **people.ada_agent.headers).content
        assert receipt["status"] == "signed"
        assert verify_proof(receipt["tlog_proof"], entry, key_of(people, settings)).size == 5


def test_private_context_is_sealed_and_not_in_the_entry(client: Client, people: People) -> None:
    document = decision(context={"customer": "Erika Mustermann"}, explanation_detail="She wrote on Monday.")
    uid = post(client, people, document).json()["id"]
    public = client.get(f"{URL}{uid}/public/", **people.ada_agent.headers).content
    assert b"Erika" not in public
    assert b"Monday" not in public
    assert [part["ptr"] for part in json.loads(public)["stmt"]["sealed"]] == [
        "/context/customer",
        "/explanation_detail",
    ]


def test_stranger_sees_404_and_agent_cannot_speak_for_another(client: Client, people: People) -> None:
    uid = post(client, people, decision()).json()["id"]
    answer = client.get(f"{URL}{uid}/", **people.eve_agent.headers)
    assert answer.status_code == 404
    answer = post(client, people, decision(agent="eve-bot"))
    assert (answer.status_code, answer.json()["code"]) == (403, "agent_not_allowed")


def test_batch_of_600_lines_is_one_run_of_positions(
    client: Client, people: People, checkpointer: Checkpointer
) -> None:
    lines = b"".join(json.dumps(decision()).encode() + b"\n" for _ in range(600))
    answer = client.post(
        f"{URL}batch/", lines, content_type="application/x-ndjson", **people.ada_agent.headers
    )
    assert answer.status_code == 200, answer.content[:500]
    results = [json.loads(line) for line in answer.content.splitlines()]
    assert [result["seq"] for result in results] == list(range(600))
    assert checkpointer.turn() == 1
    page = client.get(f"{URL}?page_size=200", **people.ada_agent.headers).json()
    assert len(page["results"]) == 200
    assert page["results"][0]["seq"] == 599
