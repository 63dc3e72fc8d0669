"""Data subjects: what is held, the pack for the person, erasure proposed by one and approved by another."""

from __future__ import annotations

import io
import json
import zipfile
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest

from ecp_project.console.models import Reveal
from ecp_project.kernel.clock import utc_now
from ledger.core.verify.command import main as verify
from ledger.models import Entry, ErasureRequest, SealedPart
from ledger.services.erasure_run import erasure_run
from ledger.services.operations import mode_switch
from tests.console.desk import REASON, decision, record, revealing, signed_in, staff_acts
from tests.console.test_frame import check
from tests.people import person

if TYPE_CHECKING:
    from pathlib import Path

    from django.contrib.auth.models import User
    from django.test import Client

    from tests.people import People

pytestmark = pytest.mark.db
PAGE, PACK, ERASURES = (
    "/console/data-subjects/",
    "/console/data-subjects/pack/",
    "/console/data-subjects/erasures/",
)
HANDLE = "customer-88213"
WHY = "The person wrote to us in May."


@pytest.fixture
def held(people: People) -> list[Entry]:
    """Two decisions about Erika, one of which is about Frank too, and one about Frank alone."""
    return record(
        people.log,
        decision(context={"customer": "Erika Mustermann"}, data_subject=HANDLE),
        decision(
            "Refunded the lamp, as it came broken.",
            context={"customer": "Erika Mustermann", "driver": "Frank Fahrer"},
            data_subject=HANDLE,
            data_subjects={"/context/driver": "driver-17"},
        ),
        decision(
            "Sent another driver, as the first was ill.",
            context={"driver": "Frank Fahrer"},
            data_subject="driver-17",
        ),
    )


@pytest.fixture
def adam(people: People) -> User:
    return person("adam", people.acme, "admin")


def looked_up(browser: Client, handle: str = HANDLE, **form: str) -> str:
    answer = browser.post(PAGE, {"log": "acme", "handle": handle, **form})
    assert answer.status_code == 200, answer.content[:500]
    text = answer.content.decode()
    check(text)
    return text


def propose(user: Any, handle: str = HANDLE, **form: str) -> Any:
    given = {"log": "acme", "handle": handle, "basis": "data_subject_request", "erasure_reason": WHY}
    return signed_in(user).post(ERASURES, given | form)


def decide(user: Any, act: str) -> Any:
    pk = ErasureRequest.objects.latest("pk").pk
    return signed_in(user).post(f"{ERASURES}{pk}/", {"log": "acme", "act": act})


def shown_to(user: Any) -> str:
    text: str = signed_in(user).get(PAGE, {"log": "acme"}).content.decode()
    check(text)
    return text


# --- looking up


def test_look_up_tells_records_and_fields_and_no_value(people: People, held: list[Entry]) -> None:
    text = looked_up(signed_in(people.ada), reason=REASON)
    assert "Records: 2. Private values in them: 2." in text
    for entry in held[:2]:
        assert f"/console/ledger/entry/{entry.pk}/change/" in text
    assert f"/console/ledger/entry/{held[2].pk}/change/" not in text
    assert "/context/customer" in text
    assert "/context/driver" not in text
    assert "Mustermann" not in text
    assert [act["action"] for act in staff_acts(people.log)] == ["reveal.begin"]


def test_second_look_up_of_a_session_asks_for_no_reason(people: People, held: list[Entry]) -> None:
    browser = revealing(people.ada, people.log)
    assert 'name="reason"' not in browser.get(PAGE).content.decode()
    assert "Records: 2. Private values in them: 2." in looked_up(browser)
    assert "Reveal session: 0 records opened" in looked_up(browser)
    assert len(staff_acts(people.log)) == 1
    assert held


def test_without_a_reason_nothing_is_told_and_the_handle_is_kept(people: People, held: list[Entry]) -> None:
    answer = signed_in(people.ada).post(PAGE, {"log": "acme", "handle": HANDLE, "reason": "because"})
    text = answer.content.decode()
    check(text)
    assert answer.status_code == 400
    assert f'value="{HANDLE}"' in text
    assert ">because</textarea>" in text
    assert "explanation_too_short" in text
    assert "Private values in them" not in text
    assert held


