"""Private values: sealed until a reason is on record, then open until the session ends; both on the log."""

from __future__ import annotations

import re
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from django.db import IntegrityError, transaction

from ecp_project.console import tasks
from ecp_project.console.models import Reveal, RevealSession
from ecp_project.console.reveal import reveal_sweep
from ecp_project.kernel.clock import utc_now
from ledger.models import Membership
from ledger.services.operations import mode_switch
from tests.console.desk import (
    DECISIONS,
    REASON,
    ROLES,
    annotation,
    decision,
    record,
    record_path,
    revealing,
    shown,
    signed_in,
    staff_acts,
)
from tests.people import person

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from django.test import Client

    from ledger.checkpointer import Checkpointer
    from ledger.models import Entry
    from tests.people import People

pytestmark = pytest.mark.db
REVEAL, END = "/console/reveal/", "/console/reveal/end/"
SECRET = "Erika Mustermann"


@pytest.fixture
def two(people: People, checkpointer: Checkpointer) -> list[Entry]:
    made = record(
        people.log,
        decision(context={"customer": SECRET}),
        decision("Refunded the lamp, as it came broken.", context={"customer": SECRET}),
    )
    checkpointer.turn()
    return made


def page(browser: Client, path: str) -> str:
    answer = browser.get(path)
    assert answer.status_code == 200, answer.content[:300]
    return answer.content.decode()


def later(hours: float) -> datetime:
    return utc_now() + timedelta(hours=hours)


def eight_hours_passed() -> None:
    over = later(-1)
    RevealSession.objects.update(began_at=over - timedelta(hours=8), ends_at=over)


def test_one_reason_opens_every_record_until_the_session_ends(people: People, two: list[Entry]) -> None:
    browser = signed_in(people.ada)
    first, second = map(record_path, two)
    assert SECRET not in page(browser, first)
    answer = browser.post(REVEAL, {"log": "acme", "reason": REASON, "next": f"{first}#private"})
    assert (answer.status_code, answer.headers["Location"]) == (302, f"{first}#private")
    for path, number in (
        (first, "1 record opened"),
        (second, "2 records opened"),
        (first, "2 records opened"),
    ):
        text = page(browser, path)
        assert SECRET in text
        assert f"Reveal session: {number}," in text
        assert ">Reveal</summary>" not in text
    browser.post(END, {"next": first})
    assert SECRET not in page(browser, first)
    begin, end = staff_acts(people.log)
    assert (begin["action"], begin["reason"]) == ("reveal.begin", REASON)
    assert end["action"] == "reveal.end"
    assert begin["object"] == end["object"]
    listed = "".join(f"acme {entry.seq} {entry.uid}\n" for entry in two).encode()
    assert end["detail"] == {"ended_by": "person", "list_sha256": sha256(listed).hexdigest(), "records": 2}
    session = RevealSession.objects.get()
    assert browser.get(f"{REVEAL}{session.pk}/list/").content == listed


@pytest.mark.parametrize("reason", ["", "too short", "\u200b" * 30, "x" * 1_001, "a\u0000b and ten more"])
def test_poor_reason_opens_nothing_and_comes_back(people: People, two: list[Entry], reason: str) -> None:
    browser = signed_in(people.ada)
    answer = browser.post(REVEAL, {"log": "acme", "reason": reason, "next": record_path(two[0])})
    assert answer.status_code == 400
    text = answer.content.decode()
    assert 'aria-invalid="true"' in text
    assert (f">{reason}</textarea>" in text) or "\u0000" in reason
    assert not RevealSession.objects.exists()
    assert staff_acts(people.log) == []
    assert SECRET not in page(browser, record_path(two[0]))


@pytest.mark.parametrize("role", ROLES)
def test_roles(people: People, two: list[Entry], role: str) -> None:
    user = person("sam", people.acme, role)
    Membership.objects.get(user=user).agents.set(people.acme.agents.all())
    browser = signed_in(user)
    may_open, may_see = role in {"auditor", "operator"}, role in {"auditor", "operator", "admin"}
    assert browser.get(REVEAL).status_code == (200 if may_see else 403)
    assert browser.post(REVEAL, {"log": "acme", "reason": REASON}).status_code == (302 if may_open else 403)
    assert browser.post(END).status_code == (302 if may_open else 403)
    assert len(staff_acts(people.log)) == (2 if may_open else 0)
    browser.post(REVEAL, {"log": "acme", "reason": REASON})
    for path in (record_path(two[0]), record_path(two[0]).replace("decision", "entry")):
        assert (SECRET in page(browser, path)) is may_open


