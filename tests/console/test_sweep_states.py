"""`make console-sweep`: every page, light and dark, wide and narrow, in four states of data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.console.pages import SEEN_BY, SIGN_IN, addresses, filled, places
from tests.console.states import STATES
from tests.console.sweep import ALL_LOOKS, swept
from tests.console.test_browser import sign_in
from tests.people import person

if TYPE_CHECKING:
    from pathlib import Path

    from ledger.checkpointer import Checkpointer
    from tests.console.browser import Browser

pytestmark = [pytest.mark.sweep, pytest.mark.db]


@pytest.mark.parametrize("state", STATES)
def test_every_page_holds_in_every_look(  # noqa: PLR0917 - fixtures, by name
    browser: Browser, site: str, checkpointer: Checkpointer, settings: Any, tmp_path: Path, state: str
) -> None:
    settings.ECP_FILES_DIR = tmp_path / "files"
    log, user = STATES[state](checkpointer)
    found = swept(browser, site, [SIGN_IN], ALL_LOOKS)
    sign_in(browser, site, user.username)
    found += swept(browser, site, addresses(places(log=log, user=user)), ALL_LOOKS)
    for name, role in (("olga", "operator"), ("mona", "auditor")):
        reader = person(name, log.organisation, role)
        browser.call("Network.clearBrowserCookies")
        sign_in(browser, site, reader.username)
        at = places(log=log, user=reader)
        found += swept(browser, site, filled(at, SEEN_BY[role]), ALL_LOOKS)
    assert not found, "\n".join(found)
