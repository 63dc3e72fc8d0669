"""An app beside the ledger: served and drawn in every place, and gone without a trace when it is left out."""

from __future__ import annotations

import re
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from ecp_project.console.views import panels as drawing
from ecp_project.kernel.panels import Slot, registry
from ledger.models import Membership, Role
from tests.console.desk import CONSOLE, DECISIONS, decision, record, record_path, shown, signed_in
from tests.console.stubs import contributed, stub
from tests.console.test_frame import check
from tests.console.test_navigation import groups
from tests.console.test_panels import failures
from tests.people import person

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ecp_project.kernel.panels import PanelContext
    from ledger.models import Entry
    from tests.people import People

pytestmark = pytest.mark.db
STUB_APP = "tests.console.stubapp"
REVIEWS = "/console/reviews/"


@pytest.fixture
def entries(people: People) -> list[Entry]:
    return record(people.log, *[decision(f"Lowered the price of lamp {number}.") for number in range(3)])


@pytest.fixture
def app(settings: Any) -> Iterator[None]:
    """The stub app among the installed ones, found as any app is: by its `panels.py`."""
    before = dict(registry._panels), dict(registry._pages)
    sys.modules.pop(f"{STUB_APP}.panels", None)
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, STUB_APP]
    yield
    for kept, now in zip(before, (registry._panels, registry._pages), strict=True):
        now.clear()  # type: ignore[attr-defined]  # both are dicts
        now.update(kept)  # type: ignore[attr-defined]  # as above


@pytest.mark.usefixtures("app")
def test_every_place_shows_what_the_app_contributes(people: People, entries: list[Entry]) -> None:
    agent = people.ada_agent.agent
    log = people.log.pk
    for path, query, texts in (
        (CONSOLE, {"full": "1"}, ["overview_tile", "overview_chart", "attention", "nav"]),
        ("/console/analytics/", {"full": "1"}, ["overview_chart"]),
        (record_path(entries[0]), {}, ["record_advice", "record_responsibility", "timeline"]),
        (f"/console/ledger/agent/{agent.pk}/change/", {}, ["agent"]),
    ):
        page = shown(people.ada, path, **query)
        check(page)
        for text in texts:
            of_agent = agent.slug if text == "agent" else ""
            assert f"stub {text} of log {log} {of_agent}" in page, (path, text)


@pytest.mark.usefixtures("app")
def test_list_has_the_app_s_column_facet_and_key(people: People, entries: list[Entry]) -> None:
    page = shown(people.ada, DECISIONS)
    check(page)
    assert '<th scope="col">Stub column</th>' in page
    assert page.count("cell of 3") == 1
    assert ">Stub facet</h2>" in page
    assert f'href="?log={people.log.slug}&amp;q=stub%3Aeven"' in page
    chosen = shown(people.ada, DECISIONS, q="stub:even")
    texts = re.findall(r"Lowered the price of lamp (\d)", chosen)
    assert sorted(texts) == [str(number) for number, entry in enumerate(entries) if entry.seq % 2 == 0]
    assert len(re.findall(r"lamp \d", shown(people.ada, DECISIONS, q="stub:even,odd"))) == 3
    both = shown(people.ada, DECISIONS, q="stub:even -stub:odd")
    assert len(re.findall(r"lamp \d", both)) == len(texts)


@pytest.mark.usefixtures("app", "entries")
def test_value_that_the_app_does_not_take_is_told_in_the_list(people: People) -> None:
    answer = signed_in(people.ada).get(DECISIONS, {"q": "stub:blue"})
    assert answer.status_code == 400
    assert "stub is odd or even" in answer.content.decode()


@pytest.mark.usefixtures("app")
def test_the_app_s_page_is_served_and_offered_to_its_role(people: People) -> None:
    page = shown(people.ada, "/console/stub/", part="second")
    check(page)
    assert "stub page, part second" in page
    assert groups(page)["Advice"] == ["Stub page"]
    assert "<h1>Stub page</h1>" in page
    assert signed_in(people.ben).get("/console/stub/").status_code == 403
    assert "Advice" not in groups(shown(people.ben, CONSOLE))
    assert signed_in(people.ada).post("/console/stub/").status_code == 405


@pytest.mark.usefixtures("app")
@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        ({"part": "none"}, 404, "there is no such part"),
        ({"part": "broken"}, 200, "This part cannot be shown right now."),
        ({"colour": "red"}, 400, "unknown_key"),
        ({"log": "umbra"}, 404, "not_found"),
    ],
)
def test_page_that_refuses_or_fails(people: People, query: dict[str, str], status: int, text: str) -> None:
    answer = signed_in(people.ada).get("/console/stub/", query)
    assert answer.status_code == status
    assert text in answer.content.decode()
    assert "secret detail" not in answer.content.decode()


def test_without_the_app_nothing_of_it_remains(people: People, entries: list[Entry], app: None) -> None:
    del app
    assert "stub" in shown(people.ada, CONSOLE)
    registry._panels = {key: row for key, row in registry._panels.items() if not key.startswith("stubapp")}
    registry._pages.clear()
    browser = signed_in(people.ada)
    for path in (CONSOLE, DECISIONS, REVIEWS, record_path(entries[0]), "/console/analytics/"):
        answer = browser.get(path)
        assert answer.status_code == 200
        assert "stub" not in answer.content.decode().lower(), path
    for path in ("/console/stub/", "/console/panel/stubapp.overview_tile/", f"{REVIEWS}?tab=stubapp.review"):
        assert browser.get(path).status_code == 404, path
    answer = browser.get(DECISIONS, {"q": "stub:even"})
    assert answer.status_code == 400
    assert "stub is no key of this search" in answer.content.decode()


