"""The console in a real browser: keyboard, no script, hostile text, what fetches itself.

What holds of every page alike (accessibility, width, weight, silence) is in test_sweep.py.
"""

from __future__ import annotations

import io
import json
import time
import zipfile
from typing import TYPE_CHECKING

import pytest

from ledger.models import Log
from tests.console.desk import DECISIONS, ENTRIES, record_path, signed_in
from tests.console.sweep import axe, violations

if TYPE_CHECKING:
    from pathlib import Path

    from ledger.models import Entry
    from tests.console.browser import Browser
    from tests.people import People
    from tests.tampering import Flip

pytestmark = [pytest.mark.e2e, pytest.mark.db]


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
        browser.run(f"{axe()}; 0")
        assert violations(browser) == []
    assert browser.complaints == []


def test_list_is_searched_and_exported_by_keyboard_without_scripts(
    browser: Browser, site: str, people: People, entries: list[Entry], tmp_path: Path
) -> None:
    """The forms alone do it: the browser asks the list for the words, then takes its rows as a download."""
    assert entries
    folder = tmp_path / "taken"
    browser.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
    sign_in(browser, site, people.ada.username)
    browser.scripts(on=False)
    browser.open(f"{site}{DECISIONS}")
    browser.focus("main [name=q]")
    browser.write("lamp")
    browser.press("Enter", leads_on=True)
    browser.focus("#export [value=ndjson]")
    browser.press("Enter")
    taken = wait_for_file(folder)
    lines = [json.loads(line) for line in taken.read_bytes().splitlines()]
    assert [line.get("v") for line in lines] == ["ecp.entry/1", "ecp.list/1"]
    assert "lamp" in lines[0]["stmt"]["explanation"]


def wait_for_file(folder: Path) -> Path:
    for _ in range(200):
        found = [file for file in folder.glob("*") if file.suffix != ".crdownload"]
        if found:
            return found[0]
        time.sleep(0.05)
    pytest.fail("nothing was downloaded")


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
    assert browser.run("document.querySelector('#private .reveal > summary').textContent") == "Reveal"


def test_strangers_look_a_public_record_up_without_scripts_and_cookies(
    browser: Browser, site: str, people: People, entries: list[Entry]
) -> None:
    Log.objects.filter(pk=people.log.pk).update(is_public=True)
    browser.scripts(on=False)
    browser.open(f"{site}/public/{people.log.slug}/")
    browser.focus("main [name=q]")
    browser.write(str(entries[1].uid))
    browser.press("Enter", leads_on=True)
    browser.scripts(on=True)
    assert browser.run("document.querySelectorAll('.tick-pass').length") == 4
    assert "<script>window.__xss=1</script>" in browser.run("document.body.innerText")
    assert browser.run("typeof window.__xss + document.scripts.length + document.cookie") == "undefined0"


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