def test_a_role_that_is_taken_away_closes_what_it_opened(people: People, two: list[Entry]) -> None:
    browser = revealing(people.ada, people.log)
    assert SECRET in page(browser, record_path(two[0]))
    Membership.objects.filter(user=people.ada).update(role="viewer")
    assert SECRET not in page(browser, record_path(two[0]))


def test_another_organisation_s_session_opens_nothing_here(people: People, two: list[Entry]) -> None:
    Membership.objects.create(user=people.ben, organisation=people.other, role="auditor")
    browser = revealing(people.ben, people.other_log)
    assert SECRET not in page(browser, record_path(two[0]))
    assert [act["action"] for act in staff_acts(people.other_log)] == ["reveal.begin"]
    assert staff_acts(people.log) == []
    assert browser.post(REVEAL, {"log": "acme", "reason": REASON}).status_code == 403
    session = RevealSession.objects.get()
    assert signed_in(people.ada).get(f"{REVEAL}{session.pk}/list/").status_code == 404
    assert signed_in(people.eve).post(REVEAL, {"log": "acme", "reason": REASON}).status_code == 404


def test_another_browser_asks_again(people: People, two: list[Entry]) -> None:
    revealing(people.ada, people.log)
    assert SECRET not in shown(people.ada, record_path(two[0]))


def test_second_press_gives_no_second_entry(people: People, two: list[Entry]) -> None:
    browser = revealing(people.ada, people.log)
    browser.post(REVEAL, {"log": "acme", "reason": "Another reason, given by the way."})
    assert [act.get("reason") for act in staff_acts(people.log)] == [REASON]
    assert len(two) == 2


def test_sign_out_ends_it(people: People, two: list[Entry]) -> None:
    browser = revealing(people.ada, people.log)
    page(browser, record_path(two[0]))
    assert browser.post("/console/logout/").status_code in {200, 302}
    detail = staff_acts(people.log)[1]["detail"]
    assert (detail["ended_by"], detail["records"]) == ("sign_out", 1)
    browser.force_login(people.ada)
    assert SECRET not in page(browser, record_path(two[0]))


def test_after_eight_hours_it_is_over_and_the_task_says_so(people: People, two: list[Entry]) -> None:
    browser = revealing(people.ada, people.log)
    page(browser, record_path(two[0]))
    assert reveal_sweep(now=later(7.9)) == 0
    # Over, whether the task has come by or not.
    eight_hours_passed()
    assert SECRET not in page(browser, record_path(two[0]))
    tasks.sweep_reveals()
    tasks.sweep_reveals()
    _, end = staff_acts(people.log)
    assert (end["actor"], end["detail"]["ended_by"], end["detail"]["records"]) == ("system:reveal", "time", 1)


def test_reason_after_the_eight_hours_begins_another_session(people: People, two: list[Entry]) -> None:
    browser = revealing(people.ada, people.log)
    eight_hours_passed()
    browser.post(REVEAL, {"log": "acme", "reason": REASON})
    assert [act["action"] for act in staff_acts(people.log)] == ["reveal.begin", "reveal.end", "reveal.begin"]
    assert SECRET in page(browser, record_path(two[0]))


def halt(people: People, to: str = "halt") -> None:
    mode_switch(log=people.log, to=to, reason="An audit is under way.", actor="system:test", now=utc_now())


def test_halted_log_opens_nothing_and_keeps_the_reason(people: People, two: list[Entry]) -> None:
    halt(people)
    browser = signed_in(people.ada)
    answer = browser.post(REVEAL, {"log": "acme", "reason": REASON})
    assert answer.status_code == 503
    assert f">{REASON}</textarea>" in answer.content.decode()
    assert "ledger_halted" in answer.content.decode()
    assert not RevealSession.objects.exists()
    assert SECRET not in page(browser, record_path(two[0]))


