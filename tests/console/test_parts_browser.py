"""Parts of apps in a real browser: fetched by themselves, tried again, and drawn at once without scripts."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ecp_project.kernel.panels import Slot
from tests.console.desk import CONSOLE
from tests.console.stubs import contributed, stub
from tests.console.test_browser import sign_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ecp_project.kernel.panels import PanelContext
    from tests.console.browser import Browser
    from tests.people import People

pytestmark = pytest.mark.e2e
SETTLED = "!document.querySelector('[aria-busy]')"


@pytest.fixture(autouse=True)
def _templates(settings: Any) -> None:
    """Add the folder of the stub's template."""
    (engine,) = settings.TEMPLATES
    settings.TEMPLATES = [engine | {"DIRS": [*engine["DIRS"], Path(__file__).parent / "templates"]}]


class Moody:
    """A tile that fails the first time."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, _: PanelContext) -> dict[str, object]:
        self.calls += 1
        if self.calls == 1:
            raise RuntimeError("not yet")
        return {"title": "Recovered", "text": "at the second try"}


@pytest.fixture
def moody() -> Iterator[Moody]:
    load = Moody()
    tile = stub(load, slot=Slot.OVERVIEW_TILE)
    chart = stub(lambda _: {"title": "Chart of an app"}, slot=Slot.OVERVIEW_CHART, key="stub.chart")
    empty = stub(lambda _: None, slot=Slot.ATTENTION, key="stub.nothing")
    with contributed(tile, chart, empty):
        yield load


def until(browser: Browser, script: str) -> None:
    for _ in range(200):
        if browser.run(script):
            return
        time.sleep(0.05)
    raise AssertionError(f"never true: {script}")


@pytest.mark.usefixtures("entries")
def test_parts_come_by_themselves_and_a_failed_one_can_be_tried_again(
    browser: Browser, site: str, people: People, moody: Moody
) -> None:
    sign_in(browser, site, people.ada.username, "/console/help/")
    browser.open(site + CONSOLE)
    until(browser, SETTLED)
    text = "document.body.innerText"
    assert "Chart of an app" in browser.run(text)
    assert "This part cannot be shown right now." in browser.run(text)
    assert browser.run("document.querySelector('.panel-failed .hash').textContent.length") > 7
    assert browser.run("document.querySelector('#calm').hidden") is False
    assert browser.run("document.querySelectorAll('.attention li').length") == 0
    browser.run("document.querySelector('[data-retry]').click()")
    until(browser, "document.body.innerText.includes('Recovered')")
    assert "cannot be shown" not in browser.run(text)
    assert moody.calls == 2
    assert browser.complaints == []


@pytest.mark.usefixtures("entries", "moody")
def test_without_scripts_a_link_draws_the_page_with_all_parts(
    browser: Browser, site: str, people: People
) -> None:
    sign_in(browser, site, people.ada.username, "/console/help/")
    browser.scripts(on=False)
    browser.open(site + CONSOLE)
    browser.scripts(on=True)
    address = browser.run("document.querySelector('noscript a').getAttribute('href')")
    browser.scripts(on=False)
    browser.open(site + CONSOLE + address)
    browser.scripts(on=True)
    assert "Chart of an app" in browser.run("document.body.innerText")
