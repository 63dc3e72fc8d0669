"""What all pages share: sign-in, menu, headers, sound HTML, and the page of a problem."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from tests.console.desk import CONSOLE, annotation, decision, record, record_path, shown, signed_in
from tests.people import person

if TYPE_CHECKING:
    from ledger.checkpointer import Checkpointer
    from tests.people import People

pytestmark = pytest.mark.db

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
MENU = [
    "Decisions",
    "All entries",
    "Agents",
    "Integrity",
    "Agent keys",
    "API keys",
    "Organisations",
    "Memberships",
]
PAGES = (
    "",
    "analytics/",
    "help/",
    "ledger/",
    "ledger/decision/",
    "ledger/decision/?q=lamp+zone:operator&cols=organisation,bypassed,leaf_hash,annotations&facets=1",
    "ledger/decision/?q=nothing-like-this+-agent:nobody",
    "ledger/entry/",
    "ledger/staffaction/",
    "reviews/",
    "integrity/publication/",
    "views/",
    "data-subjects/",
    "context-policy/",
    "reveal/",
    "integrity/",
    "integrity/consistency/",
    "integrity/consistency/?old=1&new=1",
    "ledger/agent/",
    "ledger/agent/add/",
    "ledger/agentkey/",
    "ledger/apikey/",
    "ledger/apikey/add/",
    "ledger/organisation/",
    "ledger/membership/",
    "ledger/membership/add/",
    "password_change/",
)


class Outline(HTMLParser):
    """Opens and closes elements as the HTML does, and keeps what a reader of the page relies on."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.ids: list[str] = []
        self.labelled: set[str] = set()
        self.fields: list[tuple[str, dict[str, str | None]]] = []
        self.count: dict[str, int] = {}
        self.attributes: set[str] = set()
        self.feed(page)
        self.faults += [f"<{name}> is never closed" for name in self.open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.count[tag] = self.count.get(tag, 0) + 1
        self.attributes.update(given)
        if len(given) != len(attrs):
            self.faults.append(f"<{tag}> has an attribute twice")
        if given.get("id"):
            self.ids.append(str(given["id"]))
        if tag == "label" and given.get("for"):
            self.labelled.add(str(given["for"]))
        is_within_label = "label" in self.open
        if (
            tag in {"input", "select", "textarea"}
            and not is_within_label
            and given.get("type") not in {"hidden", "submit"}
        ):
            self.fields.append((tag, given))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open[-1] in {"option", "p", "li"} and self.open[-1] != tag:
            self.open.pop()  # their end tags may be left out
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> closes nothing, at {self.getpos()}")


def check(page: str) -> None:
    found = Outline(page)
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert found.faults == []
    assert len(found.ids) == len(set(found.ids)), sorted(found.ids)
    assert (found.count["h1"], found.count["main"], found.count["title"]) == (1, 1, 1)
    assert [name for name in found.attributes if name.startswith("on") or name == "style"] == []
    assert found.count.get("style", 0) == 0
    nameless = [
        given
        for _, given in found.fields
        if given.get("id") not in found.labelled and not given.get("aria-label") and not given.get("title")
    ]
    assert nameless == []


@pytest.fixture
def adam_sees(people: People, checkpointer: Checkpointer) -> People:
    record(people.log, decision("Lowered the price of the lamp.", zone="operator"))
    checkpointer.turn()
    return people


@pytest.mark.parametrize("path", PAGES)
def test_pages_are_sound_html_without_inline_code(adam_sees: People, path: str) -> None:
    admin = person("adam", adam_sees.acme, "admin")
    answer = signed_in(admin).get(CONSOLE + path)
    assert answer.status_code == 200
    check(answer.content.decode())
    assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Cache-Control"].startswith(("no-store", "max-age=0, no-cache, no-store"))


def test_record_pages_are_sound_html(adam_sees: People) -> None:
    first, _ = record(
        adam_sees.log, decision("Lowered the price.", context={"customer": "Erika"}), decision()
    )
    (noted,) = record(adam_sees.log, annotation(first, "The customer was told on the phone."))
    for entry in (first, noted):
        for query in ({}, {"verify": "1"}):
            check(shown(adam_sees.ada, record_path(entry), **query))


def test_list_of_fifty_rows_stays_light(adam_sees: People) -> None:
    long = "Lowered the price, as it has been in stock for a very long time and sells slowly. " * 10
    record(adam_sees.log, *[decision(long, zone="operator", risk="high") for _ in range(50)])
    page = shown(adam_sees.ben, "/console/ledger/decision/")
    assert page.count('<td class="why">') == 50
    assert len(page.encode()) <= 120 * 1024


def test_menu_leads_with_decisions(adam_sees: People) -> None:
    page = shown(adam_sees.ada, CONSOLE)
    places = [page.index(f">{name}</a>") for name in MENU]
    assert places == sorted(places)
    assert "View site" not in page


def test_sign_in_is_asked_for_and_leads_on(adam_sees: People) -> None:
    browser = Client()
    answer = browser.get("/console/ledger/decision/")
    assert answer.headers["Location"] == "/console/login/?next=/console/ledger/decision/"
    page = browser.get(answer.headers["Location"]).content.decode()
    assert "not authorized" not in page
    form = {"username": "ben", "password": "ben walks the dog at noon", "next": "/console/ledger/decision/"}
    assert browser.post("/console/login/", form).headers["Location"] == form["next"]
    assert adam_sees.ben.is_staff


@pytest.mark.parametrize("is_superuser", [True, False])
def test_staff_without_a_membership_are_told_what_is_missing(
    fresh_process: str, *, is_superuser: bool
) -> None:
    assert fresh_process
    lone = get_user_model().objects.create_user("lone", is_staff=True, is_superuser=is_superuser)
    browser = signed_in(lone)
    for path in ("", "ledger/decision/", "integrity/", "ledger/apikey/add/"):
        assert browser.get(CONSOLE + path).status_code == 302
    page = browser.get("/console/login/").content.decode()
    assert "members of an organisation" in page


def test_people_who_are_no_staff_stay_outside(people: People) -> None:
    people.ben.is_staff = False
    people.ben.save()
    assert signed_in(people.ben).get(CONSOLE).status_code == 302


@pytest.mark.parametrize(
    ("path", "status"),
    [("nowhere/", 404), ("ledger/decision/?before=x", 400), ("ledger/decision/1/change/", 404)],
)
def test_problem_is_a_page_with_code_request_and_a_way_on(adam_sees: People, path: str, status: int) -> None:
    answer = signed_in(adam_sees.ben).get(CONSOLE + path)
    assert answer.status_code == status
    page = answer.content.decode()
    check(page)
    assert 'href="/console/"' in page
    assert answer.headers["X-Request-ID"] in page


def test_overview_tells_the_state_of_each_ledger(adam_sees: People) -> None:
    page = shown(adam_sees.ben, CONSOLE)
    assert "1 entry, all signed" in page
    assert "Umbra" not in page
    record(adam_sees.log, decision())
    assert "1 entry not signed yet" in shown(adam_sees.ben, CONSOLE)


def test_times_of_stock_pages_name_their_zone(adam_sees: People) -> None:
    page = shown(adam_sees.ben, "/console/ledger/organisation/")
    made = adam_sees.acme.created_at
    assert made.strftime("%Y-%m-%d %H:%M UTC") in page
