"""Annotations over HTTP: who may say what about which record, and every way in which one is refused."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections
from django.test import Client

from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.ids import new_uuid7
from ledger.core.entry import parse_entry
from ledger.models import Agent, Entry, Membership, Role
from ledger.services.operations import mode_switch
from ledger.services.projections import project_search
from tests.ledger.test_append import decision, post
from tests.people import Machine, machine, person

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from tests.people import People

pytestmark = pytest.mark.db


@pytest.fixture
def uid(client: Client, people: People) -> str:
    return str(post(client, people, decision()).json()["id"])


def annotate(uid: str, caller: Machine | User, document: Any, **headers: Any) -> Any:
    client, own = Client(), {}
    if isinstance(caller, Machine):
        own = caller.headers
    else:
        client.force_login(caller)
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return client.post(
        f"/api/v1/decisions/{uid}/annotations/", body, content_type="application/json", **own, **headers
    )


def note(**members: Any) -> dict[str, Any]:
    return {"kind": "note", "text": "The customer called about it."} | members


def refusal(answer: Any) -> tuple[int, str, str | None]:
    document = answer.json()
    return answer.status_code, document["code"], document.get("pointer")


def statement(answer: Any) -> dict[str, Any]:
    assert answer.status_code == 201, answer.content
    return parse_entry(bytes(Entry.objects.get(uid=answer.json()["id"]).entry)).stmt


# --- taken
@pytest.mark.parametrize(
    "document",
    [
        note(),
        {"kind": "correction", "text": "The discount was 4 %, not 5 %."},
        {"kind": "outcome", "text": "Sales rose within the week."},
        {"kind": "outcome", "text": "Sales rose within the week.", "status": "success"},
    ],
)
def test_operator_writes_every_kind(people: People, uid: str, document: dict[str, Any]) -> None:
    stmt = statement(annotate(uid, people.ada, document))
    pseudonym = people.ada.memberships.get().pseudonym
    assert (stmt["v"], stmt["target"], stmt["actor"]) == ("ecp.annotation/1", uid, f"staff:{pseudonym}")
    assert {name: stmt[name] for name in document} == document
    assert "ada" not in json.dumps(stmt)


def test_annotations_stand_beside_the_record_in_order(people: People, uid: str) -> None:
    for number in range(3):
        annotate(uid, people.ada_agent, note(text=f"Note number {number} about it."))
    project_search(log_id=people.log.id)
    url = f"/api/v1/decisions/{uid}/annotations/"
    found = Client().get(url, **people.ada_agent.headers).json()["results"]
    assert [row["statement"]["text"] for row in found] == [f"Note number {n} about it." for n in range(3)]
    assert Client().get(url, **people.eve_agent.headers).status_code == 404


def test_retry_with_an_id_gets_the_first_receipt_although_time_went_on(people: People, uid: str) -> None:
    document = note(id=new_uuid7(utc_now()))
    first, again = (annotate(uid, people.ada_agent, document) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200), again.content
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.json()["leaf_hash"] == first.json()["leaf_hash"]
    other = annotate(uid, people.ada_agent, document | {"text": "Something else is said here."})
    assert refusal(other) == (409, "id_reused", "/id")
    elsewhere = annotate(uid, people.ada, document)  # another actor says it
    assert refusal(elsewhere) == (409, "id_reused", "/id")


def test_id_of_a_decision_is_taken(people: People, uid: str) -> None:
    assert refusal(annotate(uid, people.ada_agent, note(id=uid))) == (409, "id_reused", "/id")


def test_equal_annotations_at_once_make_one_entry(people: People, uid: str) -> None:
    document = note(id=new_uuid7(utc_now()))

    def send(_number: int) -> int:
        try:
            return int(annotate(uid, people.ada_agent, document).status_code)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(6) as threads:
        statuses = sorted(threads.map(send, range(12)))
    assert statuses == [200] * 11 + [201]


def test_idempotency_key_is_the_id(people: People, uid: str) -> None:
    key = new_uuid7(utc_now())
    first = annotate(uid, people.ada_agent, note(), HTTP_IDEMPOTENCY_KEY=key)
    again = annotate(uid, people.ada_agent, note(id=key), HTTP_IDEMPOTENCY_KEY=f'"{key}"')
    assert (first.json()["id"], again.status_code) == (key, 200)
    differing = annotate(uid, people.ada_agent, note(id=new_uuid7(utc_now())), HTTP_IDEMPOTENCY_KEY=key)
    assert refusal(differing) == (400, "idempotency_mismatch", "/id")
    no_uuid = annotate(uid, people.ada_agent, note(), HTTP_IDEMPOTENCY_KEY="order-4711")
    assert refusal(no_uuid) == (400, "bad_value", "/id")


# --- refused for what it says
@pytest.mark.parametrize(
    ("document", "wanted"),
    [
        ({"text": "Somebody called about it."}, (400, "missing_field", "/kind")),
        ({"kind": "note"}, (400, "missing_field", "/text")),
        (note(kind="praise"), (400, "bad_value", "/kind")),
        (note(kind=None), (400, "wrong_type", "/kind")),
        (note(text="short"), (400, "explanation_too_short", "/text")),
        (note(text="\u200b" * 20), (400, "explanation_too_short", "/text")),
        (note(text="x" * 4_001), (400, "bad_value", "/text")),
        (note(text=7), (400, "wrong_type", "/text")),
        (note(text="Cafe\u0301 owner called about it."), (400, "text_not_nfc", "/text")),
        (note(text="A bell \u0007 rang while she called."), (400, "bad_text", "/text")),
        (note(status=None), (400, "wrong_type", "/status")),
        (note(status="success"), (400, "bad_value", "/status")),
        (note(kind="outcome", status="splendid"), (400, "bad_value", "/status")),
        (note(kind="correction", status="unknown"), (400, "bad_value", "/status")),
        (note(kind="outcome", status=None), (400, "wrong_type", "/status")),
        (note(id="4711"), (400, "bad_value", "/id")),
        (note(id=None), (400, "wrong_type", "/id")),
        (note(actor="system:ledger"), (400, "unknown_field", "/actor")),
        (note(target=new_uuid7(utc_now())), (400, "unknown_field", "/target")),
        (note(org="acme"), (400, "unknown_field", "/org")),
        (note(ts="2026-03-02T09:00:00.000000Z"), (400, "unknown_field", "/ts")),
        (note(v="ecp.mode/1"), (400, "unknown_field", "/v")),
        (b"[]", (400, "wrong_type", "")),
        (
            b'{"kind":"note","kind":"note","text":"Said twice, not at all."}',
            (400, "duplicate_key", "/kind"),
        ),
    ],
)
def test_refused_for_what_it_says(
    people: People, uid: str, document: Any, wanted: tuple[int, str, str]
) -> None:
    assert refusal(annotate(uid, people.ada_agent, document)) == wanted
    assert Entry.objects.count() == 1


# --- refused for who says it
def test_auditor_and_manufacturer_leave_notes_only(people: People, uid: str) -> None:
    auditor = person("fay", people.acme, Role.AUDITOR)
    maker = person("gus", people.acme, Role.MANUFACTURER)
    Membership.objects.get(user=maker).agents.add(people.ada_agent.agent)
    for user in (auditor, maker):
        assert annotate(uid, user, note()).status_code == 201
        for kind in ("correction", "outcome"):
            assert refusal(annotate(uid, user, note(kind=kind))) == (403, "role_missing", "/kind")


def test_manufacturer_sees_the_agents_assigned_to_it_only(people: People, uid: str) -> None:
    maker = person("gus", people.acme, Role.MANUFACTURER)
    assert refusal(annotate(uid, maker, note()))[:2] == (404, "not_found")


def test_viewer_admin_and_stranger_write_nothing(people: People, uid: str) -> None:
    boss = person("hal", people.acme, Role.ADMIN)
    for user in (people.ben, boss, people.eve):
        assert refusal(annotate(uid, user, note()))[:2] == (403, "role_missing")
    ivo = person("ivo", people.other, Role.OPERATOR)
    for stranger in (ivo, people.eve_agent):
        missing = annotate(new_uuid7(utc_now()), stranger, note()).json() | {"request_id": ""}
        assert annotate(uid, stranger, note()).json() | {"request_id": ""} == missing


def test_agent_annotates_its_own_records_while_it_is_active(people: People, uid: str) -> None:
    colleague = machine(people.acme, "refund-bot")
    assert refusal(annotate(uid, colleague, note()))[:2] == (404, "not_found")
    reader = machine(people.acme, "read-bot", ("decisions:read",))
    assert refusal(annotate(uid, reader, note()))[:2] == (403, "scope_missing")
    Agent.objects.filter(pk=people.ada_agent.agent.pk).update(status="retired")
    assert refusal(annotate(uid, people.ada_agent, note()))[:2] == (403, "agent_not_allowed")


def test_halted_log_takes_no_annotation(people: People, uid: str) -> None:
    mode_switch(log=people.log, to="halt", reason="The auditor is here.", actor="system:shell", now=utc_now())
    answer = annotate(uid, people.ada, note())
    assert refusal(answer)[:2] == (503, "ledger_halted")
    assert (answer.json()["proceed"], answer.headers["Retry-After"]) == (False, "60")
