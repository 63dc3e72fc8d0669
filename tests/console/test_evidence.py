"""Evidence packs: what is in them, that strangers can check them, who may take them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from datetime import timedelta
from hashlib import sha256
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest

from ecp_project.console import evidence, handover
from ecp_project.console.evidence import evidence_step
from ecp_project.console.models import EvidencePack, State
from ecp_project.kernel.clock import utc_now
from ledger.core.verify.command import FAILED, SOUND, main
from ledger.keys import verifiers
from ledger.models import Entry, Log, Membership
from tests.console.desk import DECISIONS, annotation, decision, record, record_path, shown, signed_in
from tests.people import machine, person

if TYPE_CHECKING:
    from pathlib import Path

    from ledger.checkpointer import Checkpointer
    from tests.people import People

pytestmark = pytest.mark.db

EVIDENCE = "/console/evidence/"
SECRET = "Erika Mustermann, born in Ulm"
HOSTILE = "</p><script>window.__xss=1</script><img src=x onerror=alert(1)>{{ 7|add:1 }} \u202eevil"


@pytest.fixture(autouse=True)
def _files(settings: Any, tmp_path: Path) -> None:
    settings.ECP_FILES_DIR = tmp_path / "files"


def _uid() -> str:
    return str(decision()["id"])


@pytest.fixture
def entries(people: People, checkpointer: Checkpointer) -> list[Entry]:
    """Two decisions, the first with a private value and two notes, one of them hostile."""
    first = decision(HOSTILE, id=_uid(), action="price.change", context={"customer": SECRET})
    made = record(people.log, first, decision("Refunded the lamp, as it came broken.", id=_uid()))
    record(
        people.log,
        annotation(made[0], HOSTILE, id=_uid()),
        annotation(made[0], "Looked at it again, all in order.", id=_uid()),
    )
    checkpointer.turn()
    return made


def ask(user: Any, *entries: Entry, path: str = EVIDENCE, **form: Any) -> Any:
    return signed_in(user).post(path, {"entry": [str(entry.pk) for entry in entries]} | form)


def packed(answer: Any) -> bytes:
    assert answer.status_code == 200, answer.content[:800]
    assert answer.headers["Content-Type"] == "application/zip"
    data: bytes = answer.getvalue()
    answer.close()
    return data


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def code_of(answer: Any) -> str:
    text: str = answer.content.decode()
    return text.partition("<code>")[2].partition("</code>")[0]


# --- what is in it


def test_pack_of_a_record_holds_its_timeline_and_verifies(
    people: People, entries: list[Entry], tmp_path: Path, settings: Any
) -> None:
    data = packed(ask(people.ada, entries[0]))
    found = members(data)
    seqs = [json.loads(line)["seq"] for line in found["entries.ndjson"].splitlines()]
    assert seqs == [entries[0].seq, entries[1].seq + 1, entries[1].seq + 2]
    assert json.loads(found["MANIFEST.json"])["records"] == [entries[0].seq]
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(tmp_path / "pack")
    vkey = tmp_path / "vkey"
    vkey.write_text(verifiers(settings.ECP_LOG_PUBLIC_KEYS, people.log.origin)[0].vkey)
    assert main(["pack", str(tmp_path / "pack"), "--vkey", str(vkey)]) == SOUND
    script = tmp_path / "pack" / "verify.py"
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)  # noqa: S603 - ours
    assert done.returncode == SOUND, done.stderr


def test_same_records_under_the_same_checkpoint_give_the_same_bytes(
    people: People, entries: list[Entry]
) -> None:
    """Whoever asks, and whenever."""
    first = packed(ask(people.ada, *entries))
    anna = person("anna", people.acme, "auditor")
    assert packed(ask(anna, *reversed(entries))) == first


def test_changed_byte_of_each_member_fails(people: People, entries: list[Entry], tmp_path: Path) -> None:
    found = members(packed(ask(people.ada, entries[0])))
    for name, content in found.items():
        folder = tmp_path / name.replace("/", "_")
        for path, data in found.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        at = len(content) // 2
        (folder / name).write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        assert main(["pack", str(folder)]) == FAILED, name


class Tags(HTMLParser):
    """Every tag and attribute of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_hostile_text_is_inert_in_the_report(people: People, entries: list[Entry]) -> None:
    report = members(packed(ask(people.ada, *entries)))["report.html"].decode()
    page = Tags()
    page.feed(report)
    assert not page.tags & {"script", "img", "iframe", "object", "form", "a", "link"}
    assert not [name for name in page.attributes if name.startswith("on")]
    assert "default-src &#x27;none&#x27;" in report or "default-src 'none'" in report
    assert "&lt;script&gt;window.__xss" in report
    assert "{{ 7|add:1 }}" in report
    assert "[U+202E]" in report


def test_private_values_stay_sealed_and_the_pack_says_so(people: People, entries: list[Entry]) -> None:
    data = packed(ask(people.ada, *entries))
    assert SECRET.encode() not in data
    withheld = json.loads(members(data)["withheld.json"])["withheld"]
    assert [(item["seq"], item["parts"]) for item in withheld] == [
        (entries[0].seq, [{"ptr": "/context/customer", "state": "sealed"}])
    ]


