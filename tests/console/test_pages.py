"""First cut of the console: reading, searching, verifying; nobody changes an entry, strangers see nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client

from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.ids import new_uuid7
from ledger.models import Entry

if TYPE_CHECKING:
    from ledger.checkpointer import Checkpointer
    from tests.people import People

pytestmark = pytest.mark.db
LIST = "/console/ledger/decision/"


@pytest.fixture
def record(people: People, checkpointer: Checkpointer, client: Client) -> Entry:
    document = {
        "id": new_uuid7(utc_now()),
        "agent": "pricing-bot",
        "action": "price.change",
        "explanation": "<script>window.__xss=1</script> Lamp is cheaper now.",
        "context": {"customer": "Erika Mustermann"},
    }
    client.post(
        "/api/v1/decisions/",
        json.dumps(document),
        content_type="application/json",
        **people.ada_agent.headers,
    )
    checkpointer.turn()
    return Entry.objects.get()


def signed_in(user: Any) -> Client:
    browser = Client()
    browser.force_login(user)
    return browser


def test_list_shows_the_explanation_escaped(record: Entry, people: People) -> None:  # noqa: ARG001 - the caller's signature
    page = signed_in(people.ben).get(LIST).content.decode()
    assert "Lamp is cheaper now." in page
    assert "<script>window" not in page


def test_record_page_verifies_with_four_ticks(record: Entry, people: People) -> None:
    page = signed_in(people.ben).get(f"{LIST}{record.id}/change/?verify=1").content.decode()
    assert page.count("tick-pass") == 4
    assert "Verified: stored as it was recorded." in page


def test_private_context_is_for_operators_not_for_viewers(record: Entry, people: People) -> None:
    url = f"{LIST}{record.id}/change/"
    assert "Erika Mustermann" in signed_in(people.ada).get(url).content.decode()
    assert "Erika Mustermann" not in signed_in(people.ben).get(url).content.decode()


def test_stranger_gets_404_and_an_empty_list(record: Entry, people: People) -> None:
    browser = signed_in(people.eve)
    assert browser.get(f"{LIST}{record.id}/change/").status_code == 404
    assert "Lamp" not in browser.get(LIST).content.decode()


def test_nobody_changes_or_deletes_an_entry(record: Entry, people: People) -> None:
    people.eve.is_superuser = people.ada.is_superuser = True
    people.ada.save()
    browser = signed_in(people.ada)
    assert browser.post(f"{LIST}{record.id}/delete/", {"post": "yes"}).status_code == 403
    assert browser.get(f"{LIST}add/").status_code == 403
    assert Entry.objects.count() == 1


def test_position_in_the_search_box_opens_the_record(record: Entry, people: People) -> None:
    answer = signed_in(people.ben).get(LIST, {"q": "0"})
    assert answer.headers["Location"] == f"{LIST}{record.id}/change/"


@pytest.mark.parametrize("query", ["before=x", "before=1&after=2", "as_of=99999", "log=nowhere", "before=5"])
def test_bad_page_parameters_get_a_page_of_the_problem(record: Entry, people: People, query: str) -> None:  # noqa: ARG001 - the caller's signature
    answer = signed_in(people.ben).get(f"{LIST}?{query}")
    assert answer.status_code in {400, 404}
    assert answer.headers["Content-Type"].startswith("text/html")


@pytest.mark.parametrize(
    "path",
    [
        "",
        "ledger/entry/",
        "ledger/log/",
        "ledger/agent/",
        "ledger/apikey/",
        "ledger/organisation/",
        "ledger/membership/",
        "ledger/agentkey/",
    ],
)
def test_every_page_answers_without_inline_code(record: Entry, people: People, path: str) -> None:  # noqa: ARG001 - the caller's signature
    answer = signed_in(people.ada).get(f"/console/{path}")
    assert answer.status_code == 200
    page = answer.content.decode()
    assert "<style" not in page
    assert "onclick=" not in page
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
