"""No list of entries counts, skips or discovers, whatever is asked of it (CONSOLE sections 4.1 and 17)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from ledger.selectors.facets import COLUMNS
from ledger.selectors.query import KEYS
from tests.console.desk import DECISIONS, ENTRIES, annotation, decision, record, signed_in

if TYPE_CHECKING:
    from ledger.models import Entry
    from tests.people import People

pytestmark = pytest.mark.db

# A value that is found and one that is not.
VALUES = {
    "agent": ("pricing-bot", "nobody"), "organisation": ("acme", "umbra"), "action": ("price.change", "none"),
    "kind": ("ecp.decision/1", "ecp.gap/1"), "zone": ("operator", "moon"), "friction": ("high", "low"),
    "bypassed": ("true", "false"), "seq": ("0..1", "900.."), "since": ("2020-01-01", "2199-01-01"),
    "until": ("2199-01-01", "2020-01-01"), "has": ("note", "sealed"), "": ("lamp", "zeppelin"),
}  # fmt: skip
# Facets count a window of at most 10,000 rows, and never the table itself.
WINDOW = re.compile(
    r"^SELECT count\(\*\), .* FROM \(SELECT .* LIMIT 10000\) w GROUP BY GROUPING SETS", re.DOTALL
)
REFUSED = re.compile(r"\bCOUNT\s*\(|\bOFFSET\b|SELECT DISTINCT \"", re.IGNORECASE)


@pytest.fixture
def entries(people: People) -> list[Entry]:
    made = record(people.log, *[decision(zone="operator") for _ in range(30)])
    return made + record(people.log, annotation(made[0], "Sales of the lamp rose within a week."))


def statements(people: People, path: str, **query: Any) -> list[str]:
    browser = signed_in(people.ada)
    with CaptureQueriesContext(connection) as captured:
        assert browser.get(path, query).status_code == 200, (path, query)
    return [found["sql"] for found in captured if "ledger_entry" in found["sql"]]


def refused(found: list[str]) -> list[str]:
    return [sql for sql in found if REFUSED.search(sql) and not WINDOW.match(sql)]


def test_every_key_of_the_language_has_values_here() -> None:
    assert set(VALUES) == set(KEYS) | {""}
    assert set(COLUMNS) <= set(VALUES)


@pytest.mark.parametrize("path", [DECISIONS, ENTRIES])
@pytest.mark.parametrize("key", VALUES)
def test_no_term_makes_list_or_facets_count_skip_or_discover(
    entries: list[Entry], people: People, path: str, key: str
) -> None:
    assert entries
    for value in VALUES[key]:
        term = f"{key}:{value}" if key else value
        for q in (term, f"-{term}"):
            found = statements(people, path, q=q) + statements(people, f"{path}facets/", q=q)
            assert found
            assert refused(found) == [], q


@pytest.mark.parametrize("path", [DECISIONS, ENTRIES])
def test_no_cursor_makes_a_list_count_or_skip(entries: list[Entry], people: People, path: str) -> None:
    last = entries[-1].pk
    for q in ("", "lamp", "zone:operator", "has:note", "agent:pricing-bot"):
        for cursor in ({"before": last - 2}, {"after": last - 29}, {"before": last, "as_of": 20}):
            found = statements(people, path, q=q, n=25, cols="annotations", **cursor)
            assert found
            assert refused(found) == [], (q, cursor)


@pytest.mark.parametrize(
    "sql",
    [
        'SELECT COUNT(*) AS "__count" FROM "ledger_entry"',
        'SELECT count(*) FROM "ledger_entrysearch" WHERE zone = 1',
        'SELECT "ledger_entry"."id" FROM "ledger_entry" ORDER BY 1 LIMIT 50 OFFSET 50',
        'SELECT DISTINCT "ledger_entry"."agent" FROM "ledger_entry"',
        "SELECT count(*), zone FROM (SELECT zone FROM ledger_entrysearch) w GROUP BY GROUPING SETS ((zone))",
    ],
)
def test_what_is_refused_is_noticed(sql: str) -> None:
    assert refused([sql]) == [sql]
