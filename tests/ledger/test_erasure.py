"""Erasure against everything that happens at the same moment, and what it leaves standing."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from django.db import IntegrityError, connection, connections, transaction
from django.test import Client

from ecp_project.api.authentication import Principal
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import EcpError, Unavailable
from ecp_project.kernel.ids import new_uuid7
from ledger import sequencer
from ledger.core.decision import DecisionRecord
from ledger.core.entry import genesis, parse_entry
from ledger.core.proof import verify_proof
from ledger.models import Entry, ErasureRequest, Head, Log, SealedPart, SubjectKey, Submission
from ledger.services import sealing
from ledger.services.erasure import (
    erase_decision,
    erase_subject,
    erasure_approve,
    erasure_request,
    erasure_withdraw,
)
from ledger.services.erasure_run import erasure_run
from ledger.services.ledger import TransparencyLedger
from ledger.services.operations import mode_switch
from ledger.services.verification import verify_log
from tests.ledger.test_append import URL, decision, key_of, post
from tests.people import staff_actor

if TYPE_CHECKING:
    from collections.abc import Callable

    from ledger.checkpointer import Checkpointer
    from tests.people import People

pytestmark = pytest.mark.db


def erase(people: People, handle: str = "erika") -> Any:
    return erase_subject(
        log=people.log, handle=handle, basis="data_subject_request", actor="system:test", now=utc_now()
    )


def private(**members: Any) -> dict[str, Any]:
    return decision(context={"name": "Erika Mustermann"}, data_subject="erika", **members)


def at_once(act: Callable[[int], Any], times: int) -> list[Any]:
    def guarded(number: int) -> Any:
        try:
            return act(number)
        except EcpError as problem:
            return problem
        finally:
            connections.close_all()

    with ThreadPoolExecutor(times) as threads:
        return list(threads.map(guarded, range(times)))


def erasures(log: Log) -> list[dict[str, Any]]:
    rows = Entry.objects.filter(log=log, kind="ecp.erasure/1").order_by("seq")
    return [parse_entry(bytes(row.entry)).stmt for row in rows]


def test_no_trace_of_the_value_remains_and_the_receipt_still_verifies(
    client: Client, people: People, checkpointer: Checkpointer, settings: Any
) -> None:
    document = private(explanation_detail="Erika wrote on Monday.")
    assert post(client, people, document).status_code == 201
    checkpointer.turn()
    url = f"{URL}{document['id']}"
    before = client.get(f"{url}/receipt/", **people.ada_agent.headers).json()["tlog_proof"]
    erase(people)
    checkpointer.turn()
    after = client.get(f"{url}/receipt/", **people.ada_agent.headers).json()["tlog_proof"]
    raw = client.get(f"{url}/public/", **people.ada_agent.headers).content
    sizes = [verify_proof(proof, raw, key_of(people, settings)).size for proof in (before, after)]
    assert sizes == [1, 2]
    assert sealing.open_parts(log_id=people.log.id, origin=people.log.origin, uid=UUID(document["id"])) == []
    assert (SealedPart.objects.count(), SubjectKey.objects.count(), Submission.objects.count()) == (0, 0, 0)
    assert verify_log(log=people.log, projections=True).ok
    # The same record again cannot be told from another one any more.
    answer = post(client, people, document)
    assert (answer.status_code, answer.json()["code"]) == (409, "id_reused")


def test_second_erasure_of_the_same_records_nothing(client: Client, people: People) -> None:
    uid = UUID(post(client, people, private()).json()["id"])
    answers = at_once(
        lambda _: erase_decision(
            log=people.log, uid=uid, basis="legal_order", actor="system:test", now=utc_now()
        ),
        4,
    )
    assert sorted(len(answer) for answer in answers) == [0, 0, 0, 1]
    assert erase(people) == []
    assert len(erasures(people.log)) == 1


def test_parts_of_more_than_one_entry_are_one_run(client: Client, people: People) -> None:
    context = {f"name_{number}": f"value {number}" for number in range(30)}
    for _ in range(10):
        assert post(client, people, decision(context=context, data_subject="erika")).status_code == 201
    assert len(erase(people)) == 2
    first, second = erasures(people.log)
    assert (first["part"], second["part"], first["of"], second["of"]) == (1, 2, 2, 2)
    assert first["run"] == second["run"]
    named = [(part["id"], part["ptr"]) for part in first["parts"] + second["parts"]]
    assert (len(named), named == sorted(named)) == (300, True)


def test_subject_is_erased_in_all_logs_of_the_organisation_and_in_no_other(
    client: Client, people: People
) -> None:
    post(client, people, private())
    theirs = json.dumps(private(agent="eve-bot"))
    client.post(URL, theirs, content_type="application/json", **people.eve_agent.headers)
    with transaction.atomic(), connection.cursor() as cursor:
        second = Log.objects.create(slug="acme-e1", origin="ecp.local/log/acme-e1", organisation=people.acme)
        cursor.execute(
            "INSERT INTO ledger_head (log_id, size, tip, last_rcvd) VALUES (%s, 0, %s, now())",
            (second.id, genesis(second.origin)),
        )
    row = SealedPart.objects.get(log=people.log)
    SealedPart.objects.create(
        log=second, uid=UUID(new_uuid7(utc_now())), ptr="/context/name", subject_key_id=row.subject_key_id,
        nonce=bytes(row.nonce), ciphertext=bytes(row.ciphertext),
    )  # fmt: skip
    erase(people)
    assert list(SealedPart.objects.values_list("log_id", flat=True)) == [people.other_log.id]
    (stmt,) = erasures(people.log)
    assert len(stmt["parts"]) == 2
    assert Head.objects.get(log=second).size == 0


def test_decision_takes_the_key_only_when_nothing_else_needs_it(client: Client, people: People) -> None:
    first, second = (UUID(post(client, people, private()).json()["id"]) for _ in range(2))
    for uid, keys in ((first, 1), (second, 0)):
        erase_decision(log=people.log, uid=uid, basis="legal_order", actor="system:test", now=utc_now())
        assert SubjectKey.objects.count() == keys


def test_halted_log_erases_nothing(client: Client, people: People) -> None:
    uid = UUID(post(client, people, private()).json()["id"])
    mode_switch(log=people.log, to="halt", reason="The auditor is here.", actor="system:shell", now=utc_now())
    with pytest.raises(Unavailable):
        erase(people)
    with pytest.raises(Unavailable):
        erase_decision(log=people.log, uid=uid, basis="legal_order", actor="system:test", now=utc_now())
    assert (SealedPart.objects.count(), SubjectKey.objects.count(), Submission.objects.count()) == (1, 1, 1)


def test_appends_and_erasures_of_one_person_do_not_lock_each_other_out(people: People) -> None:
    """Both want the head and the person's key; whoever took them in another order would meet a deadlock."""

    def act(number: int) -> Any:
        if number % 4:
            return [post(Client(), people, private()).status_code for _ in range(6)]
        return [erase(people) for _ in range(3)]

    answers = at_once(act, 8)
    statuses = [answer for number, answer in enumerate(answers) if number % 4]
    assert statuses == [[201] * 6] * 6
    assert not any(isinstance(answer, EcpError) for answer in answers)
    # Whatever arrived after the last erasure opens, and nothing else is left.
    erased = {(part["id"], part["ptr"]) for stmt in erasures(people.log) for part in stmt["parts"]}
    for entry in Entry.objects.filter(log=people.log, kind="ecp.decision/1"):
        opened = sealing.open_parts(log_id=people.log.id, origin=people.log.origin, uid=entry.uid)
        assert bool(opened) != ((str(entry.uid), "/context/name") in erased)


