"""The analytics page: charts with their tables for a chosen range, and ways to the decisions behind them."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

import pytest

from ecp_project.console.rollups import keep_up
from ecp_project.console.views import panels
from ecp_project.kernel.panels import Panel, PanelContext, Registry, Slot
from tests.console.desk import decision, record, shown, signed_in
from tests.console.test_frame import check
from tests.people import machine

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.people import People

pytestmark = pytest.mark.db
ANALYTICS = "/console/analytics/"


@pytest.fixture
def acme(people: People) -> People:
    machine(people.acme, "stock-bot")
    record(people.log, decision(), decision(), decision(agent="stock-bot", action="order.place"))
    keep_up(log_id=people.log.id)
    return people


@pytest.mark.parametrize("since", ["now-1h", "now-24h", "now-7d", "now-30d", "2020-01-01"])
def test_page_is_sound_for_every_range(acme: People, since: str) -> None:
    query = {"since": since} | ({"until": "2020-02-01"} if since == "2020-01-01" else {})
    page = shown(acme.ben, ANALYTICS, **query)
    check(page)
    assert ("3 decisions from" in page) == (since != "2020-01-01")
    assert ("No decision from 2020-01-01 00:00 to 2020-02-01 00:00 UTC." in page) == (since == "2020-01-01")


def test_points_of_the_table_add_up_to_the_total(acme: People) -> None:
    page = shown(acme.ben, ANALYTICS)
    table = re.search(r'<table class="points">.*?</table>', page, re.DOTALL)
    assert table is not None
    rows = re.findall(r'<th scope="row"><bdi>([^<]*)</bdi></th>(.*?)</tr>', table[0])
    sums = {agent: sum(map(int, re.findall(r">(\d+)</td>", cells))) for agent, cells in rows}
    assert sums == {"pricing-bot": 2, "stock-bot": 1}
    assert table[0].count('<th scope="col"') == 25


def test_an_agent_leads_to_its_decisions_of_the_range(acme: People) -> None:
    page = shown(acme.ben, ANALYTICS)
    links = re.findall(r'<a href="([^"]*)"><bdi>([^<]*)</bdi></a>', page)
    found = {}
    for url, agent in links:
        answer = signed_in(acme.ben).get(html.unescape(url))
        found[agent] = answer.content.decode().count('<td class="why">')
    assert found == {"pricing-bot": 2, "stock-bot": 1}


def contributed(
    monkeypatch: pytest.MonkeyPatch, slot: Slot, load: Callable[[PanelContext], dict[str, object]]
) -> None:
    """An app's panel, drawn by a template that shows one sentence."""
    registry = Registry()
    registry.add(Panel(slot, "app.part", 1, "", "console/_agents.html", load))
    monkeypatch.setattr(panels, "registry", registry)


@pytest.mark.parametrize(
    ("path", "slot"),
    [
        ("/console/", Slot.OVERVIEW_TILE),
        ("/console/", Slot.OVERVIEW_CHART),
        ("/console/", Slot.ATTENTION),
        (ANALYTICS, Slot.OVERVIEW_CHART),
    ],
)
def test_parts_of_apps_stand_on_the_pages_and_know_log_and_range(
    acme: People, monkeypatch: pytest.MonkeyPatch, path: str, slot: Slot
) -> None:
    seen: list[PanelContext] = []

    def load(about: PanelContext) -> dict[str, object]:
        seen.append(about)
        return {"activity": {"sentence": "Seven of twenty were bypassed.", "size": 3}}

    contributed(monkeypatch, slot, load)
    page = shown(acme.ben, path, since="2026-03-01", until="2026-03-03", full="1")
    check(page)
    assert "Seven of twenty were bypassed." in page
    assert "Nothing waits" not in page or slot is not Slot.ATTENTION
    (about,) = seen
    assert (about.log_id, str(about.since)) == (acme.log.pk, "2026-03-01 00:00:00+00:00")


@pytest.mark.parametrize("path", ["/console/", ANALYTICS])
def test_a_chart_that_fails_leaves_the_others(
    acme: People, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    def load(about: PanelContext) -> dict[str, object]:
        raise LookupError(about)

    contributed(monkeypatch, Slot.OVERVIEW_CHART, load)
    page = shown(acme.ben, path, full="1")
    check(page)
    assert "This part cannot be shown right now." in page
    assert "3 decisions from" in page


def test_only_reading(acme: People) -> None:
    assert signed_in(acme.ben).post(ANALYTICS).status_code == 405
    assert signed_in(acme.ben).post("/console/help/").status_code == 405


def test_log_of_another_membership_can_be_chosen(acme: People) -> None:
    acme.ben.memberships.create(organisation=acme.other, role="viewer")
    page = shown(acme.ben, ANALYTICS, log="umbra")
    check(page)
    assert '<option value="umbra" selected>' in page
    assert "No decision from" in page