def test_log_records_the_digest_of_the_manifest(people: People, entries: list[Entry]) -> None:
    found = members(packed(ask(people.ada, entries[0])))
    row = EvidencePack.objects.get()
    said = json.loads(bytes(Entry.objects.get(log=people.log, kind="ecp.staff/1").entry))["stmt"]
    assert (said["action"], said["object"], said["actor"]) == (
        "evidence.create", f"evidence:{row.pk}", row.actor,
    )  # fmt: skip
    assert said["detail"]["manifest_sha256"] == sha256(found["MANIFEST.json"]).hexdigest() == row.digest
    assert row.digest in shown(people.ada, EVIDENCE)


# --- who


@pytest.mark.parametrize(("role", "status"), [("viewer", 403), ("auditor", 200), ("admin", 200)])
def test_roles(people: People, entries: list[Entry], role: str, status: int) -> None:
    user = person("sam", people.acme, role)
    answer = ask(user, entries[0])
    assert answer.status_code == status
    answer.close()
    assert signed_in(user).get(EVIDENCE).status_code == status
    page = shown(user, record_path(entries[0]))
    assert (f'action="{EVIDENCE}"' in page) is (status == 200)


def test_another_organisation_finds_neither_record_nor_pack(people: People, entries: list[Entry]) -> None:
    foreign, unknown = ask(people.eve, entries[0]), ask(people.eve, Entry(pk=entries[0].pk + 10**6))
    assert foreign.status_code == unknown.status_code == 404
    packed(ask(people.ada, entries[0]))
    row = EvidencePack.objects.get()
    assert signed_in(people.eve).get(f"{EVIDENCE}{row.pk}/file/").status_code == 404
    assert packed(signed_in(people.ada).get(f"{EVIDENCE}{row.pk}/file/"))


def test_manufacturer_packs_assigned_agents_without_what_others_said(
    people: People, entries: list[Entry], checkpointer: Checkpointer
) -> None:
    maker = person("max", people.acme, "manufacturer")
    assert ask(maker, entries[0]).status_code == 404
    Membership.objects.get(user=maker).agents.add(people.ada_agent.agent)
    about = [{"rel": "related", "id": str(entries[0].uid)}]
    other = machine(people.acme, "refund-bot").agent.slug
    record(people.log, decision("A refund that follows.", id=_uid(), agent=other, refs=about))
    checkpointer.turn()
    found = members(packed(ask(maker, entries[0])))
    assert len(found["entries.ndjson"].splitlines()) == 3  # the record and what people noted about it
    assert b"A refund that follows." not in found["entries.ndjson"]
    withheld = json.loads(found["withheld.json"])["withheld"]
    assert [item.get("entries") for item in withheld] == [None, 1]
    assert signed_in(maker).get(EVIDENCE).status_code == 200


# --- refusals


@pytest.mark.parametrize("given", [[], ["x"], ["-1"], ["9" * 19]])
def test_form_without_records_is_refused(people: People, given: list[str]) -> None:
    answer = signed_in(people.ada).post(EVIDENCE, {"entry": given})
    assert (answer.status_code, code_of(answer)) == (400, "bad_value")


def test_records_of_two_logs_are_no_pack(people: People, entries: list[Entry]) -> None:
    Membership.objects.create(user=people.ada, organisation=people.other, role="operator")
    (theirs,) = record(people.other_log, decision(id=_uid(), agent="eve-bot"))
    answer = ask(people.ada, entries[0], theirs)
    assert (answer.status_code, code_of(answer)) == (400, "bad_value")


def test_record_that_no_checkpoint_covers_is_not_signed_yet(
    people: People, entries: list[Entry], monkeypatch: pytest.MonkeyPatch, checkpointer: Checkpointer
) -> None:
    del entries
    monkeypatch.setattr(handover, "WAIT_S", 0.0)
    (late,) = record(people.log, decision("Decided a moment ago, so not signed.", id=_uid()))
    answer = ask(people.ada, late)
    assert (answer.status_code, code_of(answer)) == (409, "not_signed_yet")
    assert not EvidencePack.objects.exists()
    checkpointer.turn()
    packed(ask(people.ada, late))


def test_halted_ledger_hands_nothing_over(people: People, entries: list[Entry], settings: Any) -> None:
    Log.objects.filter(pk=people.log.pk).update(mode="halt")
    answer = ask(people.ada, entries[0])
    assert (answer.status_code, code_of(answer)) == (503, "ledger_halted")
    assert not EvidencePack.objects.exists()
    assert not list(settings.ECP_FILES_DIR.rglob("*.zip"))


def test_too_many_records_are_refused(
    people: People, entries: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "MAX_RECORDS", 1)
    answer = ask(people.ada, *entries)
    assert (answer.status_code, code_of(answer)) == (422, "range_too_large")


# --- from the list