def test_part_that_arrives_after_its_key_is_gone_belongs_to_nobody_known(people: People) -> None:
    """The record was built before the erasure and is stored after it."""
    ledger = TransparencyLedger(people.log)
    principal = Principal(kind="system", organisation_id=people.acme.id)
    now = utc_now()
    early = [
        ledger._work(DecisionRecord.from_document(private()), principal=principal, now=now) for _ in range(2)
    ]
    assert erase(people) == []  # the key goes, and no part was stored under it
    for work in early:
        sequencer.batcher.submit(ledger.ref, [work])
        (part,) = sealing.open_parts(log_id=people.log.id, origin=people.log.origin, uid=work.uid)
        assert json.loads(part.value_jcs) == "Erika Mustermann"
    assert SubjectKey.objects.filter(handle_mac__isnull=False).count() == 0
    assert erase(people) == []


def test_key_that_another_process_erased_is_not_used_again(client: Client, people: People) -> None:
    post(client, people, private())
    known_here = dict(sealing._subject_keys)
    erase(people)
    sealing._subject_keys.update(known_here)  # as in a process that has not heard of it
    first, second = (UUID(post(client, people, private()).json()["id"]) for _ in range(2))
    for uid in (first, second):
        assert sealing.open_parts(log_id=people.log.id, origin=people.log.origin, uid=uid)
    # The first was sealed anew under a key of its own, the second under the person's new one.
    assert {key.handle_mac is None for key in SubjectKey.objects.all()} == {True, False}
    assert len(erase(people)) == 1
    assert list(SealedPart.objects.values_list("uid", flat=True)) == [first]


# --- requests
def test_request_is_kept_once_and_approved_by_the_first_other_person(client: Client, people: People) -> None:
    uid = UUID(post(client, people, private()).json()["id"])
    asked = at_once(
        lambda number: erasure_request(
            log=people.log, uid=uid, basis="legal_order", requested_by=staff_actor(number), now=utc_now()
        ),
        4,
    )
    assert len({request.pk for request in asked}) == ErasureRequest.objects.count() == 1
    by = asked[0].requested_by
    with pytest.raises(EcpError, match="another person"):
        erasure_approve(request=asked[0], approved_by=by, now=utc_now())
    first, second = staff_actor(8), staff_actor(9)
    erasure_approve(request=asked[0], approved_by=first, now=utc_now())
    assert erasure_approve(request=asked[1], approved_by=second, now=utc_now()).approved_by == first
    assert [act["action"] for act in acts(people.log)] == ["erasure.propose", "erasure.approve"]


