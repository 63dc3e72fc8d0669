"""The console in a real browser: keyboard, both themes, narrow screens, no script, names for screen readers.

No packaged axe is in the lock of the development set, so the checks of accessibility are our own: landmarks,
names from the browser's accessibility tree, contrast of every text, target sizes, and no sideways scrolling.
"""

from __future__ import annotations

import io
import time
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.console.desk import DECISIONS, ENTRIES, record_path, signed_in
from tests.people import person

if TYPE_CHECKING:
    from pathlib import Path

    from ledger.models import Entry
    from tests.console.browser import Browser
    from tests.people import People
    from tests.tampering import Flip

pytestmark = [pytest.mark.e2e, pytest.mark.db]

PAGES = (
    "/console/",
    DECISIONS,
    f"{DECISIONS}?q=nothing-like-this+zone:operator",
    f"{DECISIONS}?q=lamp+bypassed:true,x",
    "/console/views/",
    ENTRIES,
    "/console/ledger/staffaction/",
    "/console/reviews/",
    "/console/integrity/",
    "/console/integrity/consistency/?old=3&new=3",
    "/public/",
    "/console/analytics/?since=now-1h",
    "/console/analytics/?since=now-30d",
    "/console/help/",
    "/console/ledger/erasurerequest/",
    "/console/ledger/agent/",
    "/console/ledger/agent/add/",
    "/console/ledger/agentkey/",
    "/console/ledger/apikey/",
    "/console/ledger/apikey/add/",
    "/console/ledger/organisation/",
    "/console/ledger/membership/",
    "/console/password_change/",
    "/console/exports/",
    "/console/evidence/",
)

# Contrast of WCAG 2.2, 1.4.3, for every text that is seen, against the nearest painted background.
CONTRAST = """
(() => {
  const channels = text => {
    const found = text.match(/[\\d.]+/g).map(Number);
    return found.length === 3 ? [...found, 1] : found;
  };
  const light = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = channels(getComputedStyle(at).backgroundColor);
      if (colour[3] > 0.5) return colour;
    }
    return [255, 255, 255, 1];
  };
  const poor = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    const box = element.getBoundingClientRect();
    if (!texts.currentNode.data.trim() || box.width < 2 || box.height < 2) continue;
    if (element.closest('script, option, datalist, caption, .visually-hidden')) continue;
    if (element.matches('.skip-to-content-link')) continue;
    const style = getComputedStyle(element);
    const [a, b] = [light(channels(style.color)), light(ground(element))].sort((x, y) => y - x);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const ratio = (a + 0.05) / (b + 0.05);
    const said = texts.currentNode.data.trim().slice(0, 40);
    if (ratio < (large ? 3 : 4.5)) poor.push(`${said}: ${ratio.toFixed(2)}`);
  }
  return [...new Set(poor)];
})()
"""
OURS_TOO_SMALL = """
[...document.querySelectorAll('#content a, #content button, #content select, #content summary')]
  .filter(e => e.closest('.log-list, .toolbar, .pager, .chips, .panel'))
  .filter(e => getComputedStyle(e).display !== 'inline' && e.getBoundingClientRect().height)
  .filter(e => e.getBoundingClientRect().height < 24)
  .map(e => e.textContent.trim().slice(0, 40) + ' ' + e.getBoundingClientRect().height)
"""


TABLES_WITHOUT_CAPTION = """
[...document.querySelectorAll('#content table:not(#result_list)')]
  .filter(e => !e.caption).map(e => e.innerText)
"""


def sign_in(browser: Browser, site: str, name: str, next_: str = "/console/") -> None:
    """By keyboard alone: the name field has the focus when the page opens."""
    browser.open(f"{site}/console/login/?next={next_}")
    browser.run("document.getElementById('id_username').focus()")
    browser.write(name)
    browser.press("Tab")
    browser.write(f"{name} walks the dog at noon")
    browser.press("Enter", leads_on=True)


def tab_to(browser: Browser, text: str) -> None:
    for _ in range(80):
        browser.press("Tab")
        if browser.run("document.activeElement.textContent.trim()") == text:
            return
    pytest.fail(f"the keyboard never reaches {text!r}")


