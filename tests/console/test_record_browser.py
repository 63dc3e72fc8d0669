"""The record page in a browser: its own verification, the pinned key, notes, copying, two columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ledger.core.note import Signer
from ledger.services.projections import project_search
from tests.console.desk import HOSTILE, decision, record, record_path
from tests.console.test_browser import sign_in, tab_to

if TYPE_CHECKING:
    from ledger.models import Entry
    from tests.console.browser import Browser
    from tests.people import People
    from tests.tampering import Flip

pytestmark = [pytest.mark.e2e, pytest.mark.db]

STATES = """
[...document.querySelectorAll('#verify-here tbody th')].map(e => e.textContent)
"""
ALL = ["Leaf: pass", "Chain: pass", "Path: pass", "Signature: pass"]


def until(browser: Browser, script: str) -> Any:
    """Value of an expression once it is there."""
    return browser.run(
        f"""(async () => {{
            for (let turn = 0; turn < 200; turn++) {{
                const found = {script};
                if (found) return found;
                await new Promise(done => setTimeout(done, 50));
            }}
            return null;
        }})()"""
    )


def part(name: str) -> str:
    return f"document.querySelector('#verify-here [data-part={name}]')"


def press_verify(browser: Browser) -> str:
    """Press the button; the verdict's words."""
    browser.run(f"{part('verdict')}.className = ''; {part('start')}.click()")
    found: str = until(
        browser, f"/verdict-(?!busy)/.test({part('verdict')}.className) && {part('verdict')}.textContent"
    )
    return found


@pytest.fixture
def opened(browser: Browser, site: str, people: People, entries: list[Entry]) -> Browser:
    sign_in(browser, site, people.ben.username)
    browser.open(site + record_path(entries[1]))
    return browser


def test_keyboard_reaches_the_browser_s_own_verdict(opened: Browser) -> None:
    tab_to(opened, "Verify in this browser")
    opened.press("Enter")
    assert until(opened, f"{part('verdict')}.className === 'verdict-verified'")
    assert opened.run(STATES) == ALL
    assert opened.complaints == []


def test_changed_bytes_fail_leaf_and_path_in_the_browser_too(
    opened: Browser, entries: list[Entry], flip: Flip
) -> None:
    flip(entries[1], bytes(entries[1].entry).index(b"Lowered"))
    assert press_verify(opened).startswith("Failed:")
    assert opened.run(STATES) == ["Leaf: fail", "Chain: pass", "Path: fail", "Signature: pass"]


def test_changed_entry_before_fails_the_chain(opened: Browser, entries: list[Entry], flip: Flip) -> None:
    flip(entries[0], bytes(entries[0].entry).index(b"lamp"))
    press_verify(opened)
    assert opened.run(STATES) == ["Leaf: pass", "Chain: fail", "Path: pass", "Signature: pass"]


def test_the_key_is_remembered_and_a_change_warns(opened: Browser, people: People) -> None:
    name = f"ecp.vkey:{people.log.origin}"
    offered = opened.run(f"localStorage.getItem('{name}')")
    assert offered.startswith(people.log.origin)
    assert "first time" in opened.run(f"{part('memory')}.textContent")
    assert opened.run(f"{part('changed')}.hidden")
    other = Signer(people.log.origin, bytes(range(1, 33))).vkey
    opened.run(f"localStorage.setItem('{name}', '{other}')")
    opened.follow("location.reload()")
    assert not opened.run(f"{part('changed')}.hidden")
    assert press_verify(opened).startswith("Failed:")
    assert opened.run(STATES)[-1] == "Signature: fail"
    opened.run(f"{part('accept')}.click()")
    assert opened.run(f"localStorage.getItem('{name}')") == offered
    assert press_verify(opened).startswith("Verified by this browser")


