"""CSV fields: the worked bytes, the rule of SECURITY section 7, and nothing that a spreadsheet executes."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ecp_project.kernel.csvtext import Value, csv_field, csv_row, defended, restored
from tests.shared import shared_path

pytestmark = pytest.mark.unit

TRIGGERS = "=+-@\uff1d\uff0b\uff0d\uff20"
SKIPPED = " \u00a0\u200b\u200c\u200d\u2060\ufeff'\""
# Texts of few characters meet the rule often; letters and other signs come between.
hostile = st.text(st.sampled_from([*TRIGGERS, *SKIPPED, *"|%;\t\r\n,", "a", "7", "\u00e9"]), max_size=12)


def test_worked_example_has_its_170_bytes() -> None:
    rows: list[tuple[Value, ...]] = [
        ("seq", "agent", "explanation", "delta"),
        (7, "trader-7", '=HYPERLINK("http://x","y")', -5),
        (8, "agent, two", "-10 % is fine\nsecond line", 0),
        (9, "'quoted", "plain", None),
    ]
    data = b"".join(map(csv_row, rows))
    assert len(data) == 170
    digest = hashlib.sha256(data).hexdigest()
    assert digest == "d144b7827917d965f92f6a6544e7e0d382b6583cf5ea431b1a83dbfbad8ad7e3"


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("=1+1", '"\'=1+1"'),
        ("a;=1", '"a;\'=1"'),
        ("a - b", '"a - b"'),
        ('"=1', '"\'""=1"'),
        ("-5", '"\'-5"'),
        ("  \u00a0\u200b=1", '"\'  \u00a0\u200b=1"'),
        ("\uff20SUM(A1)", '"\'\uff20SUM(A1)"'),
        ("|calc", '"\'|calc"'),
        ("%0A", '"\'%0A"'),
        (" |calc", '" |calc"'),  # only the signs of a formula count behind blanks
        ("\t=1", "\"'\t'=1\""),
        ("\nplain", '"\'\nplain"'),
        ("a\r\n@b", '"a\r\n\'@b"'),
        ("", '""'),
        ("it's", '"it\'s"'),
    ],
)
def test_rule_of_the_security_document(text: str, field: str) -> None:
    assert csv_field(text) == field


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (-5, '"-5"'),
        (0, '"0"'),
        (True, '"true"'),
        (False, '"false"'),
        (None, '""'),
        (datetime(2026, 3, 2, 9, 0, 1, 250_000, tzinfo=UTC), '"2026-03-02T09:00:01.250000Z"'),
    ],
)
def test_numbers_truth_values_and_instants_are_never_prefixed(value: Value, field: str) -> None:
    assert csv_field(value) == field


@given(hostile | st.text())
@example("\t")
@example("'\t'")
def test_taking_one_apostrophe_from_each_part_restores_the_text(text: str) -> None:
    assert restored(defended(text)) == text


@given(hostile | st.text())
def test_no_part_begins_with_what_a_spreadsheet_executes(text: str) -> None:
    shown = defended(text)
    assert shown[:1] not in {"\t", "\r", "\n"}
    for part in re.split(r"[;\t\r\n]", shown):
        assert not part.startswith(("|", "%"))
        if not part.startswith("'"):
            assert part.lstrip(SKIPPED)[:1] not in set(TRIGGERS) or not part.strip(SKIPPED)


@given(st.lists(st.lists(hostile | st.text(), min_size=2, max_size=3), min_size=1, max_size=4))
def test_other_readers_of_csv_see_the_same_fields(rows: list[list[str]]) -> None:
    data = b"".join(map(csv_row, rows)).decode()
    read = list(csv.reader(io.StringIO(data, newline=""), strict=True))
    assert [[restored(cell) for cell in row] for row in read] == rows


def test_public_cases_have_exactly_these_fields() -> None:
    lines = shared_path("vectors/security/cases.jsonl").read_text(encoding="utf-8").splitlines()
    cases = [case for case in map(json.loads, lines) if "csv_field" in case]
    assert cases
    for case in cases:
        body = case["body"].replace("{{MIN}}", '"agent":"a"')
        assert csv_field(json.loads(body)["explanation"]) == case["csv_field"], case["id"]
