"""What a decision is answered with beside its receipt: lint warnings, and the rules of idempotency."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.ids import is_uuid7, new_uuid7
from ledger.models import Entry
from tests.ledger.signing import JSON, NDJSON, results
from tests.ledger.test_append import URL, decision, post

if TYPE_CHECKING:
    from django.test import Client

    from tests.people import People

pytestmark = pytest.mark.db


def record(**members: Any) -> dict[str, Any]:
    """A record without an id."""
    return {name: value for name, value in decision(**members).items() if name != "id"}


# --- lint
@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"explanation": "Abgelehntwegenunvollständigkeit"}, "single word"),
        ({"explanation": "aaa aaa aaa aaa"}, "distinct letters"),
        ({"explanation": "Refunded, as erika@example.org asked for it."}, "e-mail"),
        ({"explanation": "Refunded after a call from +49 170 1234567."}, "phone"),
        ({"explanation": "Refunded to DE89 3704 0044 0532 0130 00 at once."}, "IBAN"),
        ({"context": {"is_ill": True, "amount": 3}}, "context.is_ill"),
    ],
)
def test_lint_warns_and_refuses_nothing(
    client: Client, people: People, members: dict[str, Any], words: str
) -> None:
    document = decision(**members)
    first, again = post(client, people, document), post(client, people, document)
    for answer, status in ((first, 201), (again, 200)):
        assert answer.status_code == status, answer.content
        assert any(words in warning for warning in answer.json()["warnings"])
    stored = bytes(Entry.objects.get().entry)
    assert b"warnings" not in stored
    receipt = client.get(f"{URL}{document['id']}/receipt/", **people.ada_agent.headers).json()
    assert "warnings" not in receipt


def test_good_record_has_no_warnings_member(client: Client, people: People) -> None:
    assert "warnings" not in post(client, people, decision(context={"amount": 3})).json()


def test_boolean_with_a_rule_gives_no_warning(client: Client, people: People, settings: Any) -> None:
    people.acme.context_policy = {"*": "strict@1"}
    people.acme.save()
    assert "warnings" not in post(client, people, decision(context={"is_ill": True})).json()
    del settings


def test_lines_of_a_batch_are_warned_of_alone(client: Client, people: People) -> None:
    lines = [decision(), decision(explanation="aaa aaa aaa aaa"), decision(explanation="short")]
    body = "\n".join(map(json.dumps, lines))
    answer = client.post(f"{URL}batch/", body, content_type=NDJSON, **people.ada_agent.headers)
    told = results(answer)
    assert [line["status"] for line in told] == [201, 201, 400]
    assert ["warnings" in line for line in told] == [False, True, False]


def test_waiting_for_the_signature_keeps_the_warnings(client: Client, people: People) -> None:
    answer = post(client, people, decision(explanation="aaa aaa aaa aaa"), HTTP_PREFER="wait=1")
    assert answer.status_code == 201
    assert answer.headers["Preference-Applied"] == "wait=1"
    assert len(answer.json()["warnings"]) == 1


# --- idempotency
def test_header_is_the_id_of_a_record_without_one(client: Client, people: People) -> None:
    key, document = new_uuid7(utc_now()), record()
    first = post(client, people, document, HTTP_IDEMPOTENCY_KEY=key)
    quoted = post(client, people, document, HTTP_IDEMPOTENCY_KEY=f'"{key}"')
    in_body = post(client, people, document | {"id": key})
    assert [first.status_code, quoted.status_code, in_body.status_code] == [201, 200, 200]
    assert {answer.json()["id"] for answer in (first, quoted, in_body)} == {key}
    assert quoted.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers


def test_header_and_body_must_agree(client: Client, people: People) -> None:
    document = decision()
    same = post(client, people, document, HTTP_IDEMPOTENCY_KEY=document["id"])
    assert same.status_code == 201
    for value in (document["id"], 7, None):
        answer = post(client, people, document | {"id": value}, HTTP_IDEMPOTENCY_KEY=new_uuid7(utc_now()))
        assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_mismatch")
        assert answer.json()["pointer"] == "/id"


@pytest.mark.parametrize(
    "key", ["order-4711", "", '""', "019B0A2C-4E00-7000-8000-000000000003", "\u00e4" * 36]
)
def test_header_must_be_a_uuid_of_version_7(client: Client, people: People, key: str) -> None:
    answer = post(client, people, record(), HTTP_IDEMPOTENCY_KEY=key)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_value")
    assert answer.json()["pointer"] == "/id"
    assert not Entry.objects.exists()


def test_without_any_id_a_retry_is_a_new_decision(client: Client, people: People) -> None:
    document = record()
    ids = {post(client, people, document).json()["id"] for _ in range(2)}
    assert len(ids) == 2
    assert all(map(is_uuid7, ids))


def test_batch_line_needs_its_own_id_whatever_the_header_says(client: Client, people: People) -> None:
    answer = client.post(
        f"{URL}batch/",
        json.dumps(record()),
        content_type=NDJSON,
        HTTP_IDEMPOTENCY_KEY=new_uuid7(utc_now()),
        **people.ada_agent.headers,
    )
    (line,) = results(answer)
    assert (answer.status_code, line["status"], line["pointer"]) == (207, 400, "/id")
    assert line["type"] == "urn:ecp:problem:missing_field"


def test_member_order_and_white_space_make_no_other_record(client: Client, people: People) -> None:
    document = decision(context={"b": 1.0, "a": [1, 2]})
    assert post(client, people, document).status_code == 201
    turned = dict(reversed(list(document.items()))) | {"context": {"a": [1, 2], "b": 1}}
    again = post(client, people, json.dumps(turned, indent=3).encode())
    assert again.status_code == 200
    other = post(client, people, document | {"context": {"b": 1.5, "a": [1, 2]}})
    assert (other.status_code, other.json()["code"]) == (409, "id_reused")


def test_id_counts_within_a_log_only(client: Client, people: People) -> None:
    """Another organisation's id is neither taken nor revealed."""
    document = decision()
    assert post(client, people, document).status_code == 201
    answer = client.post(
        URL,
        json.dumps(document | {"agent": "eve-bot"}),
        content_type=JSON,
        **people.eve_agent.headers,
    )
    assert answer.status_code == 201
