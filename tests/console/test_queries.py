"""How many queries a page costs, as data: tests/baselines/queries.json.

A page costs more than its line says only on purpose: `ECP_UPDATE_BASELINES=1` with this file writes the lines
anew, as a diff to look at. Budgets of CONSOLE section 16 hold either way.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.console.desk import signed_in
from tests.console.pages import DECISION, ENTRY, PAGES, addresses
from tests.installation import PROJECT

if TYPE_CHECKING:
    from tests.console.furnished import Furnished

BASELINE = PROJECT / "tests" / "baselines" / "queries.json"
LIST, RECORD = 10, 16
# Rows and records as people meet them. A list that finds nothing tries which term to drop, the counts of a
# page without scripts are a fragment's, and a verification reads the proof.
BUDGETS = {
    f"{DECISION}?log={{log}}": LIST,
    f"{ENTRY}?log={{log}}": LIST,
    f"{DECISION}{{decision}}/change/": RECORD,
}


def kept() -> dict[str, int]:
    found: dict[str, int] = json.loads(BASELINE.read_text(encoding="utf-8"))
    return found


@pytest.mark.db
def test_no_page_costs_more_queries_than_its_baseline(furnished: Furnished) -> None:
    browser = signed_in(furnished.user)
    counted = {}
    for name, forms in PAGES.items():
        for form, address in zip(forms, addresses(furnished.places, name), strict=True):
            browser.get(address)  # what a process reads once, such as content types, is read by now
            with CaptureQueriesContext(connection) as captured:
                browser.get(address)
            counted[form] = len(captured)
    over = {form: counted[form] for form, most in BUDGETS.items() if counted[form] > most}
    assert over == {}
    if os.environ.get("ECP_UPDATE_BASELINES") == "1":
        BASELINE.write_text(json.dumps(counted, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    baseline = kept()
    above = {form: count for form, count in counted.items() if count > baseline.get(form, 0)}
    assert above == {}


@pytest.mark.unit
def test_the_baseline_speaks_of_pages_that_exist() -> None:
    assert set(kept()) == {form for forms in PAGES.values() for form in forms}