def acts(log: Log) -> list[dict[str, Any]]:
    rows = Entry.objects.filter(log=log, kind="ecp.staff/1").order_by("seq")
    return [parse_entry(bytes(row.entry)).stmt for row in rows]


def proposed(people: People, **target: Any) -> ErasureRequest:
    return erasure_request(
        log=people.log,
        basis="data_subject_request",
        reason="The person wrote to us in May.",
        requested_by=staff_actor(1),
        now=utc_now(),
        **target,
    )


def test_what_a_person_proposes_about_a_person_names_nobody(client: Client, people: People) -> None:
    post(client, people, private())
    request = proposed(people, handle="erika")
    assert proposed(people, handle="erika").pk == request.pk
    (act,) = acts(people.log)
    assert (act["action"], act["object"], act["reason"]) == (
        "erasure.propose",
        f"erasure:{request.pk}",
        "The person wrote to us in May.",
    )
    assert "erika" not in json.dumps(act)


def test_withdrawn_request_is_never_carried_out_and_may_be_made_again(client: Client, people: People) -> None:
    post(client, people, private())
    request = proposed(people, handle="erika")
    erasure_approve(request=request, approved_by=staff_actor(2), now=utc_now())
    for _ in range(2):
        erasure_withdraw(request=request, withdrawn_by=staff_actor(1), now=utc_now())
    assert erasure_run(now=utc_now()) == []
    assert SealedPart.objects.count() == 1
    with pytest.raises(EcpError, match="withdrawn"):
        erasure_approve(request=request, approved_by=staff_actor(2), now=utc_now())
    assert proposed(people, handle="erika").pk != request.pk
    verbs = [act["action"].removeprefix("erasure.") for act in acts(people.log)]
    assert verbs == ["propose", "approve", "withdraw", "propose"]


def test_what_is_erased_cannot_be_withdrawn(client: Client, people: People) -> None:
    post(client, people, private())
    request = proposed(people, handle="erika")
    erasure_approve(request=request, approved_by=staff_actor(2), now=utc_now())
    assert len(erasure_run(now=utc_now())) == 1
    with pytest.raises(EcpError, match="carried out"):
        erasure_withdraw(request=request, withdrawn_by=staff_actor(1), now=utc_now())
    assert len(acts(people.log)) == 2


def test_halted_log_takes_no_proposal_approval_or_withdrawal(client: Client, people: People) -> None:
    post(client, people, private())
    request = proposed(people, handle="erika")
    mode_switch(
        log=people.log, to="halt", reason="An audit is under way.", actor="system:test", now=utc_now()
    )
    with pytest.raises(Unavailable):
        proposed(people, handle="frank")
    with pytest.raises(Unavailable):
        erasure_approve(request=request, approved_by=staff_actor(2), now=utc_now())
    with pytest.raises(Unavailable):
        erasure_withdraw(request=request, withdrawn_by=staff_actor(1), now=utc_now())
    request.refresh_from_db()
    assert (request.approved_by, request.withdrawn_by, ErasureRequest.objects.count()) == ("", "", 1)


@pytest.mark.parametrize(
    "change",
    [
        {"approved_by": staff_actor(1), "approved_at": "now"},
        {"approved_by": staff_actor(2)},
        {"approved_at": "now"},
        {"run": UUID(int=7)},
        {"withdrawn_by": staff_actor(1)},
        {"withdrawn_at": "now"},
        {"approved_by": staff_actor(2), "approved_at": "now", "run": UUID(int=7), "withdrawn_by": "x"},
    ],
)
def test_database_refuses_what_two_people_did_not_do(
    client: Client, people: People, change: dict[str, Any]
) -> None:
    post(client, people, private())
    request = proposed(people, handle="erika")
    values = {name: utc_now() if value == "now" else value for name, value in change.items()}
    with pytest.raises(IntegrityError), transaction.atomic():
        ErasureRequest.objects.filter(pk=request.pk).update(**values)


def test_database_keeps_one_open_request_for_each_person_and_decision(client: Client, people: People) -> None:
    uid = UUID(post(client, people, private()).json()["id"])
    for request in (proposed(people, handle="erika"), proposed(people, uid=uid)):
        request.pk = None
        with pytest.raises(IntegrityError), transaction.atomic():
            request.save(force_insert=True)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"basis": "legal_order"}, 202, None),
        ({"basis": "because"}, 400, "bad_value"),
        ({"basis": None}, 400, "bad_value"),
        ({}, 400, "bad_value"),
        ({"basis": "legal_order", "now": True}, 400, "bad_value"),
    ],
)
def test_request_over_http(
    client: Client, people: People, body: dict[str, Any], status: int, code: str | None
) -> None:
    uid = post(client, people, private()).json()["id"]
    staff = Client()
    staff.force_login(people.ada)
    answer = staff.post(f"{URL}{uid}/erase/", json.dumps(body), content_type="application/json")
    assert answer.status_code == status, answer.content
    assert answer.json().get("code") == code
    assert ErasureRequest.objects.exists() == (status == 202)
    assert SealedPart.objects.count() == 1