@pytest.mark.parametrize("handle", ["", "   ", "x" * 129, "a\u0007b"])
def test_bad_handle_is_an_error_at_its_field(people: People, handle: str) -> None:
    answer = revealing(people.ada, people.log).post(PAGE, {"log": "acme", "handle": handle})
    assert answer.status_code == 400
    assert 'id="handle-problem"' in answer.content.decode()


def test_unknown_handle_is_told_as_such(people: People, held: list[Entry]) -> None:
    assert "Nothing is held under this handle" in looked_up(revealing(people.ada, people.log), "customer-1")
    assert held


def test_a_handle_of_another_organisation_is_another_person(people: People, held: list[Entry]) -> None:
    eve = person("evita", people.other, "auditor")
    browser = revealing(eve, people.other_log)
    answer = browser.post(PAGE, {"log": "umbra", "handle": HANDLE})
    assert "Nothing is held under this handle" in answer.content.decode()
    assert held


def test_handle_stands_in_no_address_log_line_or_entry(
    people: People, held: list[Entry], adam: User, capsys: pytest.CaptureFixture[str]
) -> None:
    browser = revealing(people.ada, people.log)
    looked_up(browser)
    browser.post(PACK, {"log": "acme", "handle": HANDLE})
    for answer in (propose(people.ada), decide(adam, "approve"), decide(adam, "withdraw")):
        assert HANDLE not in answer.headers["Location"]
    assert len(staff_acts(people.log)) == 5
    assert all(HANDLE.encode() not in bytes(entry.entry) for entry in Entry.objects.all())
    output = capsys.readouterr()
    assert "data-subjects" in output.err
    assert HANDLE not in output.out + output.err
    assert held


# --- the pack


def pack(browser: Client, handle: str = HANDLE) -> Any:
    return browser.post(PACK, {"log": "acme", "handle": handle})


def test_pack_holds_the_person_s_values_and_nobody_else_s(people: People, held: list[Entry]) -> None:
    answer = pack(revealing(people.ada, people.log))
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    for entry in held[:2]:
        assert files[f"records/acme/{entry.seq}/entry.json"] == bytes(entry.entry)
        part = json.loads(files[f"records/acme/{entry.seq}/1.json"])
        assert (part["ptr"], part["value"]) == ("/context/customer", "Erika Mustermann")
    text = b"\n".join(files.values())
    assert b"Frank" not in text
    assert HANDLE.encode() not in text
    assert b"left out: 1 private value" in files["records.txt"]
    assert b"2 records of decisions hold private values about you" in files["README.txt"]
    listed = json.loads(files["MANIFEST.json"])["files"]
    assert {row["path"] for row in listed} == files.keys() - {"MANIFEST.json", "MANIFEST.sha256"}
    assert all(sha256(files[row["path"]]).hexdigest() == row["sha256"] for row in listed)
    act = staff_acts(people.log)[-1]
    assert act["action"] == "data_subject.pack"
    assert act["detail"] == {"manifest_sha256": sha256(files["MANIFEST.json"]).hexdigest(), "records": 2}
    assert set(Reveal.objects.values_list("uid", flat=True)) == {entry.uid for entry in held[:2]}


def test_values_of_a_pack_open_their_commitments(people: People, held: list[Entry], tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(pack(revealing(people.ada, people.log)).content)) as archive:
        archive.extractall(tmp_path)
    folder = tmp_path / "records" / "acme" / str(held[0].seq)
    command = ["opening", "--entry", str(folder / "entry.json"), "--part", str(folder / "1.json")]
    assert verify(command) == 0
    (folder / "1.json").write_text((folder / "1.json").read_text().replace("Erika", "Erich"))
    assert verify(command) == 1


def test_two_people_take_the_same_bytes(people: People, held: list[Entry]) -> None:
    otto = person("otto", people.acme, "auditor")
    first, second = (pack(revealing(user, people.log)).content for user in (people.ada, otto))
    assert first == second
    assert held


def test_pack_without_a_session_is_refused(people: People, held: list[Entry]) -> None:
    answer = pack(signed_in(people.ada))
    assert answer.status_code == 409
    assert "reveal_needed" in answer.content.decode()
    assert (len(held), staff_acts(people.log)) == (3, [])


def test_halted_log_hands_no_pack_over(people: People, held: list[Entry]) -> None:
    browser = revealing(people.ada, people.log)
    mode_switch(
        log=people.log, to="halt", reason="An audit is under way.", actor="system:test", now=utc_now()
    )
    answer = pack(browser)
    assert answer.status_code == 503
    assert b"Mustermann" not in answer.content
    assert not Reveal.objects.exists()
    assert "nothing can be handed over" in looked_up(browser)
    assert held


