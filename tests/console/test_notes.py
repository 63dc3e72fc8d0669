"""Notes, corrections and outcomes from the record page: by role, refused in words, never lost."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from ecp_project.kernel.clock import utc_now
from ledger.core.entry import parse_entry
from ledger.models import Entry, Log, Membership
from ledger.services.operations import mode_switch
from ledger.services.projections import project_search
from tests.console.desk import (
    DECISIONS,
    ENTRIES,
    ROLES,
    annotation,
    decision,
    record,
    record_path,
    shown,
    signed_in,
)
from tests.people import person

if TYPE_CHECKING:
    from tests.people import People

pytestmark = pytest.mark.db

MAY = {
    "auditor": {"note"},
    "operator": {"note", "correction", "outcome"},
    "manufacturer": {"note"},
}
TEXT = "The customer was told on the phone."


@pytest.fixture
def entry(people: People) -> Entry:
    (made,) = record(people.log, decision())
    return made


def send(user: Any, entry: Entry, **form: str) -> Any:
    return signed_in(user).post(record_path(entry).replace("/change/", "/annotate/"), form)


def notes(people: People) -> list[dict[str, Any]]:
    rows = Entry.objects.filter(log=people.log, kind="ecp.annotation/1").order_by("seq")
    return [parse_entry(bytes(row.entry)).stmt for row in rows]


@pytest.mark.parametrize("kind", ["note", "correction", "outcome"])
@pytest.mark.parametrize("role", ROLES)
def test_each_role_writes_what_it_may(entry: Entry, people: People, role: str, kind: str) -> None:
    writer = person("rita", people.acme, role)
    membership = Membership.objects.get(user=writer)
    membership.agents.set(people.acme.agents.all())
    offered = set(re.findall(r'<option value="(note|correction|outcome)"', shown(writer, record_path(entry))))
    assert offered == MAY.get(role, set())
    answer = send(writer, entry, kind=kind, text=TEXT)
    if kind in MAY.get(role, set()):
        assert answer.status_code == 302
        (said,) = notes(people)
        assert (said["kind"], said["text"], said["target"]) == (kind, TEXT, str(entry.uid))
        assert said["actor"] == f"staff:{membership.pseudonym}"
    else:
        assert answer.status_code == 403
        assert notes(people) == []


def test_outcome_has_its_status_and_joins_the_timeline(entry: Entry, people: People) -> None:
    send(people.ada, entry, kind="outcome", outcome="partial", text="Half of the lamps were sold.")
    (said,) = notes(people)
    assert said["status"] == "partial"
    project_search(log_id=people.log.id)
    page = shown(people.ada, record_path(entry))
    assert re.search(r"Staff member [0-9a-f]{8} reported the outcome: partial", page)
    assert "Half of the lamps were sold." in page


@pytest.mark.parametrize("text", ["", "too short", " \u200b \n  short \u200b"])
def test_too_short_a_text_comes_back_in_the_form(entry: Entry, people: People, text: str) -> None:
    answer = send(people.ada, entry, kind="correction", text=text)
    page = answer.content.decode()
    assert answer.status_code == 400
    assert notes(people) == []
    assert 'aria-invalid="true" aria-describedby="note-text-problem"' in page
    assert re.search(r'id="note-text-problem" role="alert">.*<code>explanation_too_short</code>', page)
    assert '<option value="correction" selected>' in page
    assert f">{text.strip()}</textarea>" in page


def test_a_ledger_that_stands_still_refuses_and_keeps_what_was_written(entry: Entry, people: People) -> None:
    log = Log.objects.get(pk=people.log.pk)
    mode_switch(log=log, to="halt", reason="An auditor wants it.", actor="system:shell", now=utc_now())
    page = shown(people.ada, record_path(entry))
    assert 'disabled aria-describedby="note-refused"' in page
    answer = send(people.ada, entry, kind="note", text=TEXT)
    page = answer.content.decode()
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert "<code>ledger_halted</code>" in page
    assert f">{TEXT}</textarea>" in page
    assert notes(people) == []


def test_sent_twice_it_is_recorded_once(entry: Entry, people: People) -> None:
    page = shown(people.ada, record_path(entry))
    found = re.search(r'name="id" value="([0-9a-f-]{36})"', page)
    assert found is not None
    form = {"id": found[1], "kind": "note", "text": TEXT}
    for _ in range(2):
        assert send(people.ada, entry, **form).status_code == 302
    assert len(notes(people)) == 1


def test_windows_line_ends_are_not_kept(entry: Entry, people: People) -> None:
    send(people.ada, entry, kind="note", text="The first line.\r\nThe second line.\r\n")
    assert notes(people)[0]["text"] == "The first line.\nThe second line."


@pytest.mark.parametrize(
    ("form", "status", "code"),
    [
        ({"kind": "verdict", "text": TEXT}, 400, "bad_value"),
        ({"kind": "note", "text": "A zero byte \0 in the text."}, 400, "bad_text"),
        ({"kind": "outcome", "outcome": "great", "text": TEXT}, 400, "bad_value"),
        ({"id": "no-id", "kind": "note", "text": TEXT}, 400, "bad_value"),
    ],
)
def test_wrong_input_is_told_and_nothing_recorded(
    entry: Entry, people: People, form: dict[str, str], status: int, code: str
) -> None:
    answer = send(people.ada, entry, **form)
    assert answer.status_code == status
    assert f"<code>{code}</code>" in answer.content.decode()
    assert notes(people) == []


def test_strangers_and_wrong_places_are_404(entry: Entry, people: People) -> None:
    assert send(people.eve, entry, kind="note", text=TEXT).status_code == 404
    for place in (f"{ENTRIES}99/annotate/", f"{DECISIONS}x/annotate/"):
        assert signed_in(people.ada).post(place, {"kind": "note", "text": TEXT}).status_code == 404
    assert notes(people) == []


def test_asking_for_the_form_s_address_leads_to_the_form(entry: Entry, people: People) -> None:
    answer = signed_in(people.ada).get(record_path(entry).replace("/change/", "/annotate/"))
    assert answer.headers["Location"] == "../change/#notes"


def test_without_a_token_nothing_is_taken(entry: Entry, people: People) -> None:
    browser = signed_in(people.ada)
    browser.handler.enforce_csrf_checks = True
    path = record_path(entry).replace("/change/", "/annotate/")
    assert browser.post(path, {"kind": "note", "text": TEXT}).status_code == 403
    assert notes(people) == []


def test_notes_stand_beside_entries_of_other_kinds_too(entry: Entry, people: People) -> None:
    (noted,) = record(people.log, annotation(entry, TEXT))
    answer = send(people.ada, noted, kind="note", text="This was a call of two minutes.")
    assert answer.status_code == 302
