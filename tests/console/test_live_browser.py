"""Live lists in a real browser: a pill tells what is new, only a click moves rows (CONSOLE section 10)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.sessions.models import Session

from tests.console.desk import DECISIONS, decision, record
from tests.console.sweep import axe, violations
from tests.console.test_browser import sign_in, wait_for

if TYPE_CHECKING:
    from ledger.checkpointer import Checkpointer
    from tests.console.browser import Browser
    from tests.console.live import Live
    from tests.people import People

pytestmark = [pytest.mark.e2e, pytest.mark.db]

STATE = "document.querySelector('[data-live]').dataset.state"
PILL = "document.querySelector('[data-live-pill]')"
NEW = f"({PILL}.hidden ? '' : {PILL}.textContent)"
ROWS = "document.querySelectorAll('[data-live-rows] tbody tr').length"
QUICK = "{ const wait = setTimeout; window.setTimeout = (act, ms) => wait(act, ms / 20); }"
SAID = "document.querySelector('[data-live-said]').textContent"


@pytest.fixture
def console(
    live: Live, people: People, checkpointer: Checkpointer, settings: Any, request: pytest.FixtureRequest
) -> str:
    """The console at one port of this machine, its stream at another; one decision is there."""
    settings.ECP_STREAM_URL = live.address
    settings.SECURE_CSP = settings.SECURE_CSP | {"connect-src": f"'self' {live.address}"}
    record(people.log, decision())
    checkpointer.turn()
    settings.ECP_BASE_URL = request.getfixturevalue("site")  # it starts with the settings of that moment
    address: str = settings.ECP_BASE_URL
    return address


def test_new_decisions_are_told_and_come_with_a_click(
    browser: Browser, console: str, people: People, checkpointer: Checkpointer
) -> None:
    sign_in(browser, console, people.ben.username)
    browser.open(f"{console}{DECISIONS}")
    wait_for(browser, f"{STATE} === 'live'")
    record(people.log, decision("Sold a chair, as it was in the way."), decision())
    checkpointer.turn()
    wait_for(browser, f"{NEW} === '2 new'")
    wait_for(browser, f"{SAID} === '2 new'")
    assert browser.run(ROWS) == 1
    browser.run(f"{axe()}; 0")
    assert violations(browser) == []

    browser.run("document.querySelector('[data-live-rows] input[name=entry]')?.click()")
    browser.run(f"{PILL}.click()")
    wait_for(browser, f"{ROWS} === 3")
    assert browser.run(NEW) == ""
    assert "of size 3" in browser.run("document.querySelector('nav.pager').innerText")
    assert browser.run("document.activeElement.closest('tr').rowIndex") == 1

    # what comes after a click counts from there
    record(people.log, decision())
    checkpointer.turn()
    wait_for(browser, f"{NEW} === '1 new'")
    assert browser.complaints == []


def test_pill_counts_what_fits_the_query_and_no_more_than_99(
    browser: Browser, console: str, people: People, checkpointer: Checkpointer
) -> None:
    sign_in(browser, console, people.ada.username)
    browser.open(f"{console}{DECISIONS}?q=chair")
    wait_for(browser, f"{STATE} === 'live'")
    record(people.log, decision(), decision("Sold a chair, as it was in the way."))
    checkpointer.turn()
    wait_for(browser, f"{NEW} === '1 new'")
    record(people.log, *[decision("One more chair is sold, as it was in the way.") for _ in range(120)])
    checkpointer.turn()
    wait_for(browser, f"{NEW} === '99+ new'")
    assert browser.complaints == []


def test_overview_offers_the_newest_decisions(
    browser: Browser, console: str, people: People, checkpointer: Checkpointer
) -> None:
    sign_in(browser, console, people.ben.username)
    wait_for(browser, f"{STATE} === 'live'")
    record(people.log, decision("Sold a chair, as it was in the way."))
    checkpointer.turn()
    wait_for(browser, f"{NEW} === '1 new'")
    browser.run(f"{PILL}.click()")
    wait_for(browser, f"{ROWS} === 2")
    assert "chair" in browser.run("document.querySelector('[data-live-rows] tbody').innerText")
    assert browser.complaints == []


def test_pause_ends_the_stream_and_lasts_over_pages(
    browser: Browser, console: str, people: People, live: Live, checkpointer: Checkpointer
) -> None:
    sign_in(browser, console, people.ben.username)
    browser.open(f"{console}{DECISIONS}")
    wait_for(browser, f"{STATE} === 'live'")
    browser.run("document.querySelector('[data-live-pause]').click()")
    assert browser.run(STATE) == "paused"
    live.until(0)
    record(people.log, decision())
    checkpointer.turn()
    browser.open(f"{console}{DECISIONS}")
    assert browser.run(STATE) == "paused"
    assert browser.run("document.querySelector('[data-live-pause]').ariaPressed") == "true"
    record(people.log, decision())
    browser.run("document.querySelector('[data-live-pause]').click()")
    wait_for(browser, f"{NEW} === '1 new'")
    assert browser.run(STATE) == "live"


def test_page_that_nobody_looks_at_has_no_stream(
    browser: Browser, console: str, people: People, live: Live
) -> None:
    sign_in(browser, console, people.ben.username)
    browser.open(f"{console}{DECISIONS}")
    live.until(1)
    hide = (
        "Object.defineProperty(document, 'hidden', {{value: {0}, configurable: true}});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    browser.run(hide.format("true"))
    live.until(0)
    browser.run(hide.format("false"))
    live.until(1)


def test_two_failed_attempts_lead_to_polling(
    browser: Browser, site: str, people: People, entries: list[Any]
) -> None:
    """Nothing serves a stream here; the web process says so."""
    assert entries
    browser.call("Page.addScriptToEvaluateOnNewDocument", source=QUICK)
    sign_in(browser, site, people.ben.username)
    browser.open(f"{site}{DECISIONS}")
    wait_for(browser, f"{STATE} === 'polling'")
    assert browser.run("document.querySelector('[data-live-state=polling]').innerText").endswith("polling")
    record(people.log, decision())
    wait_for(browser, f"{NEW} === '1 new'")
    assert browser.complaints == []


def test_pages_behind_the_first_are_still(browser: Browser, console: str, people: People) -> None:
    record(people.log, *[decision() for _ in range(30)])
    sign_in(browser, console, people.ben.username)
    browser.open(f"{console}{DECISIONS}?n=25")
    browser.follow("document.querySelector('.pager [rel=next]').click()")
    assert browser.run("document.querySelector('[data-live]')") is None


def test_without_scripts_there_is_no_promise_of_news(browser: Browser, console: str, people: People) -> None:
    sign_in(browser, console, people.ben.username)
    browser.scripts(on=False)
    browser.open(f"{console}{DECISIONS}")
    browser.scripts(on=True)
    assert browser.run("document.querySelector('[data-live]').offsetHeight") == 0
    assert browser.run(ROWS) == 1


def test_page_whose_reader_has_signed_out_asks_no_more(
    browser: Browser, site: str, people: People, entries: list[Any]
) -> None:
    assert entries
    browser.call("Page.addScriptToEvaluateOnNewDocument", source=QUICK)
    sign_in(browser, site, people.ben.username)
    wait_for(browser, f"{STATE} === 'polling'")
    Session.objects.all().delete()
    wait_for(browser, "document.querySelector('[data-live]').hidden")