# --- erasure


def test_one_proposes_another_approves_and_the_run_erases(
    people: People, held: list[Entry], adam: User
) -> None:
    assert propose(people.ada).status_code == 302
    text = shown_to(adam)
    assert "would erase private values: 2, in records: 2" in text
    assert WHY in text
    assert "proposed, waits for an admin" in text
    assert decide(adam, "approve").status_code == 302
    assert "approved, erased with the next daily run" in shown_to(people.ada)
    browser = revealing(people.ada, people.log)
    assert "Their erasure is approved" in looked_up(browser)
    erasure_run(now=utc_now())
    assert "nothing to decide" in shown_to(adam)
    assert "Nothing is held under this handle" in looked_up(browser)
    assert set(SealedPart.objects.values_list("ptr", flat=True)) == {"/context/driver"}
    acts = [(act["action"], act.get("reason")) for act in staff_acts(people.log)]
    assert acts[:2] == [("erasure.propose", WHY), ("erasure.approve", None)]
    assert held


def test_nobody_approves_the_own_proposal(people: People, held: list[Entry], adam: User) -> None:
    propose(adam)
    assert "You proposed it; another admin approves." in shown_to(adam)
    assert decide(adam, "approve").status_code == 403
    assert ErasureRequest.objects.get().approved_by == ""
    assert len(staff_acts(people.log)) == 1
    assert decide(person("anna", people.acme, "admin"), "approve").status_code == 302
    assert held


def test_withdrawal_by_the_proposer_or_an_admin(people: People, held: list[Entry], adam: User) -> None:
    propose(people.ada)
    assert decide(person("olga", people.acme, "operator"), "withdraw").status_code == 403
    assert decide(people.ada, "withdraw").status_code == 302
    assert "withdrawn" in shown_to(people.ada)
    assert decide(adam, "approve").status_code == 409
    propose(people.ada)
    assert decide(adam, "withdraw").status_code == 302
    assert decide(adam, "nothing").status_code == 400
    verbs = [act["action"] for act in staff_acts(people.log)]
    assert verbs == ["erasure.propose", "erasure.withdraw"] * 2
    assert erasure_run(now=utc_now()) == []
    assert held


@pytest.mark.parametrize(
    ("form", "at"),
    [
        ({"handle": ""}, "erase-handle-problem"),
        ({"basis": "because"}, "erase-basis-problem"),
        ({"basis": ""}, "erase-basis-problem"),
        ({"erasure_reason": "short"}, "erase-reason-problem"),
    ],
)
def test_what_is_wrong_is_told_at_the_field_and_the_rest_kept(
    people: People, form: dict[str, str], at: str
) -> None:
    answer = propose(people.ada, **form)
    text = answer.content.decode()
    check(text)
    assert answer.status_code == 400
    assert f'id="{at}"' in text
    assert form.get("erasure_reason", WHY) in text
    assert not ErasureRequest.objects.exists()
    assert staff_acts(people.log) == []


def test_halted_log_keeps_what_was_written(people: People) -> None:
    mode_switch(
        log=people.log, to="halt", reason="An audit is under way.", actor="system:test", now=utc_now()
    )
    answer = propose(people.ada)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    for kept in (WHY, f'value="{HANDLE}"', "nothing can be proposed"):
        assert kept in answer.content.decode()


def test_proposal_about_nobody_says_so(people: People, adam: User) -> None:
    propose(adam, "customer-1")
    assert "nothing is held there now" in shown_to(people.ada)


def test_empty_pages_say_what_comes(people: People, adam: User) -> None:
    assert "No erasure has been proposed yet." in shown_to(adam)
    auditor = shown_to(person("otto", people.acme, "auditor"))
    assert "Propose an erasure" not in auditor
    assert "What is held about a person" in auditor
    assert "What is held about a person" not in shown_to(adam)


def test_queries_do_not_grow_with_proposals(adam: User, django_assert_max_num_queries: Any) -> None:
    browser = signed_in(adam)
    for number in range(12):
        propose(adam, f"customer-{number}")
    with django_assert_max_num_queries(12):
        assert browser.get(PAGE).status_code == 200
