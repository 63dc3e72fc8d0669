"""One look at one page, in both themes and at several widths: what is wrong with it, in words.

The rules of WCAG 2.2 are axe-core's (tests/console/vendor); what a page says on its console, how wide it gets
and how much it weighs the browser tells.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.console.pages import status_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from tests.console.browser import Browser

AXE = Path(__file__).parent / "vendor" / "axe" / "axe.min.js"
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
NARROWEST = 320
KILO = 1024
SCRIPTS, SCRIPTS_WITH_CHARTS, OWN_STYLE, HTML = 55 * KILO, 110 * KILO, 25 * KILO, 120 * KILO
CHART_PAGES = ("/console/analytics/", "/console/?")
STOCK_FORMS = ("/add/", "/change/", "/delete/", "/password/", "/console/auth/")
# What axe-core counts as mere good practice, and CONSOLE section 15 asks for; and parts that are missing.
SHAPE = """
[
  ...(document.querySelectorAll('h1').length === 1 ? [] : ['not one h1']),
  ...(document.querySelectorAll('main').length === 1 ? [] : ['not one main']),
  ...[...document.querySelectorAll('.panel-failed')].map(() => 'a part of the page failed'),
  ...[...document.querySelectorAll('#content table:not(#result_list)')]
    .filter(table => !table.caption).map(table => 'table without caption: ' + table.innerText.slice(0, 40)),
]
"""


class Look(NamedTuple):
    theme: str
    width: int
    rules: Sequence[str] = ()  # none: all of them


ALL_LOOKS = tuple(Look(theme, width) for theme in ("light", "dark") for width in (1280, 390))
# Dark paints the same elements in other colours, and the narrow page lays them out anew: these rules see it.
QUICK_LOOKS = (
    Look("light", 1280),
    Look("dark", 390, ("color-contrast", "target-size", "link-in-text-block")),
)


@cache
def axe() -> str:
    return AXE.read_text(encoding="utf-8")


def swept(
    browser: Browser, site: str, addresses: Iterable[str], looks: Sequence[Look] = QUICK_LOOKS
) -> list[str]:
    """Faults of each page that has some, one a line after its address."""
    found = {address: list(faults(browser, site, address, looks)) for address in addresses}
    return [f"{address}\n    {said}" for address, told in found.items() for said in told]


def faults(browser: Browser, site: str, address: str, looks: Sequence[Look]) -> Iterator[str]:
    browser.complaints.clear()
    _turn_to(browser, looks[0])
    browser.open(site + address)
    settle(browser)
    yield from weight(browser, address)
    yield from browser.run(SHAPE)
    browser.run(f"{axe()}; 0")
    for look in looks:
        _turn_to(browser, look)
        for violation in violations(browser, look.rules):
            yield f"{look.theme} {look.width}: {violation}"
        yield from sideways(browser, look.width)
    yield from sideways(browser, NARROWEST)
    if browser.run("typeof window.__xss") != "undefined":
        yield "text that an agent wrote ran as a script"
    expected = f"status of {status_of(address)}"
    yield from (said for said in browser.complaints if expected not in said)
    browser.complaints.clear()


def _turn_to(browser: Browser, look: Look) -> None:
    """Colours change at once, as they do for people who want no motion."""
    browser.prefer(prefers_color_scheme=look.theme, prefers_reduced_motion="reduce")
    browser.resize(look.width, 900)


def settle(browser: Browser) -> None:
    """Wait for the parts that the page fetches for itself."""
    assert browser.run(
        """(async () => {
            for (let turn = 0; turn < 200; turn++) {
                if (!document.querySelector('[aria-busy=true]')) return true;
                await new Promise(done => setTimeout(done, 25));
            }
            return false;
        })()"""
    ), "a part of the page never comes"


def violations(browser: Browser, rules: Sequence[str] = ()) -> list[str]:
    # Without preload: its style sheets would be inline ones, and the page's own CSP refuses those.
    only: dict[str, Any] = (
        {"type": "rule", "values": list(rules)} if rules else {"type": "tag", "values": TAGS}
    )
    enabled = {"target-size": {"enabled": True}}
    found: list[str] = browser.run(
        f"""axe.run(document, {{runOnly: {only}, rules: {str(enabled).replace("True", "true")},
                resultTypes: ['violations'], preload: false}})
            .then(told => told.violations.map(
                rule => rule.id + ' at '
                + rule.nodes.map(node => node.target.join(' ')).slice(0, 4).join(', ')
                + (rule.nodes[0].any[0] ? ' (' + rule.nodes[0].any[0].message + ')' : '')))"""
    )
    return found


def sideways(browser: Browser, width: int) -> Iterator[str]:
    browser.resize(width, 900)
    taken = browser.run("document.documentElement.scrollWidth")
    if taken > width:
        yield f"scrolls sideways: {taken} px on a screen of {width}: {widest(browser, width)}"


def widest(browser: Browser, width: int) -> str:
    """The innermost elements that stick out."""
    found: list[str] = browser.run(
        f"""[...document.querySelectorAll('body *')]
            .filter(e => !e.closest('.scroll'))
            .filter(e => e.getBoundingClientRect().right > {width} || e.getBoundingClientRect().left < 0)
            .slice(-4)
            .map(e => e.tagName + '#' + e.id + '.' + e.className + ' ' + e.textContent.trim().slice(0, 30))"""
    )
    return "; ".join(found)


def weight(browser: Browser, address: str) -> Iterator[str]:
    """Budgets of CONSOLE section 16, in bytes as they come out of the packing."""
    loaded: list[tuple[str, int]] = browser.run(
        "performance.getEntriesByType('resource').map(e => [e.name.split('?')[0], e.decodedBodySize])"
    )
    page: int = browser.run("performance.getEntriesByType('navigation')[0].decodedBodySize")
    scripts = sum(size for name, size in loaded if name.endswith(".js"))
    own = sum(size for name, size in loaded if name.endswith("console.css"))
    limit = SCRIPTS_WITH_CHARTS if address.startswith(CHART_PAGES) else SCRIPTS
    of_ledger = address.startswith(("/console/ledger/decision/", "/console/ledger/entry/"))
    is_stock = any(part in address for part in STOCK_FORMS) and not of_ledger
    if scripts > limit and not is_stock:
        yield f"{scripts} bytes of scripts"
    if own > OWN_STYLE:
        yield f"{own} bytes of own style"
    if page > HTML:
        yield f"{page} bytes of HTML"
