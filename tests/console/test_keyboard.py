"""Single keys in a real browser: where they lead, that they rest while one types and can be off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.console.desk import DECISIONS, decision, record, record_path
from tests.console.test_browser import sign_in

if TYPE_CHECKING:
    from ledger.checkpointer import Checkpointer
    from ledger.models import Entry
    from tests.console.browser import Browser
    from tests.people import People

pytestmark = [pytest.mark.e2e, pytest.mark.db]
HELP = "/console/help/"
FOCUSED = "document.activeElement.closest('tr')?.querySelector('.why')?.innerText ?? ''"


@pytest.fixture
def entries(people: People, checkpointer: Checkpointer) -> list[Entry]:
    made = record(people.log, *[decision(f"Lowered the price of lamp {number}.") for number in range(3)])
    checkpointer.turn()
    return made


@pytest.fixture
def desk(browser: Browser, site: str, people: People, entries: list[Entry]) -> Browser:
    assert entries
    sign_in(browser, site, people.ada.username)
    return browser


def path(browser: Browser) -> str:
    found: str = browser.run("location.pathname")
    return found


def test_g_and_a_letter_lead_to_pages(desk: Browser) -> None:
    for key, place in (
        ("d", DECISIONS),
        ("a", "/console/ledger/agent/"),
        ("l", "/console/ledger/entry/"),
        ("o", "/console/"),
    ):
        desk.press("g")
        desk.press(key, leads_on=True)
        assert path(desk) == place
    desk.press("?", leads_on=True)
    assert path(desk) == HELP
    assert desk.complaints == []


def test_j_and_k_walk_rows_and_enter_opens(desk: Browser, site: str, entries: list[Entry]) -> None:
    desk.open(site + DECISIONS)
    seen = []
    for key in ("j", "j", "k", "j", "j"):
        desk.press(key)
        seen.append(desk.run(FOCUSED)[-2:-1])
    assert seen == ["2", "1", "2", "1", "0"]
    desk.press("j")  # stays at the last row
    desk.press("Enter", leads_on=True)
    assert path(desk) == record_path(entries[0])
    desk.press("]", leads_on=True)
    assert path(desk).endswith(f"/{entries[1].pk}/change/")
    desk.press("[", leads_on=True)
    assert path(desk).endswith(f"/{entries[0].pk}/change/")


def test_slash_reaches_the_look_up_and_escape_leaves_it(desk: Browser, site: str) -> None:
    desk.open(site + DECISIONS)
    desk.press("/")
    assert desk.run("document.activeElement.type") == "search"
    assert desk.run("document.activeElement.value") == ""
    for key in "gd?":
        desk.press(key)
    assert desk.run("document.activeElement.value") == "gd?"
    assert path(desk) == DECISIONS
    desk.press("Escape")
    assert desk.run("document.activeElement === document.body")


def test_keys_can_be_switched_off_and_on(desk: Browser, site: str) -> None:
    desk.open(site + HELP)
    assert desk.run("document.getElementById('keys-on').checked")
    desk.run("document.getElementById('keys-on').click()")
    desk.open(site + DECISIONS)
    desk.press("j")
    desk.press("?")
    assert desk.run(FOCUSED) == ""
    assert path(desk) == DECISIONS
    desk.open(site + HELP)
    assert not desk.run("document.getElementById('keys-on').checked")
    desk.run("document.getElementById('keys-on').click()")
    desk.open(site + DECISIONS)
    desk.press("?", leads_on=True)
    assert path(desk) == HELP


def test_other_keys_and_combinations_do_nothing(desk: Browser, site: str) -> None:
    desk.open(site + HELP)
    for key in ("q", "g", "q", "x", "v", "e", "[", "Escape"):
        desk.press(key)
    assert path(desk) == HELP
    assert desk.complaints == []


def test_menu_opens_on_a_narrow_screen_without_scripts(desk: Browser, site: str) -> None:
    desk.resize(320, 700)
    desk.scripts(on=False)
    desk.open(site + HELP)
    desk.scripts(on=True)
    shown = "getComputedStyle(document.getElementById('console-nav')).display !== 'none'"
    assert not desk.run(shown)
    desk.run("location.hash = '#console-nav'")
    assert desk.run(shown)
    assert desk.run("document.documentElement.scrollWidth") <= 320
    desk.run("location.hash = '#content-start'")
    assert not desk.run(shown)
