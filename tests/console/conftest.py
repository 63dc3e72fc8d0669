"""A served console and a real browser, for the tests that need them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.db import connections
from django.test.testcases import LiveServerThread

from ecp_project.kernel.panels import registry
from tests.console.browser import Browser, installed_browser
from tests.console.desk import HOSTILE, annotation, decision, record
from tests.console.furnished import Furnished, furnish
from tests.console.pseudo import speak_pseudo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ledger.checkpointer import Checkpointer
    from ledger.models import Entry
    from tests.people import People


APPS = ("friction.", "polls.")
# Fixtures of tests that look at the pages of installed apps as well.
WITH_APPS = {"furnished", "site"}


@pytest.fixture(autouse=True)
def only_the_console_s_own(request: pytest.FixtureRequest) -> Iterator[None]:
    """The console by itself, whatever apps are installed; a furnished one shows what they bring."""
    if request.node.get_closest_marker("db") is None or WITH_APPS & set(request.fixturenames):
        yield
        return
    panels, pages = dict(registry._panels), dict(registry._pages)
    for kept in (registry._panels, registry._pages):
        for key in [key for key in kept if key.startswith(APPS)]:
            del kept[key]
    yield
    registry._panels.clear()
    registry._panels.update(panels)
    registry._pages.clear()
    registry._pages.update(pages)


class _Server(LiveServerThread):
    """Django's own server for tests, without the flush that the append-only tables refuse."""

    def __init__(self) -> None:
        super().__init__("127.0.0.1", StaticFilesHandler)
        self.daemon = True

    def __enter__(self) -> str:
        self.start()
        self.is_ready.wait()
        assert self.error is None, self.error
        return f"http://127.0.0.1:{self.port}"

    def __exit__(self, *failure: object) -> None:
        self.terminate()


@pytest.fixture
def site(committed_db: str) -> Iterator[str]:
    assert committed_db
    with _Server() as address:
        yield address
    connections.close_all()


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One process for all tests of a worker."""
    program = installed_browser()
    if program is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    found = Browser(program, tmp_path_factory.mktemp("browser"))
    yield found
    found.close()


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    chromium.open_page()
    chromium.resize(1400, 900)
    yield chromium
    chromium.close_page()


@pytest.fixture
def entries(people: People, checkpointer: Checkpointer, settings: Any, tmp_path: Path) -> list[Entry]:
    settings.ECP_FILES_DIR = tmp_path / "files"
    made = record(
        people.log,
        decision("Lowered the price, as the lamp sells slowly.", context={"customer": "Erika"}, risk="high"),
        decision(HOSTILE, zone="operator"),
    )
    made += record(people.log, annotation(made[0], "The customer was told on the phone."))
    checkpointer.turn()
    return made


@pytest.fixture
def furnished(people: People, checkpointer: Checkpointer, settings: Any, tmp_path: Path) -> Furnished:
    settings.ECP_FILES_DIR = tmp_path / "files"
    return furnish(people, checkpointer)


@pytest.fixture
def pseudo(settings: Any) -> Iterator[None]:
    yield from speak_pseudo(settings)
