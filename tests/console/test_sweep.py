"""Every page of the console in a real browser: accessible, quiet, narrow enough, light enough, inert.

This is the share of `make test`: one load of each page with demo data, the first look with all rules, the
second, dark and narrow, with the rules that colours and layout can break. `make console-sweep` looks at every
page in both themes and both widths, in all states of data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ledger.models import Agent, Organisation
from tests.console.furnished import XSS
from tests.console.pages import FRICTION, LISTS, SEEN_BY, SIGN_IN, addresses, filled
from tests.console.pseudo import untranslated
from tests.console.sweep import NARROWEST, SHAPE, Look, axe, faults, settle, sideways, swept, violations
from tests.console.test_browser import sign_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.console.browser import Browser
    from tests.console.furnished import Furnished

STOCK_OF_APPS = (f"{FRICTION}frictionduty/", f"{FRICTION}notificationtarget/")
# Words of agents and of rule files that stand where no element can mark them: in titles, options and labels.
UNMARKED = ("price.change", "export.create", "evidence.create", "payment.transfer", "ecp-default", "privacy")

pytestmark = [pytest.mark.e2e, pytest.mark.db, pytest.mark.a11y]


def test_pages_are_accessible_quiet_narrow_light_and_inert(
    browser: Browser, site: str, furnished: Furnished
) -> None:
    found = swept(browser, site, [SIGN_IN])
    sign_in(browser, site, furnished.user.username)
    found += swept(browser, site, addresses(furnished.places))
    for person_, role in ((furnished.operator, "operator"), (furnished.auditor, "auditor")):
        browser.call("Network.clearBrowserCookies")
        sign_in(browser, site, person_.username)
        found += swept(browser, site, filled(furnished.places, SEEN_BY[role]))
    assert not found, "\n".join(found)


def test_the_sweep_sees_what_it_looks_for(browser: Browser, site: str, furnished: Furnished) -> None:
    """A check that cannot fail shows nothing: each kind of fault, planted on a page."""
    sign_in(browser, site, furnished.user.username)
    browser.open(f"{site}/console/help/")
    browser.run(f"{axe()}; document.querySelector('h1').style.color = '#bbb'")
    assert [said for said in violations(browser) if said.startswith("color-contrast")]
    browser.call(
        "Page.addScriptToEvaluateOnNewDocument",
        source="""addEventListener('load', () => {
            window.__xss = 1;
            console.error('planted');
            document.body.insertAdjacentHTML('beforeend', '<p style="width: 50rem" id="wide">wide</p>');
            document.getElementById('wide').className = 'panel-failed';
            document.getElementById('wide').style.width = '50rem';
        })""",
    )
    said = " ".join(faults(browser, site, "/console/help/", [Look("light", 1280)]))
    for part in (
        "planted",
        "scrolls sideways",
        "ran as a script",
        "part of the page failed",
        "Content Security Policy",
    ):
        assert part in said


def test_another_language_leaves_no_english_and_no_page_wider(
    browser: Browser, site: str, furnished: Furnished, pseudo: None
) -> None:
    """From right to left, every text a third longer."""
    assert pseudo is None
    data = written(furnished)
    sign_in(browser, site, furnished.user.username)
    found = [
        fault for address in addresses(furnished.places) for fault in said_in(browser, site, address, data)
    ]
    for person_, role in ((furnished.operator, "operator"), (furnished.auditor, "auditor")):
        browser.call("Network.clearBrowserCookies")
        sign_in(browser, site, person_.username)
        for address in filled(furnished.places, SEEN_BY[role]):
            found += said_in(browser, site, address, data)
    assert not found, "\n".join(found)


def said_in(browser: Browser, site: str, address: str, data: Sequence[str]) -> list[str]:
    """English that the page keeps in the other language, and how far it reaches over a narrow screen."""
    browser.resize(1280, 900)
    browser.open(site + address)
    settle(browser)
    assert browser.run("document.dir || document.body.dir || document.documentElement.dir") == "rtl", address
    said = [] if is_form(address) else untranslated(browser, data)
    said += browser.run(SHAPE)
    return [f"{address}\n    {fault}" for fault in (*said, *sideways(browser, NARROWEST))]


def is_form(address: str) -> bool:
    """Django's own forms name models and their fields as the models do, in English."""
    lists = tuple(f"/console/ledger/{name}/" for name in LISTS)
    stock = ("/console/auth/", "/console/ledger/", "/console/password", *STOCK_OF_APPS)
    return address.startswith(stock) and not address.startswith(lists)


def written(furnished: Furnished) -> list[str]:
    """What people and agents named: stays as it is in every language."""
    organisation = Organisation.objects.get(pk=furnished.log.organisation_id)
    names = [person_.username for person_ in (furnished.user, furnished.operator, furnished.auditor)]
    for slug, title in Agent.objects.filter(organisation=organisation).values_list("slug", "title"):
        names += [slug, title] if title else [slug]
    return [organisation.title, furnished.log.origin, "(test)", XSS, *names, *UNMARKED]
