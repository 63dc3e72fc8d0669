"""Lists of a log: pages by key, filters, look-ups, wrong input, empty states, and the price in queries."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from ecp_project.console.templatetags.console import ago
from ecp_project.kernel.clock import format_time
from ledger.models import Entry, EntrySearch, Membership, Role
from ledger.selectors import lists, matching
from ledger.selectors.query import KEYS
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
from tests.console.slow import locked_search
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
        decision(
            "Ordered forty kettles before the holidays begin.",
            agent="stock-bot",
            action="order.place",
            context={"customer": "Erika"},
        ),
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
    ("q", "found"),
    [
        ("", [2, 1, 0]),
        ("lamp", [0]),
        ("price -carpet", [0]),
        ('"sells slowly"', [0]),
        ('"slowly sells"', []),
        ("order.place", [1]),
        ("lamp or kettles", []),
        ("agent:stock-bot", [1]),
        ("agent:stock-bot,pricing-bot", [2, 1, 0]),
        ("-agent:stock-bot", [2, 0]),
        ("agent:nobody", []),
        ("action:order.place", [1]),
        ("action:order.place,price.change", [2, 1, 0]),
        ("-action:order.place", [2, 0]),
        ("zone:uncertain", [2]),
        ("zone:uncertain,operator", [2, 0]),
        ("-zone:operator", [2, 1]),
        ("zone:moon", []),
        ("friction:high", [2]),
        ("-friction:high", [1, 0]),
        ("bypassed:true", [2]),
        ("-bypassed:true", [1, 0]),
        ("bypassed:true zone:operator", []),
        ("zone:operator lamp agent:pricing-bot", [0]),
        ("organisation:acme", [2, 1, 0]),
        ("organisation:umbra", []),
        ("-organisation:acme", []),
        ("has:note", [0]),
        ("-has:note", [2, 1]),
        ("has:outcome", []),
        ("has:sealed", [1]),
        ("seq:1", [1]),
        ("seq:1..", [2, 1]),
        ("seq:..1", [1, 0]),
        ("-seq:1", [2, 0]),
        ("kind:ecp.decision/1", [2, 1, 0]),
        ("kind:ecp.annotation/1", []),
        ("-kind:ecp.annotation/1 lamp", [0]),
        ("since:2020-01-01", [2, 1, 0]),
        ("since:now-1h until:now", [2, 1, 0]),
        ("since:2020-01-01 until:9999-12-31T23:59:59Z", [2, 1, 0]),
        ("until:2020-01-01", []),
        ("-since:2020-01-01", []),
        ("-until:2020-01-01", [2, 1, 0]),
        ("since:2199-01-01T00:00:00Z", []),
    ],
)
def test_terms_narrow_the_decisions(entries: list[Entry], people: People, q: str, found: list[int]) -> None:
    assert len(entries) == 4
    assert positions(shown(people.ben, DECISIONS, q=q)) == found


@pytest.mark.parametrize(("q", "found"), [("has:note", [0]), ("-has:note", [2, 1]), ("has:outcome", [])])
def test_many_annotations_are_looked_for_entry_by_entry_and_find_the_same(
    entries: list[Entry], people: People, monkeypatch: pytest.MonkeyPatch, q: str, found: list[int]
) -> None:
    assert len(entries) == 4
    monkeypatch.setattr(matching, "FEW", -1)
    assert positions(shown(people.ben, DECISIONS, q=q)) == found


@pytest.mark.parametrize(("dense", "few"), [(1, 5_000), (100, 5_000), (100, 0)])
def test_frequent_and_rare_words_find_the_same(
    entries: list[Entry], people: People, monkeypatch: pytest.MonkeyPatch, dense: int, few: int
) -> None:
    """Walked through from the newest, taken from the index, and walked after the index found too many."""
    assert len(entries) == 4
    queries = ("lamp", "lamp -carpet", '"sales of the lamp"', "lamp agent:pricing-bot", "unheard")
    wanted = [positions(shown(people.ben, ENTRIES, q=q)) for q in queries]
    assert all(wanted[:-1])
    assert wanted[-1] == []
    monkeypatch.setattr(matching, "DENSE", dense)
    monkeypatch.setattr(matching, "FEW_HITS", few)
    assert [positions(shown(people.ben, ENTRIES, q=q)) for q in queries] == wanted


def test_time_cuts_between_two_entries(entries: list[Entry], people: People) -> None:
    moment = format_time(entries[3].rcvd)  # the annotation came in a batch of its own
    assert positions(shown(people.ben, ENTRIES, q=f"since:{moment}")) == [3]
    assert positions(shown(people.ben, ENTRIES, q=f"until:{moment}")) == [2, 1, 0]
    assert positions(shown(people.ben, ENTRIES, q=f"since:{moment} until:{moment}")) == []


def test_all_entries_shows_every_kind_and_can_be_narrowed_to_one(
    entries: list[Entry], people: People
) -> None:
    assert positions(shown(people.ben, ENTRIES)) == [3, 2, 1, 0]
    page = shown(people.ben, ENTRIES, q="kind:ecp.annotation/1")
    assert (positions(page), texts(page)) == ([3], ["Sales of the lamp rose within a week."])
    assert entries[3].action is None


def test_what_was_said_later_counts_in_filter_and_row(entries: list[Entry], people: People) -> None:
    """The list shows and filters by the projection, not by what the decision declared."""
    EntrySearch.objects.filter(entry=entries[0]).update(zone="manufacturer")
    page = shown(people.ben, DECISIONS, q="zone:manufacturer")
    assert positions(page) == [0]
    assert 'class="badge zone-manufacturer"' in page


def test_each_term_is_a_chip_that_drops_it(entries: list[Entry], people: People) -> None:
    assert entries
    page = shown(people.ben, DECISIONS, q="zone:uncertain -agent:stock-bot carpet", n="25")
    for rest in (
        "-agent%3Astock-bot+carpet",
        "zone%3Auncertain+carpet",
        "zone%3Auncertain+-agent%3Astock-bot",
    ):
        assert f'href="?log=acme&amp;q={rest}&amp;n=25"' in page
    assert 'href="?log=acme">Clear all' in page
    assert "not agent: <bdi>stock-bot</bdi>" in page


@pytest.mark.parametrize(
    ("fields", "q"),
    [
        ({"since": "2026-03-01", "until": ""}, "lamp since:2026-03-01"),
        ({"since": "", "until": ""}, "lamp"),
        ({"agent": " stock-bot "}, "lamp until:now agent:stock-bot"),
        ({"agent": "two words"}, 'lamp until:now agent:"two words"'),
    ],
)
def test_fields_of_a_form_become_terms(people: People, fields: dict[str, str], q: str) -> None:
    query = {"q": "lamp until:now", "log": "acme", "n": "25", "as_of": "0"} | fields
    answer = signed_in(people.ben).get(DECISIONS, query)
    assert answer.status_code == 302
    assert parse_qs(urlsplit(answer.headers["Location"]).query) == {"log": ["acme"], "n": ["25"], "q": [q]}


def test_field_beside_a_wrong_query_keeps_the_text(people: People) -> None:
    answer = signed_in(people.ben).get(DECISIONS, {"q": "colour:red", "agent": "bot"})
    assert answer.headers["Location"] == f"{DECISIONS}?q=colour%3Ared"


def test_words_and_logs_of_another_organisation_find_nothing(entries: list[Entry], people: People) -> None:
    for text in (str(entries[0].uid), "lamp", "agent:pricing-bot", "seq:0", "organisation:acme"):
        assert texts(shown(people.eve, DECISIONS, q=text)) == []
    assert signed_in(people.eve).get(DECISIONS, {"log": "acme"}).status_code == 404
    assert signed_in(people.eve).get(f"{DECISIONS}facets/", {"log": "acme"}).status_code == 404


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
        (DECISIONS, "n=10", (400, "invalid_cursor")),
        (DECISIONS, "n=x", (400, "invalid_cursor")),
        (DECISIONS, "cols=price", (400, "bad_value")),
        (DECISIONS, "q=friction:critical", (400, "bad_value")),
        (DECISIONS, "q=%00", (400, "bad_value")),
        (DECISIONS, "q=" + "a" * 513, (400, "query_too_long")),
        (DECISIONS, "q=a&q=b", (400, "bad_value")),
        (DECISIONS, "zone=operator", (400, "unknown_key")),
        (DECISIONS, "q=colour:red", (400, "unknown_key")),
        (ENTRIES, "q=kind:%00", (400, "bad_value")),
        (f"{DECISIONS}facets/", "q=colour:red", (400, "unknown_key")),
        (f"{DECISIONS}facets/", "as_of=5", (400, "invalid_cursor")),
        (f"{DECISIONS}facets/", "zone=operator", (400, "unknown_key")),
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
    ["%", "'", "a'b", "((", "!&|", "<->", "\\", "💥", "\u202e", "-", "or or", "x" * 512, "0x0", "1e9"],
)
def test_any_text_can_be_searched_for(entries: list[Entry], people: People, q: str) -> None:
    assert entries
    assert "Nothing in this log fits" in shown(people.ben, DECISIONS, q=q)


def test_wrong_query_keeps_the_text_marks_the_place_and_reads_no_entry(
    entries: list[Entry], people: People
) -> None:
    browser = signed_in(people.ben)
    with CaptureQueriesContext(connection) as captured:
        answer = browser.get(DECISIONS, {"q": "lamp <b>:x colour:red", "n": "25"})
    page = answer.content.decode()
    assert len(entries) == 4
    assert answer.status_code == 400
    assert 'value="lamp &lt;b&gt;:x colour:red"' in page
    assert "lamp &lt;b&gt;:x <mark>colour:red</mark>" in page
    assert all(f"<code>{key}:</code>" in page for key in KEYS)
    assert answer.headers["X-Request-ID"] in page
    assert 'href="?log=acme">To the first page' in page
    assert [found["sql"] for found in captured if re.search(r"ledger_entry", found["sql"])] == []


def test_page_that_does_not_exist_leads_to_the_first_one(entries: list[Entry], people: People) -> None:
    assert entries
    page = signed_in(people.ben).get(DECISIONS, {"q": "lamp", "before": "x"}).content.decode()
    assert 'href="?log=acme&amp;q=lamp">To the first page' in page


@pytest.fixture
def page_of_three(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setattr(lists, "PAGE_SIZES", (3, 50))
    return {"n": "3"}


@pytest.mark.parametrize(
    "q", ["", "agent:pricing-bot", "zone:operator", "same", "-zone:uncertain", "seq:..7"]
)
def test_walking_older_and_back_sees_each_entry_once(
    people: People, page_of_three: dict[str, str], q: str
) -> None:
    # One batch: all of them were received in the same microsecond, so only the position tells them apart.
    made = record(people.log, *[decision("All the same words here.", zone="operator") for _ in range(8)])
    assert len({entry.rcvd for entry in made}) == 1
    pages, step, page = [], page_of_three | {"q": q}, ""
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
    return dict(parse_qsl(unescape(found[1])))


def test_page_line_names_its_positions_and_never_a_total(entries: list[Entry], people: People) -> None:
    assert entries
    assert "3 entries, positions 2 to 0, as of size 4" in shown(people.ben, DECISIONS)
    assert "1 entry, position 1, as of size 4" in shown(people.ben, DECISIONS, q="seq:1")


def test_size_and_columns_stay_along_the_links(people: People) -> None:
    record(people.log, *[decision(f"Lowered the price, {number}.") for number in range(26)])
    query = {"n": "25", "cols": "leaf_hash,bypassed"}
    page = shown(people.ben, DECISIONS, **query)
    assert len(positions(page)) == 25
    further = link(page, "next")
    assert (further["n"], further["cols"]) == ("25", "bypassed,leaf_hash")
    assert positions(shown(people.ben, DECISIONS, **further)) == [0]
    assert 'href="?log=acme&amp;n=100&amp;cols=bypassed%2Cleaf_hash"' in page


def test_columns_come_on_request(entries: list[Entry], people: People) -> None:
    plain = shown(people.ben, DECISIONS)
    names = ("Organisation", "Bypassed", "Leaf hash", "Annotations")
    assert not any(f'<th scope="col">{name}</th>' in plain for name in names)
    page = shown(people.ben, DECISIONS, cols="organisation,bypassed,leaf_hash,annotations")
    digest = bytes(entries[0].leaf_hash).hex()
    assert f'<td class="hash">{digest[:8]}…{digest[-4:]}</td>' in page
    assert re.findall(r'<td class="number">(\d+)</td>', page) == ["0", "0", "1"]
    assert page.count("<td><bdi>Acme</bdi></td>") == 3
    assert re.findall(r"<td>(yes|no|-)</td>", page) == ["yes", "-", "-"]


@pytest.mark.parametrize(
    ("before", "shown_as"),
    [
        (timedelta(seconds=-30), "just now"),
        (timedelta(seconds=59), "just now"),
        (timedelta(minutes=3), "3 min ago"),
        (timedelta(hours=23, minutes=59), "23 h ago"),
        (timedelta(days=1), "1 day ago"),
        (timedelta(days=29), "29 days ago"),
        (timedelta(days=30), "2026-03-01"),
        (timedelta(days=-2), "2026-04-02"),
    ],
)
def test_when_is_told_at_a_glance(before: timedelta, shown_as: str) -> None:
    now = datetime(2026, 3, 31, 12, tzinfo=UTC)
    assert ago(now - before, now) == shown_as


def sql_of(user: User, path: str, **query: Any) -> list[str]:
    browser = signed_in(user)
    with CaptureQueriesContext(connection) as captured:
        assert browser.get(path, query).status_code == 200
    # The bounds of a transaction and its time limit are no queries.
    bounds = ("BEGIN", "COMMIT", "SELECT set_config('statement_timeout'")
    return [found["sql"] for found in captured.captured_queries if not found["sql"].startswith(bounds)]


QUERIES: list[tuple[str, dict[str, str]]] = [
    (DECISIONS, {}),
    (DECISIONS, {"q": "agent:pricing-bot"}),
    (DECISIONS, {"q": "lamp"}),
    (DECISIONS, {"q": "zone:operator -friction:high -bypassed:true"}),
    (DECISIONS, {"q": "since:2020-01-01 until:2100-01-01 seq:0.."}),
    (DECISIONS, {"q": "has:note -has:sealed action:price.change"}),
    (DECISIONS, {"q": "lamp", "n": "100", "cols": "annotations,leaf_hash"}),
    (DECISIONS, {"before": "1099511627780"}),
    (ENTRIES, {}),
    (ENTRIES, {"q": "kind:ecp.annotation/1"}),
    (ENTRIES, {"q": "organisation:acme -kind:ecp.key/1"}),
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


def test_slow_search_is_a_problem_that_keeps_the_filter(
    entries: list[Entry], people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert entries
    monkeypatch.setattr(lists, "TIMEOUT_MS", 50)
    with locked_search():
        answer = signed_in(people.ben).get(DECISIONS, {"q": "lamp zone:operator"})
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "<code>query_too_expensive</code>" in page
    assert "add a time range or an agent" in page
    assert 'value="lamp zone:operator"' in page
    assert 'href="?log=acme&amp;q=lamp">' in page


def test_empty_list_says_which_term_stands_in_the_way(entries: list[Entry], people: People) -> None:
    assert entries
    page = shown(people.ben, DECISIONS, q="lamp zone:moon")
    found = page[page.index("Something is found without:") :]
    assert 'href="?log=acme&amp;q=lamp">zone: <bdi>moon</bdi>' in found
    assert "Something is found without:" not in shown(people.ben, DECISIONS, q="zone:moon")
    assert "Something is found without:" not in shown(people.ben, DECISIONS, q="zone:moon agent:nobody")


def test_empty_list_of_decisions_leads_to_other_kinds(entries: list[Entry], people: People) -> None:
    assert entries
    page = shown(people.ben, DECISIONS, q="kind:ecp.annotation/1")
    assert f'href="{ENTRIES}?log=acme&amp;q=kind%3Aecp.annotation%2F1"' in page


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