def test_list_packs_marked_rows_or_all_that_it_shows(people: People, entries: list[Entry]) -> None:
    one = members(packed(ask(people.ada, entries[1], path=DECISIONS, format="evidence")))
    assert json.loads(one["MANIFEST.json"])["records"] == [entries[1].seq]
    every = members(packed(ask(people.ada, path=f"{DECISIONS}?q=refunded", format="evidence")))
    assert json.loads(every["MANIFEST.json"])["records"] == [entries[1].seq]
    whole = members(packed(ask(people.ada, path=DECISIONS, format="evidence")))
    assert json.loads(whole["MANIFEST.json"])["records"] == [entry.seq for entry in entries]


# --- many records


@pytest.fixture
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evidence, "INLINE", 1)
    monkeypatch.setattr(evidence, "PART", 1)


@pytest.mark.usefixtures("small_packs")
def test_many_records_are_packed_by_the_worker_into_the_same_bytes(
    people: People, entries: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = ask(people.ada, *entries)
    assert (answer.status_code, answer.headers["Location"]) == (302, EVIDENCE)
    assert evidence_step(now=utc_now())
    assert "1 of 2 records" in shown(people.ada, EVIDENCE)
    row = EvidencePack.objects.get()
    with evidence._spool(row).open("ab") as spool:
        spool.write(b"what a killed worker left")
    while evidence_step(now=utc_now()):
        pass
    data = packed(signed_in(people.ada).get(f"{EVIDENCE}{row.pk}/file/"))
    monkeypatch.setattr(evidence, "INLINE", 100)
    assert packed(ask(people.ada, *entries)) == data
    row.refresh_from_db()
    assert (row.state, row.rows) == (State.COMPLETE, 2)
    assert not evidence._spool(row).exists()


@pytest.mark.usefixtures("small_packs")
def test_pack_waits_while_the_ledger_is_halted(people: People, entries: list[Entry]) -> None:
    ask(people.ada, *entries)
    Log.objects.filter(pk=people.log.pk).update(mode="halt")
    for _ in range(4):
        evidence_step(now=utc_now())
    row = EvidencePack.objects.get()
    assert row.state == State.RUNNING
    assert signed_in(people.ada).get(f"{EVIDENCE}{row.pk}/file/").status_code == 404


@pytest.mark.usefixtures("small_packs")
def test_pack_waits_for_a_checkpoint(
    people: People, entries: list[Entry], checkpointer: Checkpointer
) -> None:
    (late,) = record(people.log, decision("Decided a moment ago, so not signed.", id=_uid()))
    ask(people.ada, entries[0], late)
    for _ in range(4):
        evidence_step(now=utc_now())
    assert EvidencePack.objects.get().state == State.RUNNING
    checkpointer.turn()
    assert evidence_step(now=utc_now())
    assert EvidencePack.objects.get().state == State.COMPLETE


@pytest.mark.usefixtures("small_packs")
def test_pack_of_a_person_who_lost_the_role_fails(people: People, entries: list[Entry]) -> None:
    ask(people.ada, *entries)
    evidence_step(now=utc_now())
    Membership.objects.filter(user=people.ada).update(role="viewer")
    assert evidence_step(now=utc_now())
    row = EvidencePack.objects.get()
    assert (row.state, row.problem) == (State.FAILED, "role_missing")
    assert not evidence._spool(row).exists()


def test_packs_are_removed_after_seven_days(people: People, entries: list[Entry]) -> None:
    packed(ask(people.ada, entries[0]))
    row = EvidencePack.objects.get()
    assert handover.sweep(now=utc_now() + timedelta(days=8)).expired == 1
    assert not handover.file_of(row).exists()
    assert signed_in(people.ada).get(f"{EVIDENCE}{row.pk}/file/").status_code == 404


def test_file_that_is_gone_is_not_found(people: People, entries: list[Entry]) -> None:
    packed(ask(people.ada, entries[0]))
    row = EvidencePack.objects.get()
    handover.file_of(row).unlink()
    assert signed_in(people.ada).get(f"{EVIDENCE}{row.pk}/file/").status_code == 404


def test_page_says_what_will_appear(people: People) -> None:
    assert "No evidence pack was made yet" in shown(people.ada, EVIDENCE)
    assert not evidence_step(now=utc_now())


# --- the print sheet


def test_print_sheet_has_explanation_timeline_ticks_and_address(people: People, entries: list[Entry]) -> None:
    path = f"{DECISIONS}{entries[0].pk}/print/"
    page = shown(people.ben, path)
    assert "&lt;script&gt;window.__xss" in page
    assert "Looked at it again" in page
    assert "Verified: stored as it was recorded" in page
    assert f"http://testserver{record_path(entries[0])}" in page
    assert SECRET not in page
    tags = Tags()
    tags.feed(page)
    assert "script" not in tags.tags
    assert "style" not in tags.attributes
    assert path.replace("decision", "entry") in shown(people.ben, record_path(entries[0]))


@pytest.mark.parametrize("place", ["ledger/decision/{}/print/", "ledger/entry/{}/print/"])
def test_print_sheet_of_another_organisation_s_record_is_not_found(
    people: People, entries: list[Entry], place: str
) -> None:
    for id_ in (entries[0].pk, entries[0].pk + 10**6, "x"):
        assert signed_in(people.eve).get(f"/console/{place.format(id_)}").status_code == 404