def test_keyboard_leads_from_sign_in_to_a_verified_record(
    browser: Browser, site: str, people: People, entries: list[Entry]
) -> None:
    sign_in(browser, site, people.ben.username)
    tab_to(browser, "Decisions")
    browser.press("Enter", leads_on=True)
    assert browser.run("location.pathname") == DECISIONS
    tab_to(
        browser, browser.run("document.querySelector('.log-list tbody tr:last-child a').textContent.trim()")
    )
    browser.press("Enter", leads_on=True)
    tab_to(browser, "Verify now")
    browser.press("Enter", leads_on=True)
    assert browser.run("document.querySelectorAll('.tick-pass').length") == 4
    assert "Verified: stored as it was recorded" in browser.run("document.body.innerText")
    assert browser.run("getComputedStyle(document.activeElement).outlineStyle") is not None
    assert browser.complaints == []
    assert len(entries) == 3


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_pages_have_names_contrast_and_no_complaints(
    browser: Browser, site: str, people: People, entries: list[Entry], theme: str
) -> None:
    admin = person("adam", people.acme, "admin")
    browser.prefer(prefers_color_scheme=theme)
    sign_in(browser, site, admin.username)
    records = [f"{record_path(entry)}?verify=1" for entry in entries]
    faults: dict[str, list[Any]] = {}
    for path in (*PAGES, *records):
        browser.open(site + path)
        found = [
            *browser.run(CONTRAST),
            *browser.run(OURS_TOO_SMALL),
            *browser.run(TABLES_WITHOUT_CAPTION),
            *nameless(browser),
            # that a page about a wrong query answers 400 is no fault of the page
            *(said for said in browser.complaints if "status of 400" not in said),
        ]
        browser.complaints.clear()
        found += [
            name
            for name in ("header", "main", "h1")
            if not browser.run(f"!!document.querySelector('{name}')")
        ]
        if found:
            faults[path] = found
    assert faults == {}


def test_names_of_values_take_a_narrow_column(
    browser: Browser, site: str, people: People, entries: list[Entry]
) -> None:
    sign_in(browser, site, people.ada.username)
    browser.open(f"{site}{record_path(entries[0])}?verify=1")
    share = "e => e.offsetWidth / e.parentElement.offsetWidth"
    for column, most in ((".record-main", 0.3), (".record-side", 0.45)):
        widths = browser.run(f"[...document.querySelectorAll('{column} .pairs th')].map({share})")
        assert widths, column
        assert max(widths) < most, (column, widths)


def test_the_contrast_check_sees_pale_text(browser: Browser, site: str, people: People) -> None:
    sign_in(browser, site, people.ben.username)
    browser.run("document.querySelector('h1').style.color = '#bbb'")
    assert [text.split(":")[0] for text in browser.run(CONTRAST)] == ["Overview"]


def nameless(browser: Browser) -> list[str]:
    """Controls that a screen reader could not announce."""
    needs = {"button", "link", "textbox", "searchbox", "combobox", "checkbox", "region", "navigation"}
    browser.call("Accessibility.enable")
    nodes: list[dict[str, Any]] = browser.call("Accessibility.getFullAXTree")["nodes"]
    return [
        f"{node['role']['value']} {node.get('backendDOMNodeId')}"
        for node in nodes
        if not node["ignored"]
        and node["role"]["value"] in needs
        and not node.get("name", {}).get("value", "").strip()
    ]


@pytest.mark.parametrize("width", [320, 390, 768])
def test_narrow_screens_do_not_scroll_sideways(
    browser: Browser, site: str, people: People, entries: list[Entry], width: int
) -> None:
    sign_in(browser, site, people.ada.username)
    browser.resize(width, 844)
    sheets = [f"{ENTRIES}{entry.pk}/print/" for entry in entries]
    records = [f"{record_path(entry)}?verify=1" for entry in entries]
    for path in (*PAGES[:11], *PAGES[-2:], f"/public/{people.log.slug}/?q=0", *sheets, *records):
        browser.open(site + path)
        assert browser.run("document.documentElement.scrollWidth") <= width, path


def test_hostile_text_runs_nowhere(browser: Browser, site: str, people: People, entries: list[Entry]) -> None:
    sign_in(browser, site, people.ada.username)
    for path in (
        DECISIONS,
        ENTRIES,
        record_path(entries[1]),
        f"{DECISIONS}?q=<script>window.__xss=3</script>",
    ):
        browser.open(site + path)
        assert browser.run("typeof window.__xss") == "undefined", path
    browser.open(site + record_path(entries[1]))
    assert "<script>window.__xss=1</script>" in browser.run(
        "document.querySelector('.explanation').innerText"
    )
    assert "[U+202E]" in browser.run("document.querySelector('.explanation').innerText")
    assert browser.complaints == []


def test_counts_come_by_themselves_and_lead_on(
    browser: Browser, site: str, people: People, entries: list[Entry]
) -> None:
    sign_in(browser, site, people.ada.username)
    browser.open(f"{site}{DECISIONS}")
    counts = "[...document.querySelectorAll('.facet [href*=operator] .count')].map(e => e.innerText)"
    wait_for(browser, f"{counts}.length")
    assert browser.run(counts) == ["1"]
    assert browser.run("document.querySelector('.facets').getAttribute('aria-busy')") is None
    browser.follow("document.querySelector('.facet [href*=operator]').click()")
    assert browser.run("document.querySelectorAll('.log-list tbody tr').length") == 1
    assert browser.run("new URLSearchParams(location.search).get('q')") == "zone:operator"
    assert len(entries) == 3
    assert browser.complaints == []


def wait_for(browser: Browser, script: str) -> None:
    for _ in range(100):
        if browser.run(script):
            return
        time.sleep(0.05)
    pytest.fail(f"never true: {script}")