def test_a_pasted_key_counts_when_it_is_one_of_this_log(opened: Browser, people: People) -> None:
    def paste(vkey: str) -> None:
        opened.run(f"document.querySelector('#verify-key').value = '{vkey}'")
        opened.run(f"{part('paste')}.requestSubmit()")

    problem = "document.querySelector('#verify-key-problem').textContent"
    for wrong in ("no key", Signer("elsewhere/log", bytes(32)).vkey):
        paste(wrong)
        assert until(opened, problem) == "This is no verifier key of this log."
    other = Signer(people.log.origin, bytes(range(1, 33))).vkey
    paste(other)
    assert until(opened, f"{part('key')}.textContent === '{other}'")
    press_verify(opened)
    assert opened.run(STATES)[-1] == "Signature: fail"


@pytest.mark.parametrize(
    ("lack", "says"),
    [
        ("Object.defineProperty(globalThis, 'isSecureContext', {value: false})", "not loaded over https"),
        (
            "SubtleCrypto.prototype.importKey = () => { throw new DOMException('', 'NotSupportedError'); }",
            "cannot check Ed25519",
        ),
    ],
)
def test_browser_that_cannot_verify_says_why_and_how_else(opened: Browser, lack: str, says: str) -> None:
    opened.run(f"({lack}, 0)")
    opened.run(f"{part('start')}.click()")
    assert until(opened, f"!{part('offline')}.hidden")
    assert says in opened.run(f"{part('verdict')}.textContent")
    assert "python -m ledger.core.verify receipt" in opened.run(f"{part('offline')}.innerText")
    assert opened.run(STATES) == []


def test_record_without_a_checkpoint_is_pending(
    browser: Browser, site: str, people: People, entries: list[Entry]
) -> None:
    (made,) = record(people.log, decision())
    assert entries
    sign_in(browser, site, people.ben.username)
    browser.open(site + record_path(made))
    assert press_verify(browser).startswith("Pending:")
    assert browser.run(STATES) == ["Leaf: pass", "Chain: pass", "Path: pending", "Signature: pending"]


def test_two_columns_on_wide_screens_one_below(opened: Browser) -> None:
    side = "document.querySelector('.record-side').getBoundingClientRect()"
    main = "document.querySelector('.record-main').getBoundingClientRect()"
    opened.resize(1400, 900)
    assert opened.run(f"{side}.left >= {main}.right")
    opened.resize(1000, 900)
    assert opened.run(f"{side}.top >= {main}.bottom")


def test_hash_is_short_and_whole_beside_it(opened: Browser, entries: list[Entry]) -> None:
    digest = bytes(entries[1].leaf_hash).hex()
    label = f"{digest[:8]}…{digest[-4:]}"
    assert label in opened.run("document.querySelector('#integrity').innerText")
    copies = opened.run(f"document.querySelectorAll('[data-copy=\"{digest}\"]').length")
    assert copies >= 1
    assert digest in opened.run(f"document.querySelector('[data-copy=\"{digest}\"]').ariaLabel")


def test_note_is_written_by_keyboard_and_hostile_text_stays_text(
    browser: Browser, site: str, people: People, entries: list[Entry]
) -> None:
    sign_in(browser, site, people.ada.username)
    browser.open(site + record_path(entries[0]))
    browser.run("document.querySelector('#note-text').focus()")
    browser.write("short")
    browser.follow("document.querySelector('#notes button').click()")
    assert "explanation_too_short" in browser.run("document.querySelector('#note-text-problem').innerText")
    assert browser.run("document.querySelector('#note-text').value") == "short"
    browser.run(
        "document.querySelector('#note-text').value = ''; document.querySelector('#note-text').focus()"
    )
    browser.write(HOSTILE)
    browser.follow("document.querySelector('#notes button').click()")
    assert "Recorded at position" in browser.run("document.body.innerText")
    project_search(log_id=people.log.id)
    for path in (record_path(entries[0]), f"{record_path(entries[0])}?verify=1"):
        browser.open(site + path)
        assert "<script>window.__xss=1</script>" in browser.run(
            "document.querySelector('#timeline').innerText"
        )
        assert browser.run("typeof window.__xss") == "undefined"
    # the answer 400 to the short text is told to the console of the browser, and nothing else
    assert [text for text in browser.complaints if "400" not in text] == []
