"""The daily erasure run: approved requests of several people in one entry, and nothing while halted."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from django.core.management import call_command

from ecp_project.celery import app
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import Unavailable
from ledger import tasks
from ledger.core.entry import parse_entry
from ledger.models import Entry, ErasureBasis, ErasureRequest, SealedPart, SubjectKey, Submission
from ledger.services.erasure import erasure_approve, erasure_request
from ledger.services.erasure_run import _erase_together, erasure_run
from tests.factories.entries import decision_lines, record
from tests.people import staff_actor

if TYPE_CHECKING:
    from ledger.models import Log
    from tests.people import People

pytestmark = pytest.mark.db

ERIKA, FRANK = "erika", "frank"


@pytest.fixture
def log(people: People) -> Log:
    """Two decisions about Erika, two about Frank, one about nobody in particular."""
    for person in (ERIKA, FRANK, ERIKA, FRANK):
        record(people.log, decision_lines(1, data_subject=person, context={"note": f"about {person}"}))
    record(people.log, decision_lines(1, context={"note": "about a parcel"}))
    return people.log


def uids(log: Log) -> list[UUID]:
    return list(Entry.objects.filter(log=log).order_by("seq").values_list("uid", flat=True)[:5])


def ask_for_subject(log: Log, handle: str, *, approved: bool = True) -> ErasureRequest:
    now = utc_now()
    request = erasure_request(
        log=log,
        handle=handle,
        basis=ErasureBasis.DATA_SUBJECT_REQUEST,
        requested_by=staff_actor(1),
        now=now,
    )
    return erasure_approve(request=request, approved_by=staff_actor(2), now=now) if approved else request


def ask_for_decision(log: Log, uid: UUID, basis: str = "legal_order") -> ErasureRequest:
    request = erasure_request(log=log, uid=uid, basis=basis, requested_by=staff_actor(1), now=utc_now())
    return erasure_approve(request=request, approved_by=staff_actor(2), now=utc_now())


def test_two_people_stand_sorted_in_one_entry(log: Log) -> None:
    asked = [ask_for_subject(log, ERIKA), ask_for_subject(log, FRANK)]
    receipts = erasure_run(now=utc_now())
    assert len(receipts) == 1
    stmt = parse_entry(bytes(Entry.objects.get(log=log, seq=receipts[0].stored.seq).entry)).stmt
    assert (stmt["actor"], stmt["basis"]) == ("system:erasure", "data_subject_request")
    assert stmt["parts"] == [{"id": str(uid), "ptr": "/context/note"} for uid in sorted(uids(log)[:4])]
    assert list(SealedPart.objects.values_list("uid", flat=True)) == [uids(log)[4]]
    assert SubjectKey.objects.count() == 1
    assert list(Submission.objects.values_list("uid", flat=True)) == [uids(log)[4]]
    assert set(ErasureRequest.objects.values_list("run", flat=True)) == {UUID(stmt["run"])}
    assert stmt["requested_at"][:19] == f"{asked[0].requested_at:%Y-%m-%dT%H:%M:%S}"


def test_requests_of_one_person_alone_wait_for_the_second(log: Log) -> None:
    ask_for_subject(log, ERIKA, approved=False)
    assert erasure_run(now=utc_now()) == []
    assert SealedPart.objects.count() == 5


def test_each_basis_has_its_own_entry(log: Log) -> None:
    ask_for_subject(log, ERIKA)
    ask_for_decision(log, uids(log)[4])
    kinds = [
        parse_entry(bytes(Entry.objects.get(log=log, seq=receipt.stored.seq).entry)).stmt["basis"]
        for receipt in erasure_run(now=utc_now())
    ]
    assert kinds == ["data_subject_request", "legal_order"]


def test_key_of_a_person_stays_while_other_decisions_need_it(log: Log) -> None:
    ask_for_decision(log, uids(log)[0])
    erasure_run(now=utc_now())
    assert SealedPart.objects.filter(uid=uids(log)[2]).exists()
    assert SubjectKey.objects.count() == 3


def test_second_run_finds_nothing_left(log: Log) -> None:
    ask_for_subject(log, ERIKA)
    assert len(erasure_run(now=utc_now())) == 1
    assert erasure_run(now=utc_now()) == []
    done = list(ErasureRequest.objects.values_list("pk", flat=True))
    assert _erase_together(log, "data_subject_request", done, utc_now()) == []  # it read them before that run


def test_request_about_nothing_private_is_done_without_an_entry(log: Log) -> None:
    request = ask_for_subject(log, "nobody")
    assert erasure_run(now=utc_now()) == []
    request.refresh_from_db()
    assert request.run is not None


def test_halted_log_deletes_nothing_and_holds_up_no_other(log: Log, people: People) -> None:
    request, other = ask_for_subject(log, ERIKA), ask_for_subject(people.other_log, "gina")
    call_command("ledger_mode", "halt", "--log", "acme", "--reason", "An audit is under way.")
    with pytest.raises(Unavailable):
        erasure_run(now=utc_now())
    request.refresh_from_db()
    other.refresh_from_db()
    assert (request.run, SealedPart.objects.count()) == (None, 5)
    assert other.run is not None


def test_the_worker_runs_it_every_day(log: Log) -> None:
    ask_for_subject(log, ERIKA)
    tasks.run_erasures()
    assert SealedPart.objects.count() == 3
    assert app.conf.beat_schedule["ledger.erasure_run"]["task"] == "ledger.erasure_run"
