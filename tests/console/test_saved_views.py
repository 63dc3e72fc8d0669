"""Saved views: what is kept, who sees it, what owners may do, and the default of a list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ecp_project.console import saved_views
from ecp_project.console.models import SavedView
from ledger.models import Membership
from tests.console.desk import CONSOLE, DECISIONS, ENTRIES, decision, record, shown, signed_in
from tests.console.test_frame import check
from tests.people import person

if TYPE_CHECKING:
    from tests.people import People

pytestmark = pytest.mark.db
VIEWS = f"{CONSOLE}views/"
SAVE = f"{VIEWS}save/"


def save(user: Any, name: str = "High", query: str = "log=acme&q=friction%3Ahigh", **members: str) -> Any:
    return signed_in(user).post(SAVE, {"name": name, "path": DECISIONS, "query": query} | members)


def act(user: Any, view: SavedView, what: str, **members: str) -> Any:
    return signed_in(user).post(f"{VIEWS}{view.pk}/", {"act": what} | members)


def kept(user: Any, name: str = "High", **members: str) -> SavedView:
    assert save(user, name, **members).status_code == 302
    return SavedView.objects.get(owner=user, name=name)


def menu(user: Any, path: str = DECISIONS, **query: str) -> str:
    page = shown(user, path, **({"log": "acme"} | query))
    return page[page.index("Saved views") : page.index("Save this list as")]


def test_list_is_kept_without_the_place_in_it(people: People) -> None:
    answer = save(people.ben, query="log=acme&q=lamp&n=25&before=1099511627780&after=1&as_of=7&facets=1")
    view = SavedView.objects.get()
    assert (view.query, view.path, view.name) == ("log=acme&q=lamp&n=25", DECISIONS, "High")
    assert (view.organisation, view.owner, view.scope) == (people.acme, people.ben, "private")
    assert answer.headers["Location"] == f"{DECISIONS}?log=acme&q=lamp&n=25"
    assert f'href="{DECISIONS}?log=acme&amp;q=lamp&amp;n=25"' in menu(people.ben)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "https://elsewhere.example/console/ledger/decision/",
        "//elsewhere.example/",
        "/console/",
        "/console/ledger/decision/?q=x",
        "/console/ledger/decision/1/change/",
        "/console/logout/",
        "/api/v1/decisions/",
        "/console/nowhere/",
    ],
)
def test_only_lists_of_the_console_are_kept(people: People, path: str) -> None:
    assert save(people.ben, path=path).status_code == 400
    assert not SavedView.objects.exists()


@pytest.mark.parametrize(
    ("members", "status"),
    [
        ({"name": ""}, 400),
        ({"name": " \t"}, 400),
        ({"name": "a" * 61}, 400),
        ({"name": "a\0b"}, 400),
        ({"name": "a\u202eb"}, 400),
        ({"query": "q=" + "a" * 2000}, 400),
        ({"query": "q=" + "é" * 500}, 400),
        ({"query": "q=%00"}, 400),
        ({"query": "log=umbra"}, 404),
        ({"query": "log=nowhere"}, 404),
    ],
)
def test_wrong_view_is_refused(people: People, members: dict[str, str], status: int) -> None:
    assert save(people.ben, **members).status_code == status
    assert not SavedView.objects.exists()


def test_name_is_taken_once_for_each_person_and_list(people: People) -> None:
    kept(people.ben)
    assert save(people.ben).status_code == 400
    assert save(people.ben, path=ENTRIES).status_code == 302
    assert save(people.ada).status_code == 302
    other = kept(people.ben, "Other")
    assert act(people.ben, other, "rename", name="High").status_code == 400
    other.refresh_from_db()
    assert other.name == "Other"


def test_nobody_keeps_views_without_end(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved_views, "MOST", 2)
    kept(people.ben, "One")
    kept(people.ben, "Two")
    assert save(people.ben, "Three").status_code == 400


def test_view_is_its_owners_until_it_is_shared(people: People) -> None:
    view = kept(people.ben)
    assert "High" in menu(people.ben)
    assert "High" not in menu(people.ada)
    act(people.ben, view, "share")
    assert "shared by ben" in menu(people.ada)
    assert "High" not in shown(people.eve, DECISIONS)
    assert "High" not in shown(people.eve, VIEWS)
    assert "High" not in menu(people.ada, ENTRIES)
    act(people.ben, view, "unshare")
    assert "High" not in menu(people.ada)


def test_view_can_be_shared_when_it_is_saved(people: People) -> None:
    assert kept(people.ben, shared="on").scope == "team"
    assert "High" in shown(people.ada, VIEWS)


def test_view_of_an_organisation_goes_with_the_membership(people: People) -> None:
    kept(people.ben)
    Membership.objects.filter(user=people.ben).update(organisation=people.other)
    assert "High" not in shown(people.ben, VIEWS)


def test_shared_view_shows_what_the_reader_may_see(people: People) -> None:
    record(people.log, decision("Lowered the price of the lamp."))
    view = kept(people.ben, shared="on", query="log=acme&q=lamp")
    maker = person("mia", people.acme, "manufacturer")
    assert "High" in menu(maker)
    assert "lamp." not in shown(maker, DECISIONS, log="acme", q="lamp")
    assert "lamp." in signed_in(people.ada).get(view.address).content.decode()


def test_owner_renames_and_deletes(people: People) -> None:
    view = kept(people.ben)
    act(people.ben, view, "rename", name="  High   friction ")
    assert SavedView.objects.get().name == "High friction"
    act(people.ben, view, "delete")
    assert not SavedView.objects.exists()


@pytest.mark.parametrize("what", ["rename", "share", "default", "delete"])
def test_others_cannot_touch_a_view(people: People, what: str) -> None:
    view = kept(people.ben, shared="on")
    for user in (people.ada, people.eve):
        assert act(user, view, what, name="Mine").status_code == 404
    found = SavedView.objects.get()
    assert (found.name, found.scope, found.is_default) == ("High", "team", False)


def test_list_opens_with_the_default_of_its_reader(people: People) -> None:
    first, second = kept(people.ben), kept(people.ben, "Low", query="q=friction%3Alow")
    act(people.ben, first, "default")
    act(people.ben, second, "default")
    answer = signed_in(people.ben).get(DECISIONS)
    assert (answer.status_code, answer.headers["Location"]) == (302, f"{DECISIONS}?q=friction%3Alow")
    for user, path in ((people.ada, DECISIONS), (people.ben, ENTRIES), (people.ben, f"{DECISIONS}?log=acme")):
        assert signed_in(user).get(path).status_code == 200
    act(people.ben, second, "undefault")
    assert signed_in(people.ben).get(DECISIONS).status_code == 200


def test_shared_default_is_nobody_elses(people: People) -> None:
    act(people.ben, kept(people.ben, shared="on"), "default")
    assert signed_in(people.ada).get(DECISIONS).status_code == 200


def test_default_without_a_query_leads_in_no_circle(people: People) -> None:
    act(people.ben, kept(people.ben, query="as_of=0"), "default")
    assert signed_in(people.ben).get(DECISIONS).status_code == 200


def test_page_of_views_is_sound_and_reading_changes_nothing(people: People) -> None:
    check(shown(people.ben, VIEWS))
    view = kept(people.ben, "<b>High</b>", shared="on")
    for user in (people.ben, people.ada):
        page = shown(user, VIEWS)
        check(page)
        assert "&lt;b&gt;High&lt;/b&gt;" in page
    for path in (SAVE, f"{VIEWS}{view.pk}/"):
        assert signed_in(people.ben).get(path).status_code == 405
    assert act(people.ben, view, "publish").status_code == 400
