"""Private values in a browser: reveal, propose, approve, erased and still sound; also without a script."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ecp_project.kernel.clock import utc_now
from ledger.services.erasure_run import erasure_run
from ledger.services.projections import project_search
from tests.console.desk import REASON, decision, record, record_path, staff_acts
from tests.console.sweep import axe, violations
from tests.console.test_browser import sign_in
from tests.people import person

if TYPE_CHECKING:
    from ledger.checkpointer import Checkpointer
    from ledger.models import Entry
    from tests.console.browser import Browser
    from tests.people import People

pytestmark = [pytest.mark.e2e, pytest.mark.db]
SECRET, HANDLE = "Erika Mustermann", "customer-88213"
SUBJECTS, POLICY, REVEAL = "/console/data-subjects/", "/console/context-policy/", "/console/reveal/"


@pytest.fixture
def entry(people: People, checkpointer: Checkpointer) -> Entry:
    (made,) = record(people.log, decision(context={"customer": SECRET}, data_subject=HANDLE))
    checkpointer.turn()
    return made


def text(browser: Browser) -> str:
    found: str = browser.run("document.body.innerText")
    return found


def fill(browser: Browser, **fields: str) -> None:
    for name, value in fields.items():
        browser.run(f"document.getElementById('{name.replace('_', '-')}').focus()")
        browser.write(value)


def press(browser: Browser, words: str) -> None:
    buttons = "[...document.querySelectorAll('#content button')]"
    found = f"{buttons}.find(e => e.textContent.trim() === '{words}')"
    assert browser.run(f"!!{found}"), words
    browser.follow(f"{found}.click()")


def faults(browser: Browser) -> list[Any]:
    browser.run(f"{axe()}; 0")
    found = [*violations(browser), *browser.complaints]
    if browser.run("document.documentElement.scrollWidth > innerWidth"):
        found.append("scrolls sideways")
    return found


def sign_out(browser: Browser, site: str) -> None:
    browser.call("Network.clearBrowserCookies")
    browser.open(site + "/console/")


def test_reveal_with_a_reason_then_erasure_by_two(
    browser: Browser, site: str, people: People, entry: Entry, checkpointer: Checkpointer
) -> None:
    person("adam", people.acme, "admin")
    sign_in(browser, site, people.ada.username)
    browser.open(site + record_path(entry))
    assert SECRET not in text(browser)
    browser.run("document.querySelector('.reveal summary').click()")
    fill(browser, reveal_reason=REASON)
    press(browser, "Record the reason and show")
    assert SECRET in text(browser)
    assert "Reveal session: 1 record opened, ends at" in text(browser)
    assert faults(browser) == []

    browser.open(site + SUBJECTS)
    fill(browser, handle=HANDLE)
    press(browser, "Look up")
    assert "Records: 1. Private values in them: 1." in text(browser)
    assert HANDLE not in browser.run("location.href")
    browser.run("document.getElementById('erase-basis').value = 'data_subject_request'")
    fill(browser, erase_reason="The person wrote to us in May.")
    press(browser, "Propose")
    assert "proposed, waits for an admin" in text(browser)
    assert faults(browser) == []

    sign_out(browser, site)
    sign_in(browser, site, "adam", SUBJECTS)
    press(browser, "Approve; this cannot be undone")
    assert "approved, erased with the next daily run" in text(browser)
    assert faults(browser) == []

    erasure_run(now=utc_now())
    checkpointer.turn()
    project_search(log_id=people.log.id)
    sign_out(browser, site)
    sign_in(browser, site, people.ada.username)
    browser.open(f"{site}{record_path(entry)}?verify=1")
    assert "sealed and erased on" in text(browser)
    assert SECRET not in text(browser)
    assert browser.run("document.querySelectorAll('.tick-pass').length") == 4
    assert [act["action"] for act in staff_acts(people.log)] == [
        "reveal.begin",
        "erasure.propose",
        "erasure.approve",
    ]
    assert browser.complaints == []


def test_reason_and_end_work_without_a_script(
    browser: Browser, site: str, people: People, entry: Entry
) -> None:
    sign_in(browser, site, people.ada.username)
    browser.scripts(on=False)
    browser.open(site + record_path(entry))
    browser.run("document.querySelector('.reveal summary').click()")
    assert browser.run("document.querySelector('.reveal').open")
    fill(browser, reveal_reason=REASON)
    press(browser, "Record the reason and show")
    assert SECRET in text(browser)
    press(browser, "End now")
    assert SECRET not in text(browser)
    assert "sealed; commitment" in text(browser)


def test_pages_have_names_contrast_and_room(
    browser: Browser, site: str, people: People, entry: Entry
) -> None:
    sign_in(browser, site, people.ada.username)
    found: dict[tuple[str, int, str], list[Any]] = {}
    for theme, width in (("light", 320), ("dark", 1400)):
        browser.prefer(prefers_color_scheme=theme)
        browser.resize(width, 900)
        for path in (SUBJECTS, POLICY, REVEAL, record_path(entry)):
            browser.open(site + path)
            if path == POLICY:
                press(browser, "Show what would be public")
                assert "Nothing was recorded." in text(browser)
            found[theme, width, path] = faults(browser)
            browser.complaints.clear()
    assert {about: said for about, said in found.items() if said} == {}