def test_end_during_a_halt_closes_at_once_and_is_recorded_afterwards(
    people: People, two: list[Entry]
) -> None:
    browser = revealing(people.ada, people.log)
    page(browser, record_path(two[0]))
    halt(people)
    assert browser.post("/console/logout/").status_code in {200, 302}
    assert RevealSession.objects.get().ended_at is not None
    assert reveal_sweep(now=utc_now()) == 0
    assert "waits for the log to take it" in shown(people.ada, REVEAL)
    halt(people, to="active")
    assert (reveal_sweep(now=utc_now()), reveal_sweep(now=utc_now())) == (1, 0)
    assert [act["action"] for act in staff_acts(people.log)] == ["reveal.begin", "reveal.end"]


def test_record_without_private_values_is_not_on_the_list(people: People, two: list[Entry]) -> None:
    (noted,) = record(people.log, annotation(two[0], "The customer was told on the phone."))
    browser = revealing(people.ada, people.log)
    page(browser, record_path(noted))
    assert not Reveal.objects.exists()


def test_a_note_that_is_refused_leaves_the_values_open(people: People, two: list[Entry]) -> None:
    browser = revealing(people.ada, people.log)
    path = record_path(two[0]).replace("/change/", "/annotate/")
    answer = browser.post(path, {"kind": "note", "text": "short"})
    assert answer.status_code == 400
    assert SECRET in answer.content.decode()


@pytest.mark.parametrize(
    "next_", ["https://elsewhere.example/", "//elsewhere.example", "/public/", "javascript:alert(1)", ""]
)
def test_the_way_on_stays_inside_the_console(people: People, next_: str) -> None:
    answer = signed_in(people.ada).post(REVEAL, {"log": "acme", "reason": REASON, "next": next_})
    assert (answer.status_code, answer.headers["Location"]) == (302, REVEAL)


def test_auditors_and_admins_see_all_sessions_operators_their_own(people: People, two: list[Entry]) -> None:
    otto = person("otto", people.acme, "auditor")
    page(revealing(people.ada, people.log), record_path(two[0]))
    revealing(otto, people.log, "The yearly look at refunds.")
    found = {
        name: len(re.findall(r"/console/reveal/[0-9a-f-]{36}/list/", shown(user, REVEAL)))
        for name, user in (
            ("otto", otto),
            ("ada", people.ada),
            ("adam", person("adam", people.acme, "admin")),
            ("olga", person("olga", people.acme, "operator")),
            ("eve", people.eve),
        )
    }
    assert found == {"otto": 2, "ada": 1, "adam": 2, "olga": 0, "eve": 0}
    assert "Nobody has opened private values yet." in shown(people.eve, REVEAL)


def test_nothing_else_shows_plaintext_while_a_session_is_open(
    people: People, two: list[Entry], checkpointer: Checkpointer, settings: Any, tmp_path: Path
) -> None:
    settings.ECP_FILES_DIR = tmp_path / "files"
    browser = revealing(people.ada, people.log)
    path = record_path(two[0])
    assert SECRET in page(browser, path)
    asked: list[tuple[str, Any]] = [
        (path.replace("/change/", f"/{part}/"), None) for part in ("print", "raw", "verify")
    ]
    asked += [(DECISIONS, None), (f"/api/v1/decisions/{two[0].uid}/", None)]
    asked += [(DECISIONS, {"format": name}) for name in ("csv", "json", "ndjson")]
    asked.append(("/console/evidence/", {"entry": str(two[0].pk)}))
    for address, form in asked:
        checkpointer.turn()  # what is handed over waits for a signature
        answer = browser.get(address) if form is None else browser.post(address, form)
        content = answer.getvalue() if answer.streaming else answer.content
        answer.close()
        assert answer.status_code == 200, content[:300]
        assert len(content) > 100
        assert SECRET.encode() not in content


@pytest.mark.parametrize(
    "change",
    [
        {"ends_at": later(24)},
        {"ended_by": "person"},
        {"ended_at": utc_now()},
        {"recorded_at": utc_now()},
        {"ended_at": utc_now(), "ended_by": "person", "digest": "none"},
    ],
)
def test_database_refuses_sessions_without_an_end(people: People, change: dict[str, Any]) -> None:
    revealing(people.ada, people.log)
    with pytest.raises(IntegrityError), transaction.atomic():
        RevealSession.objects.update(**change)
