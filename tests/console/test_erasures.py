"""Erasures of one decision: asked for through the API, decided where those of people are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ecp_project.kernel.clock import utc_now
from ledger.models import ErasureRequest, Membership, SealedPart
from ledger.services.erasure import erasure_request, erasure_withdraw
from ledger.services.erasure_run import erasure_run
from tests.console.desk import CONSOLE, ROLES, decision, record, record_path, revealing, shown, signed_in
from tests.people import person

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from ledger.models import Entry
    from tests.people import People

pytestmark = pytest.mark.db
PLACE = "/console/data-subjects/"
REVIEWS = "/console/reviews/"


@pytest.fixture
def entry(people: People) -> Entry:
    return record(people.log, decision(context={"customer": "Erika Mustermann"}))[0]


@pytest.fixture
def adam(people: People) -> User:
    return person("adam", people.acme, "admin")


def asked_by(user: User, people: People, entry: Entry) -> ErasureRequest:
    actor = f"staff:{Membership.objects.get(user=user, organisation=people.acme).pseudonym}"
    return erasure_request(
        log=people.log, uid=entry.uid, basis="data_subject_request", requested_by=actor, now=utc_now()
    )


def approve(user: Any, request: ErasureRequest) -> Any:
    return signed_in(user).post(f"{PLACE}erasures/{request.pk}/", {"act": "approve"})


def test_another_admin_approves_and_the_run_erases(people: People, entry: Entry, adam: User) -> None:
    request = asked_by(people.ada, people, entry)
    page = shown(adam, PLACE)
    assert f'href="/console/d/{entry.uid}/"' in page
    assert "proposed, waits for an admin who did not ask for it" in page
    assert approve(adam, request).headers["Location"] == f"{PLACE}?log=acme#erasures"
    request.refresh_from_db()
    assert request.approved_by == f"staff:{Membership.objects.get(user=adam).pseudonym}"
    assert "approved, erased with the next daily run" in shown(adam, PLACE)
    browser = revealing(people.ada, people.log)
    assert "Erika Mustermann" in browser.get(record_path(entry)).content.decode()
    erasure_run(now=utc_now())
    assert not SealedPart.objects.exists()
    assert "nothing to decide" in shown(adam, PLACE)
    assert "Erika Mustermann" not in browser.get(record_path(entry)).content.decode()


def test_nobody_approves_what_he_asked_for(people: People, entry: Entry, adam: User) -> None:
    request = asked_by(adam, people, entry)
    assert "You proposed it; another admin approves." in shown(adam, PLACE)
    answer = approve(adam, request)
    assert answer.status_code == 403
    assert "another person than the one who asked must approve" in answer.content.decode()
    request.refresh_from_db()
    assert request.approved_by == ""


@pytest.mark.parametrize("role", ROLES)
def test_operators_and_admins_look_on_and_admins_act(people: People, entry: Entry, role: str) -> None:
    request = asked_by(people.ada, people, entry)
    user = person("sam", people.acme, role)
    page = signed_in(user).get(PLACE).content.decode()
    assert (str(entry.uid) in page) is (role in {"operator", "admin"})
    assert approve(user, request).status_code == (302 if role == "admin" else 403)
    request.refresh_from_db()
    assert bool(request.approved_by) is (role == "admin")


def test_another_organisation_neither_sees_nor_approves(people: People, entry: Entry) -> None:
    request = asked_by(people.ada, people, entry)
    assert str(entry.uid) not in shown(people.eve, PLACE)
    assert approve(people.eve, request).status_code == 404
    request.refresh_from_db()
    assert request.approved_by == ""


def test_overview_and_reviews_lead_to_the_one_place(people: People, entry: Entry, adam: User) -> None:
    asked_by(people.ada, people, entry)
    way = f'href="{PLACE}?log=acme#erasures"'
    assert way in shown(adam, CONSOLE)
    assert way in shown(adam, REVIEWS, tab="ledger.erasures")
    assert signed_in(adam).get("/console/ledger/erasurerequest/").status_code == 404


def test_what_was_withdrawn_waits_for_nobody(people: People, entry: Entry, adam: User) -> None:
    request = asked_by(people.ada, people, entry)
    erasure_withdraw(request=request, withdrawn_by=request.requested_by, now=utc_now())
    assert "awaits approval" not in shown(adam, CONSOLE)
    assert "Nothing waits here." in shown(adam, REVIEWS, tab="ledger.erasures")


def test_what_is_open_stands_before_what_was_decided_later(people: People, entry: Entry, adam: User) -> None:
    first = asked_by(people.ada, people, entry)
    (other,) = record(people.log, decision(context={"customer": "Max"}))
    later = asked_by(people.ada, people, other)
    erasure_withdraw(request=later, withdrawn_by=later.requested_by, now=utc_now())
    page = shown(adam, PLACE)
    assert page.index(f"request {first.pk}") < page.index(f"request {later.pk}")
