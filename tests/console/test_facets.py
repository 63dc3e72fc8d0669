"""Counts beside a list: what they count, where they lead, what they cost, and when they do not come."""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from ledger.models import Membership, Role
from ledger.selectors import facets
from tests.console.desk import DECISIONS, ENTRIES, annotation, decision, record, shown, signed_in
from tests.console.slow import locked_search
from tests.console.test_lists import positions
from tests.people import machine, person

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from ledger.models import Entry
    from tests.people import People

pytestmark = pytest.mark.db
ADVISED = {"advice_id": "019aaaaa-0000-7000-8000-000000000001", "level": "high"}


@pytest.fixture
def entries(people: People) -> list[Entry]:
    machine(people.acme, "stock-bot")
    made = record(
        people.log,
        *[decision("Lowered the price of the lamp.", zone="operator") for _ in range(3)],
        decision("Raised the price of the carpet.", zone="uncertain"),
        decision("Ordered forty kettles.", agent="stock-bot", zone="uncertain"),
        decision(
            "Ordered fifty kettles.",
            agent="stock-bot",
            advisory=ADVISED | {"bypassed": True, "bypass_reason": "The offer ended within the hour."},
        ),
    )
    return made + record(people.log, annotation(made[0], "Sales of the lamp rose within a week."))


def counted(user: User, path: str = DECISIONS, **query: str) -> dict[str, dict[str, int]]:
    """Facet -> value -> count, as the fragment shows them."""
    page = shown(user, f"{path}facets/", **query)
    return {
        key: {
            value: int(count.replace(",", ""))
            for value, count in re.findall(
                r'<bdi>([^<]*)</bdi>[^<]*<span class="count">([0-9,]+)</span>', part
            )
        }
        for key, part in re.findall(r'<h2 id="facet-(\w+)">(.*?)</ul>', page, re.DOTALL)
    }


def links(page: str, key: str) -> dict[str, str]:
    part = re.search(rf'<h2 id="facet-{key}">(.*?)</ul>', page, re.DOTALL)
    assert part is not None
    found = re.findall(r'<a href="\?([^"]*)"[^>]*><bdi>([^<]*)</bdi>', part[1])
    return {value: unescape(address) for address, value in found}


def test_counts_are_those_of_the_matches(entries: list[Entry], people: People) -> None:
    assert len(entries) == 7
    assert counted(people.ben) == {
        "agent": {"pricing-bot": 4, "stock-bot": 2},
        "friction": {"low": 0, "medium": 0, "high": 1},
        "zone": {"manufacturer": 0, "operator": 3, "uncertain": 2},
        "bypassed": {"yes": 1, "no": 0},
    }


def test_active_facet_counts_what_its_other_values_would_find(entries: list[Entry], people: People) -> None:
    assert entries
    found = counted(people.ben, q="zone:uncertain agent:stock-bot")
    assert found["zone"] == {"manufacturer": 0, "operator": 0, "uncertain": 1}
    assert found["agent"] == {"pricing-bot": 1, "stock-bot": 1}
    assert found["friction"] == {"low": 0, "medium": 0, "high": 0}


def test_every_count_is_the_length_of_the_list_it_leads_to(entries: list[Entry], people: People) -> None:
    assert entries
    found = counted(people.ben, q="-agent:nobody")
    page = shown(people.ben, f"{DECISIONS}facets/", q="-agent:nobody")
    for key, values in found.items():
        for value, count in values.items():
            rows = shown(people.ben, f"{DECISIONS}?{links(page, key)[value]}")
            assert len(positions(rows)) == count, (key, value)


def test_chosen_value_is_marked_and_its_link_drops_it(entries: list[Entry], people: People) -> None:
    assert entries
    page = shown(people.ben, f"{DECISIONS}facets/", q="-carpet zone:operator,uncertain", n="25")
    assert page.count('aria-current="true"') == 2
    assert links(page, "zone")["operator"] == "log=acme&q=-carpet+zone%3Auncertain&n=25"
    assert links(page, "zone")["manufacturer"] == "log=acme&q=-carpet+zone%3Amanufacturer&n=25"
    assert links(page, "agent")["stock-bot"] == (
        "log=acme&q=-carpet+zone%3Aoperator%2Cuncertain+agent%3Astock-bot&n=25"
    )


def test_all_entries_are_counted_by_kind_too(entries: list[Entry], people: People) -> None:
    assert entries
    found = counted(people.ben, ENTRIES)
    assert found["kind"] == {"ecp.decision/1": 6, "ecp.annotation/1": 1}
    assert found["agent"] == {"pricing-bot": 4, "stock-bot": 2}


