"""docs/SEARCH.md has every key, parameter, column and limit of the lists, and no other."""

from __future__ import annotations

import re

import pytest
from django.contrib import admin
from django.urls import URLPattern

from ecp_project.console import saved_views
from ledger.selectors import facets, lists, matching, query
from tests.docs.documents import read, section, table

pytestmark = pytest.mark.unit
TEXT = read("docs/SEARCH.md")


def test_keys_of_the_query_are_listed_in_order() -> None:
    rows = table(TEXT, "key")
    assert [row[0] for row in rows] == list(query.KEYS)
    assert [row[0] for row in rows if "joined by commas" in row[1]] == list(query.LIST_KEYS)
    values = {row[0]: tuple(re.findall(r"`(\w+)`", row[1])) for row in rows}
    assert values["friction"] == query.FRICTION
    assert values["bypassed"] == query.BYPASSED
    assert values["has"] == query.has_values()


def test_worked_query_is_one() -> None:
    worked = re.search(r"^    (zone:.*)$", TEXT, re.MULTILINE)
    assert worked is not None
    assert str(query.parse(worked[1])) == worked[1]


def test_parameters_of_a_list_are_listed() -> None:
    rows = {name: row[1] for row in table(TEXT, "parameter") for name in re.findall(r"\w+", row[0])}
    assert set(rows) == lists.PARAMETERS
    assert tuple(re.findall(r"`(\w+)`", rows["cols"])) == lists.COLUMNS
    assert [int(size) for size in re.findall(r"\d+", rows["n"])] == [*lists.PAGE_SIZES, lists.PAGE_SIZE]


def test_limits_are_those_of_the_code() -> None:
    for said in (
        f"at most {query.MAX_Q} characters and {query.MAX_TERMS} terms",
        f"newest\n{facets.WINDOW:,} matches",
        f"after {facets.TIMEOUT_MS} ms",
        f"`name` ({saved_views.MAX_NAME} characters)",
        f"`query` ({saved_views.MAX_QUERY:,} characters)",
    ):
        assert said in TEXT, said
    assert matching.TIMEOUT_MS == 2_000
    assert "longer than two seconds" in TEXT


def test_own_addresses_of_the_search_are_named() -> None:
    told = set(re.findall(r"/console/([a-z]+)/", TEXT))
    own = {
        re.split(r"[/(]", str(pattern.pattern).lstrip("^"))[0]
        for pattern in admin.site.get_urls()
        if isinstance(pattern, URLPattern)
        and pattern.name
        in {"search", "record", "position", "hash", "saved_views", "saved_view", "saved_view_save"}
    }
    assert told == own | {"ledger"}
    assert section(TEXT, "Saved views").count("POST /console/views/") == 2