def test_the_stub_contributes_to_every_slot(app: None) -> None:
    del app
    assert {panel.slot for panel in registry._panels.values() if panel.key.startswith("stubapp")} == set(Slot)


# --- fragments


@pytest.mark.usefixtures("app", "entries")
def test_overview_leaves_parts_to_be_fetched_each_by_itself(people: People) -> None:
    page = shown(people.ada, CONSOLE, since="now-7d")
    places = re.findall(r'data-part="([^"]*)"', page)
    assert len(places) == 3
    assert page.count('aria-busy="true"') == 3
    assert "full=1" in page[page.index("<noscript>") :]
    for place in places:
        address = place.replace("&amp;", "&")
        assert "since=now-7d" in address
        assert "stub " in shown(people.ada, address)


@pytest.mark.usefixtures("entries")
def test_fragment_that_has_nothing_to_show_is_empty(people: People) -> None:
    with contributed(stub(lambda _: None, slot=Slot.OVERVIEW_TILE)):
        answer = signed_in(people.ben).get("/console/panel/stub.box/")
    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.usefixtures("entries")
def test_fragment_that_fails_is_a_box_with_request_and_a_way_to_try_again(people: People) -> None:
    def broken(_: PanelContext) -> dict[str, object]:
        raise RuntimeError("secret detail")

    before = failures()
    with contributed(stub(broken, slot=Slot.OVERVIEW_TILE)):
        answer = signed_in(people.ben).get("/console/panel/stub.box/", {"since": "now-7d"})
        page = answer.content.decode()
        assert shown(people.ben, CONSOLE, full="1").count("This part cannot be shown") == 1
    assert answer.status_code == 200
    assert answer.headers["X-Request-ID"] in page
    assert "data-retry>Try again</a>" in page
    assert "/console/?log=acme&amp;since=now-7d" in page
    assert "secret detail" not in page
    assert failures() == before + 2


@pytest.mark.usefixtures("entries")
def test_slow_part_is_given_up_after_two_seconds(people: People, monkeypatch: pytest.MonkeyPatch) -> None:
    assert drawing.PATIENCE_S == 2
    monkeypatch.setattr(drawing, "PATIENCE_S", 0.02)

    def slow(_: PanelContext) -> dict[str, object]:
        time.sleep(0.03)
        return {"title": "Too late"}

    before = failures()
    with contributed(stub(slow, slot=Slot.OVERVIEW_TILE)):
        page = shown(people.ben, "/console/panel/stub.box/")
    assert "Too late" not in page
    assert "This part cannot be shown right now." in page
    assert failures() == before + 1


def test_who_may_fetch_a_part(people: People) -> None:
    tile = stub(lambda _: {"title": "x"}, slot=Slot.OVERVIEW_TILE, permission="auditor")
    with contributed(tile, stub(lambda _: {"title": "x"}, key="stub.advice")):
        assert signed_in(people.ben).get("/console/panel/stub.box/").status_code == 403
        assert signed_in(people.ben).get("/console/panel/stub.advice/").status_code == 404
        assert signed_in(people.eve).get("/console/panel/stub.box/", {"log": "acme"}).status_code == 404
        auditor = person("otto", people.acme, Role.AUDITOR)
        assert signed_in(auditor).post("/console/panel/stub.box/").status_code == 405
    assert signed_in(people.ben).get("/console/panel/stub.box/").status_code == 404


# --- parts of lists that fail


@pytest.mark.usefixtures("entries")
@pytest.mark.parametrize("slot", [Slot.LIST_COLUMN, Slot.LIST_FACET])
def test_list_stays_when_a_part_of_it_fails(people: People, slot: Slot) -> None:
    def broken(_: PanelContext) -> dict[str, object]:
        raise RuntimeError("secret detail")

    before = failures()
    with contributed(stub(broken, slot=slot)):
        page = shown(people.ben, DECISIONS)
    assert page.count('<td class="why">') == 3
    assert failures() == before + 1


@pytest.mark.usefixtures("entries")
def test_key_that_fails_spoils_its_query_alone(people: People) -> None:
    def broken(_: PanelContext) -> dict[str, object]:
        raise RuntimeError("secret detail")

    before = failures("stub.odd")
    with contributed(stub(broken, slot=Slot.QUERY_KEY, key="stub.odd")):
        answer = signed_in(people.ben).get(DECISIONS, {"q": "odd:yes"})
        assert shown(people.ben, DECISIONS).count('<td class="why">') == 3
    page = answer.content.decode()
    assert answer.status_code == 503
    assert "part_failed" in page
    assert "secret detail" not in page
    assert failures("stub.odd") == before + 1


def test_manufacturer_s_parts_know_the_assigned_agents_alone(people: People) -> None:
    maker = person("mara", people.acme, Role.MANUFACTURER)
    Membership.objects.get(user=maker).agents.add(people.ada_agent.agent)
    asked: list[PanelContext] = []
    with contributed(stub(asked.append, slot=Slot.OVERVIEW_TILE)):
        signed_in(maker).get("/console/panel/stub.box/")
    (about,) = asked
    assert about.scope.agents == frozenset({"pricing-bot"})
