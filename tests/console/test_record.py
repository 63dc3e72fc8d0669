"""Record page: the explanation first, private values for those who may, four ticks or the exact failure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.signing import kid_of
from ledger.core.entry import parse_entry
from ledger.models import Entry, Membership, Role, SealedPart
from ledger.services.erasure import erase_subject
from ledger.services.projections import project_search
from tests.console.desk import (
    DECISIONS,
    ENTRIES,
    ROLES,
    annotation,
    decision,
    record,
    record_path,
    revealing,
    shown,
    signed_in,
)
from tests.ledger.signing import decision_statement, pen, registered
from tests.people import person

if TYPE_CHECKING:
    from pathlib import Path

    from ledger.checkpointer import Checkpointer
    from tests.people import People
    from tests.tampering import Flip, SuperuserRuns

pytestmark = pytest.mark.db
SECRET = "Erika Mustermann"


@pytest.fixture
def entry(people: People, checkpointer: Checkpointer) -> Entry:
    (made,) = record(
        people.log,
        decision(
            "Lowered the price, as the lamp sells slowly.",
            context={"customer": SECRET, "amount_eur": 40},
            data_subject="customer-7",
            risk="high",
            model={"name": "pricer", "version": "2026-02"},
            alternatives=[{"option": "Keep the price", "reason": "The shelf is needed for spring."}],
        ),
    )
    checkpointer.turn()
    return made


def verified(user: Any, entry: Entry) -> str:
    return shown(user, record_path(entry), verify=1)


def ticks(page: str) -> dict[str, str]:
    return dict(re.findall(r'<th scope="row" class="tick-[a-z]+">(\w+): (\w+)', page))


def test_explanation_comes_before_everything_and_the_bytes_last(entry: Entry, people: People) -> None:
    page = shown(people.ada, record_path(entry))
    order = [
        "Lowered the price, as the lamp sells slowly.</bdi>",
        "Context that every reader of the log sees",
        "Private context",
        "Alternatives that were weighed",
        "What happened</h2>",
        'id="integrity"',
        "Entry, byte for byte",
    ]
    places = [page.index(text) for text in order]
    assert places == sorted(places)
    assert "<h1>price.change</h1>" in page
    assert "risk high" in page
    assert str(entry.uid) in page
    assert bytes(entry.leaf_hash).hex() in page


@pytest.mark.parametrize("role", ROLES)
def test_private_values_are_sealed_and_auditors_and_operators_may_ask(
    entry: Entry, people: People, role: str
) -> None:
    reader = person("rita", people.acme, role)
    Membership.objects.get(user=reader).agents.set(people.acme.agents.all())
    page = shown(reader, record_path(entry))
    may_open = role in {Role.AUDITOR, Role.OPERATOR}
    assert SECRET not in page
    commitments = parse_entry(bytes(entry.entry)).stmt["sealed"]
    assert len(commitments) == 2
    for part in commitments:
        assert re.search(rf"{part['ptr']}.*?sealed; commitment.*?{part['c']}", page, re.DOTALL)
    assert (">Reveal</summary>" in page) is may_open
    assert ("Auditors and operators of the organisation may read" in page) is not may_open


def test_a_role_elsewhere_opens_nothing_here(entry: Entry, people: People) -> None:
    Membership.objects.create(user=people.ben, organisation=people.other, role=Role.AUDITOR)
    assert SECRET not in shown(people.ben, record_path(entry))


def test_verify_shows_four_ticks(entry: Entry, people: People) -> None:
    page = verified(people.ben, entry)
    assert ticks(page) == {"Leaf": "pass", "Chain": "pass", "Path": "pass", "Signature": "pass"}
    assert "Verified: stored as it was recorded" in page
    assert "This record does not verify." not in page


def test_entry_without_a_checkpoint_is_pending(people: People) -> None:
    (made,) = record(people.log, decision())
    page = verified(people.ben, made)
    assert ticks(page) == {"Leaf": "pass", "Chain": "pass", "Path": "pending", "Signature": "pending"}
    assert "Pending: not every check can be made yet." in page


def test_flipped_byte_of_the_explanation_fails_leaf_and_path(
    entry: Entry, people: People, flip: Flip
) -> None:
    flip(entry, bytes(entry.entry).index(b"lamp"))
    page = verified(people.ben, entry)
    assert ticks(page) == {"Leaf": "fail", "Chain": "pass", "Path": "fail", "Signature": "pass"}
    assert "This record does not verify." in page
    assert "the stored bytes are not those that were hashed" in page
    assert "the audit path does not lead to the root" in page
    assert "mamp sells slowly" in page  # a failure never hides the record


def test_bytes_that_are_no_entry_any_more_are_shown_as_they_are(
    entry: Entry, people: People, flip: Flip
) -> None:
    flip(entry, 0)
    assert "The stored bytes are no entry any more." in shown(people.ada, record_path(entry))
    page = verified(people.ada, entry)
    assert ticks(page)["Leaf"] == ticks(page)["Chain"] == "fail"
    assert "the stored bytes are no entry: the envelope is not that of an entry" in page
    assert "z&quot;log&quot;" in page


def test_changed_neighbour_breaks_the_chain_of_the_next(
    people: People, checkpointer: Checkpointer, flip: Flip
) -> None:
    first, second = record(people.log, decision(), decision())
    checkpointer.turn()
    flip(first, bytes(first.entry).index(b"lamp"))
    page = verified(people.ben, second)
    assert ticks(page) == {"Leaf": "pass", "Chain": "fail", "Path": "pass", "Signature": "pass"}
    assert "this entry does not follow the entry that is stored before it" in page


def test_missing_neighbour_is_named(
    people: People, checkpointer: Checkpointer, superuser_runs: SuperuserRuns
) -> None:
    _, second = record(people.log, decision(), decision())
    checkpointer.turn()
    superuser_runs("ledger_entry", "DELETE FROM ledger_entry WHERE seq = 0")
    page = verified(people.ben, second)
    assert ticks(page)["Chain"] == ticks(page)["Path"] == "fail"
    assert "the entry at 0 is missing" in page


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            "UPDATE ledger_checkpoint SET root = sha256('another'::bytea)",
            "the signed checkpoint speaks of another tree",
        ),
        (
            "UPDATE ledger_checkpoint SET note = replace(note, '1', '2')",
            "no configured key signed this checkpoint",
        ),
        ("UPDATE ledger_checkpoint SET note = 'nothing'", "no configured key signed this checkpoint"),
    ],
)
def test_changed_checkpoint_fails_the_signature(
    entry: Entry, people: People, superuser_runs: SuperuserRuns, change: str, says: str
) -> None:
    superuser_runs("ledger_checkpoint", change)
    page = verified(people.ben, entry)
    assert ticks(page)["Signature"] == "fail"
    assert says in page


def test_without_a_configured_key_nothing_is_called_verified(
    entry: Entry, people: People, settings: Any, tmp_path: Path
) -> None:
    settings.ECP_LOG_PUBLIC_KEYS = tmp_path / "none.json"
    page = verified(people.ben, entry)
    assert ticks(page)["Signature"] == "unavailable"
    assert "verdict-verified" not in page


def test_erased_value_says_when_and_leaves_no_text(
    entry: Entry, people: People, checkpointer: Checkpointer
) -> None:
    erase_subject(
        log=people.log,
        handle="customer-7",
        basis="data_subject_request",
        actor="system:shell",
        now=utc_now(),
    )
    checkpointer.turn()
    project_search(log_id=people.log.id)
    page = verified(people.ada, entry)
    assert SECRET not in page
    assert "sealed and erased on" in page
    assert "The system (shell) erased private values of this record: 2" in page
    assert set(ticks(page).values()) == {"pass"}


def test_value_that_was_changed_in_the_database_is_not_called_erased(
    entry: Entry, people: People, superuser_runs: SuperuserRuns
) -> None:
    change = "UPDATE ledger_sealedpart SET ciphertext = set_byte(ciphertext, 0, get_byte(ciphertext, 0) # 1)"
    superuser_runs("ledger_sealedpart", change)
    page = revealing(people.ada, people.log).get(record_path(entry)).content.decode()
    assert "sealed, and does not open" in page
    assert "erased on" not in page
    assert SealedPart.objects.exists()


def test_annotations_and_references_are_told_oldest_first(entry: Entry, people: People) -> None:
    record(
        people.log,
        annotation(entry, "The customer was told on the phone."),
        annotation(entry, "Sales rose within the week.", kind="outcome", status="success"),
    )
    record(
        people.log,
        decision(
            "Raised the price again, as the stock ran out.",
            refs=[{"rel": "supersedes", "id": str(entry.uid)}],
        ),
    )
    page = shown(people.ben, record_path(entry))
    order = [
        "Agent pricing-bot decided: price.change",
        "The log signed it: checkpoint over",
        "The system (test) left a note",
        "The system (test) reported the outcome: success",
        "Agent pricing-bot decided price.change and named this record (supersedes)",
    ]
    places = [page.index(text) for text in order]
    assert places == sorted(places)
    assert "Sales rose within the week." in page


def test_annotation_names_its_record(entry: Entry, people: People) -> None:
    (noted,) = record(people.log, annotation(entry, "The customer was told on the phone."))
    page = shown(people.ben, record_path(noted))
    assert "The customer was told on the phone." in page
    assert f"{ENTRIES}?q={entry.uid}" in page
    assert "<h1>Note</h1>" in page


def test_neighbours_are_a_click_away(people: People) -> None:
    first, second, third = record(people.log, decision(), decision(), decision())
    page = shown(people.ben, record_path(second))
    assert f'rel="prev" href="{ENTRIES}{first.id}/change/"' in page
    assert f'rel="next" href="{ENTRIES}{third.id}/change/"' in page
    assert 'rel="prev"' not in shown(people.ben, record_path(first))
    assert 'rel="next"' not in shown(people.ben, record_path(third))


def test_statement_that_the_agent_signed_is_checked_too(people: People, checkpointer: Checkpointer) -> None:
    holder, _ = registered(people.ada_agent.agent, people.log)
    stmt = decision_statement()
    answer = Client().post(
        "/api/v1/logs/acme/entries/",
        holder.body(stmt),
        content_type="application/json",
        **people.ada_agent.headers,
    )
    assert answer.status_code == 201, answer.content
    checkpointer.turn()
    page = verified(people.ben, Entry.objects.get(uid=stmt["id"]))
    assert ticks(page)["Agent"] == "pass"
    assert f"key {kid_of(pen(people.log).public_key)}" in page


def test_hostile_text_stays_text(people: People) -> None:
    hostile = "<img src=x onerror=alert(1)> \u202egnirts\u2069 {{ 7|add:1 }} & done"
    (made,) = record(people.log, decision(hostile))
    for page in (shown(people.ben, record_path(made)), shown(people.ben, DECISIONS)):
        assert "<img src=x" not in page
        assert "\u202e" not in page
        assert "[U+202E]" in page
        assert "{{ 7|add:1 }}" in page


@pytest.mark.parametrize(
    "number", ["0", "abc", "-1", "1e5", "9" * 18, "9" * 40, "%D9%A1", "1_5F", "%00", "1/2"]
)
def test_address_of_no_record_is_404(entry: Entry, people: People, number: str) -> None:
    assert entry.seq == 0
    for page in (DECISIONS, ENTRIES):
        assert signed_in(people.ben).get(f"{page}{number}/change/").status_code == 404


def test_strangers_and_wrong_kinds_are_404(entry: Entry, people: People) -> None:
    (noted,) = record(people.log, annotation(entry, "The customer was told on the phone."))
    assert signed_in(people.ben).get(f"{DECISIONS}{noted.id}/change/").status_code == 404
    assert signed_in(people.ben).get(f"{ENTRIES}{noted.id}/change/").status_code == 200
    for path in (record_path(entry), record_path(noted)):
        assert signed_in(people.eve).get(path).status_code == 404


@pytest.mark.parametrize("role", ["ada", "root"])
def test_nobody_writes_to_an_entry(entry: Entry, people: People, role: str) -> None:
    if role == "root":
        people.ada.is_superuser = True
        people.ada.save()
    browser, before = signed_in(people.ada), bytes(entry.entry)
    for page in (DECISIONS, ENTRIES):
        for path in ("add/", f"{entry.id}/change/", f"{entry.id}/delete/"):
            assert browser.post(page + path, {"action": "delete_selected"}).status_code == 403, page + path
        marked = {"action": "delete_selected", "entry": [entry.id], "post": "yes"}
        assert browser.post(page, marked).status_code == 400, "the menu of a list has no such action"
    assert bytes(Entry.objects.get(id=entry.id).entry) == before


@pytest.mark.parametrize("query", [{}, {"verify": "1"}])
def test_a_record_takes_sixteen_queries(entry: Entry, people: People, query: dict[str, str]) -> None:
    record(people.log, *[annotation(entry, f"Note number {number} of many.") for number in range(30)])
    opened = revealing(people.ada, people.log)
    # Opened for the first time, a record goes on the session's list: three more for that transaction.
    for browser, most in ((signed_in(people.ada), 16), (opened, 19), (opened, 16)):
        with CaptureQueriesContext(connection) as captured:
            assert browser.get(record_path(entry), query).status_code == 200
        assert len(captured) <= most, [found["sql"][:90] for found in captured.captured_queries]
