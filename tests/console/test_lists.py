"""Lists of a log: pages by key, filters, look-ups, wrong input, empty states, and the price in queries."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from ecp_project.kernel.clock import format_time
from ledger.models import Entry, Membership, Role
from ledger.selectors import console
from tests.console.desk import (
    DECISIONS,
    ENTRIES,
    annotation,
    append,
    decision,
    record,
    record_path,
    shown,
    signed_in,
)
from tests.people import machine, person

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from ledger.checkpointer import Checkpointer
    from tests.people import People
    from tests.tampering import Flip

pytestmark = pytest.mark.db


@pytest.fixture
def entries(people: People, checkpointer: Checkpointer) -> list[Entry]:
    machine(people.acme, "stock-bot")
    advised = {"advice_id": "019aaaaa-0000-7000-8000-000000000001", "level": "high"}
    first = record(
        people.log,
        decision("Lowered the price of the lamp, as it sells slowly.", zone="operator"),
        decision("Ordered forty kettles before the holidays begin.", agent="stock-bot", action="order.place"),
        decision(
            "Raised the price of the carpet by a third.",
            zone="uncertain",
            advisory=advised | {"bypassed": True, "bypass_reason": "The offer ended within the hour."},
        ),
    )
    noted = record(people.log, annotation(first[0], "Sales of the lamp rose within a week."))
    checkpointer.turn()
    return first + noted


def texts(page: str) -> list[str]:
    return re.findall(r'<td class="why"><bdi>(.*?)</bdi>', page)


def positions(page: str) -> list[int]:
    found = re.findall(r'<td class="numeric">([0-9,]+)</td>', page)
    return [int(number.replace(",", "")) for number in found]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, [2, 1, 0]),
        ({"q": "lamp"}, [0]),
        ({"q": "price -carpet"}, [0]),
        ({"q": '"sells slowly"'}, [0]),
        ({"q": "order.place"}, [1]),
        ({"agent": "stock-bot"}, [1]),
        ({"agent": "nobody"}, []),
        ({"zone": "uncertain"}, [2]),
        ({"level": "high"}, [2]),
        ({"bypassed": "true"}, [2]),
        ({"bypassed": "true", "zone": "operator"}, []),
        ({"zone": "operator", "q": "lamp", "agent": "pricing-bot"}, [0]),
        ({"since": "2020-01-01"}, [2, 1, 0]),
        ({"since": "2020-01-01", "until": "9999-12-31T23:59:59Z"}, [2, 1, 0]),
        ({"until": "2020-01-01"}, []),
        ({"since": "2199-01-01T00:00"}, []),
    ],
)
def test_filters_narrow_the_decisions(
    entries: list[Entry], people: People, query: dict[str, str], found: list[int]
) -> None:
    assert len(entries) == 4
    assert positions(shown(people.ben, DECISIONS, **query)) == found


def test_time_filter_cuts_between_two_entries(entries: list[Entry], people: People) -> None:
    moment = format_time(entries[3].rcvd)  # the annotation came in a batch of its own
    assert positions(shown(people.ben, ENTRIES, since=moment)) == [3]
    assert positions(shown(people.ben, ENTRIES, until=moment)) == [2, 1, 0]
    assert positions(shown(people.ben, ENTRIES, since=moment, until=moment)) == []


def test_all_entries_shows_every_kind_and_can_be_narrowed_to_one(
    entries: list[Entry], people: People
) -> None:
    assert positions(shown(people.ben, ENTRIES)) == [3, 2, 1, 0]
    page = shown(people.ben, ENTRIES, kind="ecp.annotation/1")
    assert (positions(page), texts(page)) == ([3], ["Sales of the lamp rose within a week."])
    assert entries[3].action is None


def test_active_filter_is_a_chip_that_drops_it(entries: list[Entry], people: People) -> None:
    assert entries
    page = shown(people.ben, DECISIONS, zone="uncertain", agent="pricing-bot")
    assert 'href="?log=acme&amp;zone=uncertain"' in page
    assert 'href="?log=acme&amp;agent=pricing-bot"' in page
    assert 'href="?log=acme">Clear all' in page


@pytest.mark.parametrize("name", ["position", "id", "upper", "hash"])
def test_naming_a_record_opens_it(entries: list[Entry], people: People, name: str) -> None:
    entry = entries[1]
    text = {
        "position": str(entry.seq),
        "id": str(entry.uid),
        "upper": f" {str(entry.uid).upper()} ",
        "hash": bytes(entry.leaf_hash).hex(),
    }[name]
    answer = signed_in(people.ben).get(DECISIONS, {"q": text})
    assert answer.headers["Location"] == record_path(entry)


def test_naming_an_annotation_opens_it_among_all_entries(entries: list[Entry], people: People) -> None:
    answer = signed_in(people.ben).get(DECISIONS, {"q": str(entries[3].uid)})
    assert answer.headers["Location"] == f"{ENTRIES}{entries[3].id}/change/"


def test_names_of_another_organisation_find_nothing(entries: list[Entry], people: People) -> None:
    for text in (str(entries[0].uid), bytes(entries[0].leaf_hash).hex(), "0", "lamp"):
        assert texts(shown(people.eve, DECISIONS, q=text)) == []
    assert signed_in(people.eve).get(DECISIONS, {"log": "acme"}).status_code == 404


@pytest.mark.parametrize(
    ("path", "query", "problem"),
    [
        (DECISIONS, "before=x", (400, "invalid_cursor")),
        (DECISIONS, "before=1", (400, "invalid_cursor")),
        (DECISIONS, "before=99999999999999999999", (400, "invalid_cursor")),
        (DECISIONS, "before=1099511627776&after=1099511627777", (400, "invalid_cursor")),
        (DECISIONS, "as_of=5", (400, "invalid_cursor")),
        (DECISIONS, "as_of=-1", (400, "invalid_cursor")),
        (DECISIONS, "as_of=%D9%A3", (400, "invalid_cursor")),
        (DECISIONS, "log=nowhere", (404, "not_found")),
        (DECISIONS, "log=umbra", (404, "not_found")),
        (DECISIONS, "zone=moon", (400, "bad_value")),
        (DECISIONS, "level=critical", (400, "bad_value")),
        (DECISIONS, "bypassed=maybe", (400, "bad_value")),
        (DECISIONS, "since=yesterday", (400, "bad_value")),
        (DECISIONS, "since=2026-02-30", (400, "bad_value")),
        (DECISIONS, "until=2026-01-01T25:00", (400, "bad_value")),
        (DECISIONS, "q=%00", (400, "bad_value")),
        (DECISIONS, "agent=a%00b", (400, "bad_value")),
        (DECISIONS, "q=" + "a" * 513, (400, "bad_value")),
        (DECISIONS, "q=a&q=b", (400, "bad_value")),
        (DECISIONS, "colour=red", (400, "unknown_key")),
        (DECISIONS, "kind=ecp.key/1", (400, "bad_value")),
        (ENTRIES, "kind=%00", (400, "bad_value")),
    ],
)
def test_wrong_input_is_a_page_of_the_problem(
    entries: list[Entry], people: People, path: str, query: str, problem: tuple[int, str]
) -> None:
    assert entries
    answer = signed_in(people.ben).get(f"{path}?{query}")
    assert (answer.status_code, answer.headers["Content-Type"][:9]) == (problem[0], "text/html")
    assert f"<code>{problem[1]}</code>" in answer.content.decode()


@pytest.mark.parametrize(
    "q",
    ["%", "'", '"', "a'b", "((", "!&|", "<->", "\\", "💥", "\u202e", "-", "or or", "x" * 512, "0x0", "1e9"],
)
def test_any_text_can_be_searched_for(entries: list[Entry], people: People, q: str) -> None:
    assert entries
    assert "Nothing in this log fits" in shown(people.ben, DECISIONS, q=q) or q in {"-", '"'}


@pytest.fixture
def page_of_three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "PAGE", 3)


@pytest.mark.usefixtures("page_of_three")
@pytest.mark.parametrize("query", [{}, {"agent": "pricing-bot"}, {"zone": "operator"}, {"q": "same"}])
def test_walking_older_and_back_sees_each_entry_once(people: People, query: dict[str, str]) -> None:
    # One batch: all of them were received in the same microsecond, so only the position tells them apart.
    made = record(people.log, *[decision("All the same words here.", zone="operator") for _ in range(8)])
    assert len({entry.rcvd for entry in made}) == 1
    pages, step, page = [], query, ""
    for _ in range(3):
        page = shown(people.ben, DECISIONS, **step)
        record(people.log, decision("All the same words here.", zone="operator"))  # the log grows meanwhile
        pages.append(positions(page))
        step = link(page, "next")
    assert pages == [[7, 6, 5], [4, 3, 2], [1, 0]]
    assert step == {}
    assert positions(shown(people.ben, DECISIONS, **link(page, "prev"))) == [4, 3, 2]


def link(page: str, rel: str) -> dict[str, str]:
    found = re.search(rf'rel="{rel}" href="\?([^"]+)"', page)
    if found is None:
        return {}
    return dict(part.split("=", 1) for part in found[1].replace("&amp;", "&").split("&"))


def sql_of(user: User, path: str, **query: Any) -> list[str]:
    browser = signed_in(user)
    with CaptureQueriesContext(connection) as captured:
        assert browser.get(path, query).status_code == 200
    return [found["sql"] for found in captured.captured_queries]


QUERIES: list[tuple[str, dict[str, str]]] = [
    (DECISIONS, {}),
    (DECISIONS, {"agent": "pricing-bot"}),
    (DECISIONS, {"q": "lamp"}),
    (DECISIONS, {"zone": "operator", "level": "high", "bypassed": "true"}),
    (DECISIONS, {"since": "2020-01-01", "until": "2100-01-01"}),
    (ENTRIES, {}),
    (ENTRIES, {"kind": "ecp.annotation/1"}),
]


@pytest.mark.parametrize(("path", "query"), QUERIES)
def test_lists_never_count_skip_or_discover(
    entries: list[Entry], people: People, path: str, query: dict[str, str]
) -> None:
    assert entries
    for statement in sql_of(people.ben, path, **query):
        assert not re.search(r"COUNT\(|\bOFFSET\b|SELECT DISTINCT \"", statement), statement


@pytest.mark.parametrize(("path", "query"), QUERIES)
def test_a_list_takes_ten_queries_however_long_it_is(
    entries: list[Entry], people: People, path: str, query: dict[str, str]
) -> None:
    few = len(sql_of(people.ben, path, **query))
    record(
        people.log, *[decision("Lowered the price of the lamp again.", zone="operator") for _ in range(50)]
    )
    assert len(entries) == 4
    assert len(sql_of(people.ben, path, **query)) == few <= 10


def test_slow_search_is_a_problem_with_advice(
    entries: list[Entry], people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert entries
    slow = "SET LOCAL statement_timeout = '1ms'; SELECT pg_sleep(1)"
    monkeypatch.setattr(console, "SEARCH_SQL", slow)
    answer = signed_in(people.ben).get(DECISIONS, {"q": "lamp"})
    assert answer.status_code == 422
    assert "add a time range or an agent" in answer.content.decode()


def test_empty_log_says_how_to_record_the_first_decision(people: People) -> None:
    page = shown(people.ben, DECISIONS)
    assert "Nothing is recorded in this log yet" in page
    assert "curl http://testserver/api/v1/decisions/" in page
    assert "/console/ledger/apikey/" in page


def test_search_that_lags_says_so(people: People) -> None:
    append(people.log, *[decision() for _ in range(100)])
    assert "entries behind" not in shown(people.ben, DECISIONS, q="lamp")
    append(people.log, decision())
    assert "Search is 101 entries behind" in shown(people.ben, DECISIONS, q="lamp")
    assert "entries behind" not in shown(people.ben, DECISIONS)


def test_manufacturer_sees_assigned_agents_only(entries: list[Entry], people: People) -> None:
    maker = person("mia", people.acme, Role.MANUFACTURER)
    membership = Membership.objects.get(user=maker)
    assert "Nothing here that you may see." in shown(maker, DECISIONS)
    membership.agents.add(people.acme.agents.get(slug="stock-bot"))
    assert positions(shown(maker, DECISIONS)) == [1]
    assert positions(shown(maker, ENTRIES)) == [1]
    assert signed_in(maker).get(record_path(entries[0])).status_code == 404
    assert signed_in(maker).get(DECISIONS, {"q": str(entries[0].uid)}).status_code == 200


def test_agent_of_another_organisation_opens_nothing(entries: list[Entry], people: People) -> None:
    namesake = machine(people.other, "pricing-bot").agent
    maker = person("mia", people.acme, Role.MANUFACTURER)
    Membership.objects.get(user=maker).agents.add(namesake)
    assert signed_in(maker).get(record_path(entries[0])).status_code == 404


def test_entry_whose_bytes_are_broken_leaves_the_list_readable(
    entries: list[Entry], people: People, flip: Flip
) -> None:
    flip(entries[1], 0)
    page = shown(people.ben, DECISIONS)
    assert "The stored bytes are no entry any more." in page
    assert len(texts(page)) == 2