def test_hostile_text_runs_neither_on_the_print_sheet_nor_in_an_evidence_pack(
    browser: Browser, site: str, people: People, entries: list[Entry], tmp_path: Path
) -> None:
    pack = signed_in(people.ada).post("/console/evidence/", {"entry": [entry.pk for entry in entries]})
    with zipfile.ZipFile(io.BytesIO(pack.getvalue())) as archive:
        archive.extract("report.html", tmp_path)
    pack.close()
    sign_in(browser, site, people.ada.username)
    for path in (f"{site}{ENTRIES}{entries[1].pk}/print/", f"file://{tmp_path}/report.html"):
        browser.open(path)
        assert browser.run("typeof window.__xss") == "undefined", path
        assert "<script>window.__xss=1</script>" in browser.run("document.body.innerText")
        assert "[U+202E]" in browser.run("document.body.innerText")
        assert browser.run(CONTRAST) == []
    assert browser.complaints == []


def test_list_is_exported_without_scripts(
    browser: Browser, site: str, people: People, entries: list[Entry]
) -> None:
    """The form alone does it: the browser takes the answer as a download and stays on the list."""
    assert entries
    sign_in(browser, site, people.ada.username)
    browser.scripts(on=False)
    browser.open(f"{site}{DECISIONS}?q=lamp")
    browser.scripts(on=True)
    form = browser.run("Object.fromEntries(new FormData(document.getElementById('export')).entries())")
    action = browser.run("document.getElementById('export').action")
    assert set(form) == {"csrfmiddlewaretoken"}
    answer = signed_in(people.ada).post(action.removeprefix(site), {"format": "ndjson"})
    lines = answer.getvalue().splitlines()
    answer.close()
    assert len(lines) == 2


def test_everything_works_without_scripts(
    browser: Browser, site: str, people: People, entries: list[Entry]
) -> None:
    sign_in(browser, site, people.ada.username)
    browser.scripts(on=False)
    browser.open(f"{site}{DECISIONS}?q=lamp&facets=1")
    browser.scripts(on=True)  # the tests ask by script; the page was loaded without
    assert browser.run("document.querySelectorAll('.log-list tbody tr').length") == 1
    assert "Counts are of the one match." in browser.run("document.querySelector('.facets').innerText")
    browser.scripts(on=False)
    browser.open(f"{site}{record_path(entries[0])}?verify=1")
    browser.scripts(on=True)
    assert browser.run("document.querySelectorAll('.tick-pass').length") == 4
    assert "Erika" in browser.run("document.body.innerText")


def test_tampered_record_is_told_in_words_and_colour(
    browser: Browser, site: str, people: People, entries: list[Entry], flip: Flip
) -> None:
    flip(entries[0], bytes(entries[0].entry).index(b"lamp"))
    sign_in(browser, site, people.ben.username)
    browser.open(f"{site}{record_path(entries[0])}?verify=1")
    assert browser.run("document.querySelector('[role=alert]').innerText").startswith(
        "This record does not verify."
    )
    failed = browser.run(
        "[...document.querySelectorAll('.checks .tick-fail')].map(e => e.innerText.split('\\n')[0])"
    )
    assert [text.strip() for text in failed] == ["Leaf: fail", "Path: fail"]


def test_a_click_marks_a_whole_hash(
    browser: Browser, site: str, people: People, entries: list[Entry]
) -> None:
    sign_in(browser, site, people.ben.username)
    browser.open(site + record_path(entries[0]))
    browser.run("document.querySelectorAll('.digest').forEach(e => { e.open = true; })")
    found = "[...document.querySelectorAll('.hash')].find(e => /^[0-9a-f]{64}$/.test(e.textContent))"
    box = browser.run(f"(() => {{ const e = {found}; e.scrollIntoView(); const b = e.getBoundingClientRect();"
                      " return [b.x + 20, b.y + b.height / 2]; })()")  # fmt: skip
    for kind in ("mousePressed", "mouseReleased"):
        browser.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)
    assert browser.run("getSelection().toString()") == bytes(entries[0].leaf_hash).hex()


def test_pages_stay_within_their_weight(
    browser: Browser, site: str, people: People, entries: list[Entry]
) -> None:
    """Scripts 55 KB and own style 25 KB at most on pages of the ledger (CONSOLE section 16)."""
    sign_in(browser, site, people.ben.username)
    assert len(entries) == 3
    sizes = "performance.getEntriesByType('resource').map(e => [e.name, e.decodedBodySize])"
    for path in (DECISIONS, record_path(entries[0]), "/console/integrity/"):
        browser.open(site + path)
        loaded: list[tuple[str, int]] = browser.run(sizes)
        assert sum(size for name, size in loaded if name.endswith(".js")) <= 55 * 1024, path
        own = [size for name, size in loaded if name.endswith("console.css")]
        assert 0 < sum(own) <= 25 * 1024, path
