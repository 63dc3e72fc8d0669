"""How many queries a page costs, as data: tests/baselines/queries.json.

A page costs more than its line says only on purpose: `ECP_UPDATE_BASELINES=1` with this file writes the lines
anew, as a diff to look at. Budgets of CONSOLE section 16 hold either way.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from ecp_project.kernel.panels import Slot, registry
from tests.console.desk import record_path, revealing, signed_in
from tests.console.pages import DECISION, ENTRY, PAGES, addresses
from tests.console.stubs import contributed, stub
from tests.installation import PROJECT

if TYPE_CHECKING:
    from tests.console.furnished import Furnished

BASELINE = PROJECT / "tests" / "baselines" / "queries.json"
LIST, RECORD, FRAGMENT = 10, 16, 4
WHO_ASKS = 3  # of every request: the session, the user, the memberships
# What may cost more than the budget of its kind, and why.
OVER = {
    f"{DECISION}?log={{log}}&q=nothing-like-this+zone:operator": (14, "tries each term without it"),
}
RECORDING = 3  # a savepoint, the lock on the session, the row of its list
# A part waits no longer than it may: the limit is set in a transaction of its own, and asks nothing.
PATIENCE = ("BEGIN", "COMMIT", "SELECT set_config")
# Where parts of apps stand on a page of the ledger. Each has the budget of a fragment and three statements
# more for its time limit: BEGIN, SET LOCAL, COMMIT.
FRAMED = FRAGMENT + 3
ON_RECORDS = (Slot.RECORD_ADVICE, Slot.RECORD_RESPONSIBILITY, Slot.TIMELINE)
ON_AGENTS = (Slot.AGENT,)
FRAGMENTS = (
    f"{DECISION}facets/?log={{log}}",
    f"{DECISION}facets/?log={{log}}&q=zone:operator+friction:high",
    f"{ENTRY}facets/?log={{log}}",
    f"{DECISION}{{decision}}/verify/",
    f"{ENTRY}{{entry}}/verify/",
    "/console/panel/stub.tile/?log={log}",
    "/console/stream/poll/?log={log}&after=1",
    "/console/stream/poll/?log={log}&after=1&list=decision&q=lamp",
)


def budget(name: str, form: str) -> int | None:
    """The most queries of a page of this kind; None for pages that are neither a list nor a record."""
    if form in OVER:
        return OVER[form][0]
    if name.endswith("_changelist"):
        return LIST
    if not name.startswith("admin:ledger_") or not name.endswith(("_change", "_print")):
        return None
    slots = ON_AGENTS if name.startswith("admin:ledger_agent_") else ON_RECORDS
    return RECORD + FRAMED * sum(len(registry.panels(slot)) for slot in slots)


def kept() -> dict[str, int]:
    found: dict[str, int] = json.loads(BASELINE.read_text(encoding="utf-8"))
    return found


@pytest.mark.db
def test_no_page_costs_more_queries_than_its_baseline(furnished: Furnished) -> None:
    browser = signed_in(furnished.user)
    counted, over = {}, {}
    for name, forms in PAGES.items():
        for form, address in zip(forms, addresses(furnished.places, name), strict=True):
            counted[form] = queries_of(browser, address)
            most = budget(name, form)
            if most is not None and counted[form] > most:
                over[form] = counted[form]
    assert over == {}
    if os.environ.get("ECP_UPDATE_BASELINES") == "1":
        BASELINE.write_text(json.dumps(counted, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    baseline = kept()
    above = {form: count for form, count in counted.items() if count > baseline.get(form, 0)}
    assert above == {}


@pytest.mark.db
def test_a_part_of_a_page_costs_four_queries_beside_those_of_who_asks(furnished: Furnished) -> None:
    browser = signed_in(furnished.user)
    tile = stub(
        lambda _: {"items": []},
        slot=Slot.OVERVIEW_TILE,
        key="stub.tile",
        template="console/_review.html",
    )
    with contributed(tile):
        addressed = {form: form.format(**furnished.places) for form in FRAGMENTS}
        for address in addressed.values():
            browser.get(address)
        counted = {form: count(browser, address, PATIENCE) for form, address in addressed.items()}
    assert {form: number for form, number in counted.items() if number > WHO_ASKS + FRAGMENT} == {}


@pytest.mark.db
def test_a_record_is_put_on_the_list_of_a_session_within_the_budget(furnished: Furnished) -> None:
    """The first opening writes that it was opened, in a transaction of its own; later ones do not."""
    browser = revealing(furnished.operator, furnished.log)
    first, second = (record_path(entry) for entry in furnished.entries[:2])
    browser.get(first)
    most = budget("admin:ledger_decision_change", "")
    assert most is not None
    assert count(browser, second) <= most + RECORDING
    assert count(browser, second) <= most


def queries_of(browser: Any, address: str) -> int:
    browser.get(address)  # what a process reads once, such as content types, is read by now
    return count(browser, address)


def count(browser: Any, address: str, without: tuple[str, ...] = ()) -> int:
    with CaptureQueriesContext(connection) as captured:
        answer = browser.get(address)
    assert answer.status_code < 500, address
    return sum(not query["sql"].startswith(without) for query in captured) if without else len(captured)


@pytest.mark.unit
def test_the_baseline_speaks_of_pages_that_exist() -> None:
    assert set(kept()) == {form for forms in PAGES.values() for form in forms}