def test_window_that_is_full_says_so(
    entries: list[Entry], people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert entries
    assert "Counts are of all 6 matches." in shown(people.ben, f"{DECISIONS}facets/")
    monkeypatch.setattr(facets, "WINDOW", 2)
    assert "Counts are of the newest 2 matches." in shown(people.ben, f"{DECISIONS}facets/")
    assert counted(people.ben)["agent"] == {"stock-bot": 2}


def test_counts_hold_for_the_size_that_the_list_shows(entries: list[Entry], people: People) -> None:
    assert entries
    assert counted(people.ben, as_of="4")["agent"] == {"pricing-bot": 4}


def test_only_ten_agents_are_named_and_any_other_can_be_typed(people: People) -> None:
    names = [f"bot-{number:02}" for number in range(12)]
    for name in names:
        machine(people.acme, name)
    record(people.log, *[decision(agent=name) for name in names for _ in range(2 if name == "bot-11" else 1)])
    page = shown(people.ben, f"{DECISIONS}facets/")
    assert list(counted(people.ben)["agent"]) == ["bot-11", *names[:9]]
    assert '<option value="bot-10">' in page
    assert f'<form method="get" action="{DECISIONS}">' in page


def test_without_script_a_link_shows_the_counts_in_the_page(entries: list[Entry], people: People) -> None:
    assert entries
    page = shown(people.ben, DECISIONS, q="lamp")
    assert 'class="count"' not in page
    assert links(page, "zone")["operator"] == "log=acme&q=lamp+zone%3Aoperator"
    assert 'href="?log=acme&amp;q=lamp&amp;as_of=7&amp;facets=1">Show counts' in page
    assert f'data-facets="{DECISIONS}facets/?log=acme&amp;q=lamp&amp;as_of=7"' in page
    page = shown(people.ben, DECISIONS, q="lamp", as_of="7", facets="1")
    assert "Counts are of all 3 matches." in page
    assert 'data-facets=""' in page


def test_slow_counts_leave_the_names(
    entries: list[Entry], people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert entries
    monkeypatch.setattr(facets, "TIMEOUT_MS", 50)
    with locked_search():
        page = shown(people.ben, f"{DECISIONS}facets/", q="lamp")
    assert "Counting took too long." in page
    assert page.count('<span class="count">\u2013</span>') == 10
    assert links(page, "zone")["operator"] == "log=acme&q=lamp+zone%3Aoperator"


def test_manufacturer_counts_assigned_agents_only(entries: list[Entry], people: People) -> None:
    assert entries
    maker = person("mia", people.acme, Role.MANUFACTURER)
    Membership.objects.get(user=maker).agents.add(people.acme.agents.get(slug="stock-bot"))
    assert counted(maker)["agent"] == {"stock-bot": 2}
    assert counted(maker)["zone"] == {"manufacturer": 0, "operator": 0, "uncertain": 1}
    assert "pricing-bot" not in shown(maker, f"{DECISIONS}facets/")


def statements(user: User, **query: Any) -> list[str]:
    browser = signed_in(user)
    with CaptureQueriesContext(connection) as captured:
        assert browser.get(f"{DECISIONS}facets/", query).status_code == 200
    return [found["sql"] for found in captured]


@pytest.mark.parametrize(
    ("q", "active"), [("", 0), ("lamp", 0), ("zone:operator", 1), ("zone:operator agent:x", 2)]
)
def test_each_active_facet_costs_one_query_and_the_rest_one(
    entries: list[Entry], people: People, q: str, active: int
) -> None:
    assert entries
    found = statements(people.ben, q=q)
    grouped = [statement for statement in found if "GROUPING SETS" in statement]
    assert len(grouped) == active + 1
    assert all("LIMIT 10000" in statement for statement in grouped)
    for statement in found:
        assert not re.search(r"COUNT\(|\bOFFSET\b|SELECT DISTINCT \"", statement), statement
    record(people.log, *[decision("Lowered the price of the lamp.", zone="operator") for _ in range(20)])
    assert len(statements(people.ben, q=q)) == len(found)


def test_fragment_takes_nothing_but_reading(entries: list[Entry], people: People) -> None:
    assert entries
    assert signed_in(people.ben).post(f"{DECISIONS}facets/").status_code == 405


def test_manufacturer_without_agents_counts_nothing(entries: list[Entry], people: People) -> None:
    assert entries
    counts = counted(person("max", people.acme, Role.MANUFACTURER))
    assert set(counts["zone"].values()) <= {0}
