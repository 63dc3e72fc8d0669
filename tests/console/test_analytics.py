"""The analytics page: charts with their tables for a chosen range, and ways to the decisions behind them."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

import pytest

from ecp_project.console.rollups import keep_up
from tests.console.desk import decision, record, shown, signed_in
from tests.console.test_frame import check
from tests.people import machine

if TYPE_CHECKING:
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


def test_only_reading(acme: People) -> None:
    assert signed_in(acme.ben).post(ANALYTICS).status_code == 403
    assert signed_in(acme.ben).post("/console/help/").status_code == 403


def test_log_of_another_membership_can_be_chosen(acme: People) -> None:
    acme.ben.memberships.create(organisation=acme.other, role="viewer")
    page = shown(acme.ben, ANALYTICS, log="umbra")
    check(page)
    assert '<option value="umbra" selected>' in page
    assert "No decision from" in page
