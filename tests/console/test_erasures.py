"""Erasures: asked for by one person, approved by an admin who is another, carried out by the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ecp_project.kernel.clock import utc_now
from ledger.models import ErasureRequest, Membership, SealedPart
from ledger.services.erasure import erasure_request
from ledger.services.erasure_run import erasure_run
from tests.console.desk import ROLES, decision, record, record_path, revealing, shown, signed_in
from tests.people import person

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from ledger.models import Entry
    from tests.people import People

pytestmark = pytest.mark.db
ERASURES = "/console/ledger/erasurerequest/"


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


def approve(user: Any, request: ErasureRequest) -> str:
    form = {"action": "approve", "_selected_action": [request.pk]}
    page: str = signed_in(user).post(ERASURES, form, follow=True).content.decode()
    return page


def test_another_admin_approves_and_the_run_erases(people: People, entry: Entry, adam: User) -> None:
    request = asked_by(people.ada, people, entry)
    assert "waits for an admin who did not ask for it" in shown(adam, ERASURES)
    assert f"Approved: {entry.uid}" in approve(adam, request)
    request.refresh_from_db()
    assert request.approved_by == f"staff:{Membership.objects.get(user=adam).pseudonym}"
    assert "approved, erased with the next daily run" in shown(adam, ERASURES)
    browser = revealing(people.ada, people.log)
    assert "Erika Mustermann" in browser.get(record_path(entry)).content.decode()
    erasure_run(now=utc_now())
    assert not SealedPart.objects.exists()
    assert ">erased<" in shown(adam, ERASURES)
    assert "Erika Mustermann" not in browser.get(record_path(entry)).content.decode()


def test_nobody_approves_what_he_asked_for(people: People, entry: Entry, adam: User) -> None:
    request = asked_by(adam, people, entry)
    assert "another person than the one who asked must approve" in approve(adam, request)
    request.refresh_from_db()
    assert request.approved_by == ""


@pytest.mark.parametrize("role", ROLES)
def test_operators_and_admins_look_on_and_admins_act(people: People, entry: Entry, role: str) -> None:
    request = asked_by(people.ada, people, entry)
    user = person("sam", people.acme, role)
    answer = signed_in(user).get(ERASURES)
    assert answer.status_code == (200 if role in {"operator", "admin"} else 403)
    approve(user, request)
    request.refresh_from_db()
    assert bool(request.approved_by) is (role == "admin")


def test_another_organisation_neither_sees_nor_approves(people: People, entry: Entry) -> None:
    request = asked_by(people.ada, people, entry)
    assert str(entry.uid) not in shown(people.eve, ERASURES)
    approve(people.eve, request)
    request.refresh_from_db()
    assert request.approved_by == ""


@pytest.mark.parametrize("path", ["add/", "{}/change/", "{}/delete/"])
def test_requests_are_not_edited(people: People, entry: Entry, adam: User, path: str) -> None:
    request = asked_by(people.ada, people, entry)
    answer = signed_in(adam).post(ERASURES + path.format(request.pk), {"approved_by": "me", "post": "yes"})
    assert answer.status_code == 403
