"""Exports: what a list shows, no more and no less, with a manifest that strangers can check."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import random
import tracemalloc
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.conf import settings

from ecp_project.console import export, handover
from ecp_project.console.export import export_step
from ecp_project.console.models import Export, State
from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.csvtext import restored
from ledger.core.export import write_log
from ledger.core.verify.command import FAILED, SOUND, main
from ledger.keys import verifiers
from ledger.models import Checkpoint, Entry, Log, Membership
from ledger.selectors import lists
from ledger.selectors.console import viewer_of
from tests.console.desk import DECISIONS, ENTRIES, annotation, append, decision, record, shown, signed_in
from tests.people import person

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ledger.checkpointer import Checkpointer
    from tests.people import People

pytestmark = pytest.mark.db

EXPORTS = "/console/exports/"
HOSTILE = (
    '=HYPERLINK("http://evil.example","open")',
    "+1+cmd|' /C calc'!A0 and so on",
    "-2+3 is what we paid in the end",
    "@SUM(A1:A9) of all the offers",
    "fine;=1+1 after a semicolon",
    "\uff1d1+1 in full width, as typed",
    "<script>window.__xss = 1</script> said the agent",
)


@pytest.fixture(autouse=True)
def _files(settings: Any, tmp_path: Path) -> None:  # pytest's own settings are undone
    settings.ECP_FILES_DIR = tmp_path / "files"


def ask(user: Any, format_: str, path: str = DECISIONS, cols: str = "", **query: Any) -> Any:
    """The answer to the form of a list at this address."""
    address = f"{path}?" + "&".join(f"{name}={value}" for name, value in query.items())
    return signed_in(user).post(address, {"format": format_, "cols": cols})


def body(answer: Any) -> bytes:
    assert answer.status_code == 200, answer.content[:800]
    data: bytes = answer.getvalue()
    answer.close()
    return data


def code_of(answer: Any) -> str:
    text: str = answer.content.decode()
    return text.partition("<code>")[2].partition("</code>")[0]


def static_log(log: Log, tmp_path: Path) -> tuple[str, ...]:
    """What a stranger has of the log: its static files and its key, as arguments of the verifier."""
    newest = Checkpoint.objects.filter(log=log).order_by("-size")[0]
    rows = Entry.objects.filter(log=log, seq__lt=newest.size).order_by("id").values_list("entry", flat=True)
    write_log(tmp_path / "log", [bytes(row) for row in rows], newest.note)
    vkey = tmp_path / "vkey"
    vkey.write_text(verifiers(settings.ECP_LOG_PUBLIC_KEYS, log.origin)[0].vkey)
    return ("--log", str(tmp_path / "log"), "--vkey", str(vkey))


@pytest.fixture
def entries(people: People, checkpointer: Checkpointer) -> list[Entry]:
    """Seven hostile decisions with a note on the first, signed and searchable."""
    made = record(people.log, *(decision(text, id=_uid(), risk="low") for text in HOSTILE))
    append(people.log, annotation(made[0], "Looked at it again, all in order."))
    record(people.log)
    checkpointer.turn()
    return made


def _uid() -> str:
    return str(decision()["id"])


# --- the three formats


def test_ndjson_is_the_list_ascending_and_verifies_against_the_log(
    people: People, entries: list[Entry], tmp_path: Path
) -> None:
    answer = ask(people.ada, "ndjson")
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="acme-decisions-')
    data = body(answer)
    *lines, last = data.splitlines(keepends=True)
    assert [line.removesuffix(b"\n") for line in lines] == [bytes(entry.entry) for entry in entries]
    manifest = json.loads(last)
    above = b"".join(lines)
    assert manifest["v"] == "ecp.list/1"
    assert (manifest["count"], manifest["bytes"]) == (7, len(above))
    assert manifest["sha256"] == hashlib.sha256(above).hexdigest()
    assert manifest["log"] == people.log.origin
    assert manifest["by"] == f"staff:{Membership.objects.get(user=people.ada).pseudonym}"
    assert manifest["query"] == "log=acme"
    assert set(manifest["as_of"]) == {"log", "size", "root"}
    place = tmp_path / "list.ndjson"
    place.write_bytes(data)
    assert main(["list", str(place), *static_log(people.log, tmp_path)]) == SOUND


def test_changed_byte_of_an_exported_list_fails(people: People, entries: list[Entry], tmp_path: Path) -> None:
    del entries
    data = body(ask(people.ada, "ndjson"))
    arguments = static_log(people.log, tmp_path)
    place = tmp_path / "list.ndjson"
    for at in range(0, data.rindex(b'{"as_of"'), 97):
        changed = bytearray(data)
        changed[at] ^= 1
        place.write_bytes(changed)
        assert main(["list", str(place), *arguments]) == FAILED, at


def test_json_holds_entries_and_manifest_of_exactly_the_array(people: People, entries: list[Entry]) -> None:
    data = body(ask(people.ada, "json"))
    document = json.loads(data)
    assert [entry["seq"] for entry in document["entries"]] == [entry.seq for entry in entries]
    array = data[len(b'{"entries":') : data.index(b',"manifest":')]
    assert document["manifest"]["sha256"] == hashlib.sha256(array).hexdigest()
    assert document["manifest"]["bytes"] == len(array)


def test_csv_shows_chosen_columns_and_points_to_its_manifest(people: People, entries: list[Entry]) -> None:
    answer = ask(people.ada, "csv", cols="seq,explanation,bypassed")
    place = answer.headers["Link"].partition("<")[2].partition(">")[0]
    assert 'rel="describedby"' in answer.headers["Link"]
    data = body(answer)
    rows = list(csv.reader(io.StringIO(data.decode(), newline=""), strict=True))
    assert rows[0] == ["seq", "explanation", "bypassed"]
    assert [row[0] for row in rows[1:]] == [str(entry.seq) for entry in entries]
    assert [restored(row[1]) for row in rows[1:]] == list(HOSTILE)
    manifest = json.loads(signed_in(people.ada).get(place).content)
    assert manifest["columns"] == ["seq", "explanation", "bypassed"]
    assert (manifest["sha256"], manifest["bytes"]) == (hashlib.sha256(data).hexdigest(), len(data))


def test_no_cell_of_a_csv_begins_with_what_a_spreadsheet_executes(
    people: People, entries: list[Entry]
) -> None:
    for path in (DECISIONS, ENTRIES):
        data = body(ask(people.ada, "csv", path, as_of=entries[-1].seq + 2)).decode()
        for row in csv.reader(io.StringIO(data, newline="")):
            assert not any(cell.lstrip(' "\u200b')[:1] in set("=+-@|%\t\r\uff1d") - {""} for cell in row), row


@pytest.mark.parametrize("cols", ["seq,seq", "seq,password", "seq,"])
def test_unknown_or_repeated_columns_are_refused(people: People, entries: list[Entry], cols: str) -> None:
    del entries
    answer = ask(people.ada, "csv", cols=cols)
    assert (answer.status_code, code_of(answer)) == (400, "bad_value")


def test_unknown_format_is_refused(people: People) -> None:
    answer = ask(people.ada, "xlsx")
    assert (answer.status_code, code_of(answer)) == (400, "bad_value")


def test_empty_list_is_a_whole_export(people: People, entries: list[Entry]) -> None:
    query: dict[str, Any] = {"q": "agent:nobody", "as_of": entries[-1].seq + 1}
    manifest = json.loads(body(ask(people.ada, "ndjson", **query)))
    assert manifest["count"] == 0
    assert manifest["sha256"] == hashlib.sha256(b"").hexdigest()
    assert json.loads(body(ask(people.ada, "json", **query)))["entries"] == []


def test_entry_that_is_none_any_more_is_exported_as_it_is_stored() -> None:
    """Its bytes are evidence of the damage; the CSV has its columns and no explanation."""
    assert export._said(Entry(entry=b"no entry")) == {}
    assert export._ndjson_rows([Entry(entry=b"no entry")], [], is_first=True) == b"no entry\n"


# --- exactly what the list shows


def listed(user: Any, *, only_decisions: bool, **filters: str) -> list[int]:
    """Positions of every page of the list, walked as a reader does."""
    viewer = viewer_of(user)
    seqs: list[int] = []
    more: Mapping[str, int] | None = {}
    while more is not None:
        page = lists.entry_list(
            viewer=viewer,
            parameters=filters | {"n": "25"} | {name: str(value) for name, value in more.items()},
            only_decisions=only_decisions,
            now=utc_now(),
        )
        assert page.problem is None, page.problem
        seqs += [row.entry.seq for row in page.rows]
        more = page.older
    return seqs[::-1]


def test_export_has_the_set_of_the_list_for_200_queries(
    people: People, checkpointer: Checkpointer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "PART", 4)
    dice = random.Random(4)  # noqa: S311 - a repeatable choice
    made = record(
        people.log,
        *(
            decision(
                f"Lowered the price of the {dice.choice(('lamp', 'chair'))}, number {number}.",
                id=_uid(),
                action=dice.choice(("price.change", "order.refund")),
                risk=dice.choice(("low", "high")),
            )
            for number in range(43)
        ),
    )
    append(people.log, *(annotation(entry, "Seen, and nothing to add to it.") for entry in made[::3]))
    record(people.log)
    checkpointer.turn()
    today, size = utc_now(), str(Entry.objects.filter(log=people.log).count())
    terms = (
        "lamp", "chair", "-lamp", "number", "agent:pricing-bot", "-agent:nobody", "agent:nobody",
        "kind:ecp.decision/1", "-kind:ecp.annotation/1", f"since:{today:%Y-%m-%d}",
        f"-until:{today:%Y-%m-%d}", f"until:{today + timedelta(days=1):%Y-%m-%d}", "bypassed:true",
        "has:note", "action:price.change,order.refund", "-action:order.refund", "seq:3..20", "-seq:5..9",
        "since:now-1h",
    )  # fmt: skip
    asked: set[tuple[bool, frozenset[str]]] = set()
    for number in range(200):
        only = number % 2 == 0
        drawn = dice.sample(terms, dice.randint(0, 3))
        keys = [term.partition(":")[0] for term in drawn if ":" in term]
        if len(keys) != len(set(keys)) or (only, frozenset(drawn)) in asked:
            continue
        asked.add((only, frozenset(drawn)))
        filters = {"as_of": size} | ({"q": " ".join(drawn)} if drawn else {})
        path = DECISIONS if only else ENTRIES
        lines = body(ask(people.ada, "ndjson", path, **filters)).splitlines()
        assert [json.loads(line)["seq"] for line in lines[:-1]] == listed(
            people.ada, only_decisions=only, **filters
        ), filters


def test_export_keeps_the_size_at_which_the_list_was_opened(
    people: People, entries: list[Entry], checkpointer: Checkpointer
) -> None:
    before = entries[-1].seq + 1
    record(people.log, decision("Decided after the list was opened.", id=_uid()))
    checkpointer.turn()
    lines = body(ask(people.ada, "ndjson", as_of=before, before=1, after=1)).splitlines()
    assert [json.loads(line)["seq"] for line in lines[:-1]] == [entry.seq for entry in entries]
    assert json.loads(lines[-1])["as_of"]["size"] == before


def test_search_that_lags_claims_no_more_than_it_knows(
    people: People, entries: list[Entry], checkpointer: Checkpointer
) -> None:
    known = Entry.objects.filter(log=people.log).count()
    append(people.log, decision("A hostile said the agent again.", id=_uid()))
    checkpointer.turn()
    manifest = json.loads(body(ask(people.ada, "ndjson", q="agent")).splitlines()[-1])
    assert manifest["as_of"]["size"] == known
    assert entries


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"as_of": "99999"}, "invalid_cursor"),
        ({"colour": "red"}, "unknown_key"),
        ({"q": "colour:red"}, "unknown_key"),
        ({"q": "bypassed:perhaps"}, "bad_value"),
    ],
)
def test_address_that_no_list_takes_is_refused(people: People, query: dict[str, str], code: str) -> None:
    answer = ask(people.ada, "csv", **query)
    assert (answer.status_code, code_of(answer)) == (400, code)
    assert not Export.objects.exists()


# --- who, and what the log says about it


def staff_entries(log: Log) -> list[dict[str, Any]]:
    rows = Entry.objects.filter(log=log, kind="ecp.staff/1").order_by("id")
    return [json.loads(bytes(row.entry))["stmt"] for row in rows]


def test_export_is_one_staff_entry_with_its_query(people: People, entries: list[Entry]) -> None:
    del entries
    body(ask(people.ada, "csv", q="agent:pricing-bot"))
    (said,) = staff_entries(people.log)
    row = Export.objects.get()
    assert (said["action"], said["object"], said["actor"]) == ("export.create", f"export:{row.pk}", row.actor)
    assert said["detail"] == {
        "as_of": row.as_of, "format": "csv", "list": "decisions", "query": "log=acme&q=agent%3Apricing-bot",
    }  # fmt: skip


def test_long_query_is_recorded_whole(people: People, entries: list[Entry]) -> None:
    del entries
    body(ask(people.ada, "csv", q="%C3%A9" * 500))
    (said,) = staff_entries(people.log)
    parts = [said["detail"][name] for name in ("query", "query_1", "query_2", "query_3")]
    assert "".join(parts) == Export.objects.get().query


def test_halted_ledger_hands_nothing_over(people: People, entries: list[Entry]) -> None:
    del entries
    Log.objects.filter(pk=people.log.pk).update(mode="halt")
    answer = ask(people.ada, "ndjson")
    assert (answer.status_code, code_of(answer)) == (503, "ledger_halted")
    assert not Export.objects.exists()


@pytest.mark.parametrize("role", ["auditor", "operator", "admin"])
def test_roles_that_export(people: People, entries: list[Entry], role: str) -> None:
    user = person("sam", people.acme, role)
    assert body(ask(user, "ndjson")).count(b"\n") == len(entries) + 1
    assert "Download" not in shown(user, EXPORTS)


def test_viewer_sees_no_form_and_is_refused(people: People, entries: list[Entry]) -> None:
    del entries
    assert 'value="ndjson"' not in shown(people.ben, DECISIONS)
    assert 'value="ndjson"' in shown(people.ada, DECISIONS)
    for answer in (ask(people.ben, "ndjson"), signed_in(people.ben).get(EXPORTS)):
        assert (answer.status_code, code_of(answer)) == (403, "role_missing")
    assert not staff_entries(people.log)


def test_manufacturer_exports_assigned_agents_and_sees_own_exports_alone(
    people: People, entries: list[Entry]
) -> None:
    maker, other = (person(name, people.acme, "manufacturer") for name in ("max", "moritz"))
    Membership.objects.get(user=maker).agents.add(people.ada_agent.agent)
    size = entries[-1].seq + 1
    lines = body(ask(maker, "ndjson", ENTRIES, as_of=size)).splitlines()
    assert [json.loads(line)["seq"] for line in lines[:-1]] == [entry.seq for entry in entries]
    assert body(ask(other, "ndjson", ENTRIES, as_of=size)).count(b"\n") == 1
    row = Export.objects.get(owner=maker)
    place = f"{EXPORTS}{row.pk}/manifest.json"
    assert signed_in(maker).get(place).status_code == 200
    assert signed_in(other).get(place).status_code == 404
    assert signed_in(people.ada).get(place).status_code == 200


def test_another_organisation_finds_neither_list_nor_export(people: People, entries: list[Entry]) -> None:
    del entries
    assert ask(people.eve, "ndjson", log="acme").status_code == 404
    body(ask(people.ada, "csv"))
    row = Export.objects.get()
    assert str(row.pk) not in shown(people.eve, EXPORTS)
    for part in ("file/", "manifest.json"):
        assert signed_in(people.eve).get(f"{EXPORTS}{row.pk}/{part}").status_code == 404


@pytest.mark.parametrize("path", [EXPORTS, EXPORTS + "019b0a2c-4e00-7000-8000-000000000001/manifest.json"])
def test_pages_of_exports_take_no_post(people: People, path: str) -> None:
    answer = signed_in(people.ada).post(path)
    assert (answer.status_code, code_of(answer)) == (405, "method_not_allowed")


# --- what can go wrong


def test_list_that_no_checkpoint_covers_is_refused_and_not_recorded(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "WAIT_S", 0.0)
    record(people.log, decision())
    answer = ask(people.ada, "ndjson")
    assert (answer.status_code, code_of(answer)) == (409, "not_signed_yet")
    assert answer.headers["Retry-After"] == "1"
    assert not Export.objects.exists()


def test_client_that_goes_away_leaves_failed_and_no_manifest(
    people: People, entries: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    del entries
    monkeypatch.setattr(export, "PART", 2)
    answer = ask(people.ada, "ndjson")
    chunks = iter(answer.streaming_content)
    read = next(chunks) + next(chunks)
    answer.close()
    row = Export.objects.get()
    assert (row.state, row.problem, row.manifest) == (State.FAILED, "interrupted", "")
    assert b"ecp.list/1" not in read
    assert signed_in(people.ada).get(f"{EXPORTS}{row.pk}/manifest.json").status_code == 404
    assert "failed" in shown(people.ada, EXPORTS)


def test_client_that_never_reads_leaves_failed_too(people: People, entries: list[Entry]) -> None:
    del entries
    ask(people.ada, "csv").close()
    assert Export.objects.get().state == State.FAILED


def test_two_streams_of_an_organisation_run_at_one_time(people: People, entries: list[Entry]) -> None:
    size = entries[-1].seq + 1
    open_ = [ask(people.ada, "csv", as_of=size) for _ in range(2)]
    answer = ask(people.ada, "csv", as_of=size)
    assert (answer.status_code, code_of(answer)) == (429, "rate_limited")
    for one in open_:
        one.close()
    body(ask(people.ada, "csv", as_of=size))


def test_stream_whose_process_was_killed_is_found_by_the_sweep(people: People, entries: list[Entry]) -> None:
    del entries
    answer = ask(people.ada, "csv")
    assert handover.sweep(now=utc_now()).failed == 0
    assert handover.sweep(now=utc_now() + timedelta(hours=2)).failed == 1
    assert Export.objects.get().state == State.FAILED
    answer.close()


def test_memory_does_not_grow_with_the_list(people: People, checkpointer: Checkpointer) -> None:
    text = "Lowered the price, as the lamp sells slowly in this season. " * 12

    def peak(rows: int) -> tuple[int, int]:
        while (have := Entry.objects.filter(log=people.log, kind="ecp.decision/1").count()) < rows:
            append(people.log, *(decision(text, id=_uid()) for _ in range(min(1_000, rows - have))))
        checkpointer.turn()
        answer = ask(people.ada, "ndjson")
        length = 0
        tracemalloc.start()
        for chunk in answer.streaming_content:
            length += len(chunk)
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        answer.close()
        return length, highest

    small, few = peak(2_000)
    large, many = peak(8_000)
    assert large > 3.9 * small
    assert many < 1.2 * few


# --- more than a stream takes


@pytest.fixture
def small_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "STREAM_ROWS", 3)
    monkeypatch.setattr(export, "PART", 2)
    monkeypatch.setattr(export, "PARTS_PER_STEP", 1)


@pytest.mark.usefixtures("small_streams")
@pytest.mark.parametrize("format_", ["csv", "json", "ndjson"])
def test_long_list_becomes_a_file_with_the_bytes_of_the_stream(
    people: People, entries: list[Entry], format_: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = entries[-1].seq + 1
    answer = ask(people.ada, format_, as_of=size)
    assert answer.status_code == 202
    row = Export.objects.get()
    assert row.state == State.QUEUED
    assert export_step(now=utc_now())
    assert "% of the positions" in shown(people.ada, EXPORTS)
    while export_step(now=utc_now()):
        pass
    file = signed_in(people.ada).get(f"{EXPORTS}{row.pk}/file/")
    assert "describedby" in file.headers["Link"]
    data = body(file)
    monkeypatch.setattr(export, "STREAM_ROWS", 100)
    streamed = body(ask(people.ada, format_, as_of=size))
    assert data.partition(b'"as_of":')[0] == streamed.partition(b'"as_of":')[0]
    row.refresh_from_db()
    assert (row.state, row.rows) == (State.COMPLETE, 7)
    manifest = json.loads(row.manifest)
    twin = json.loads(Export.objects.exclude(pk=row.pk).get().manifest)
    for name in ("as_of", "bytes", "columns", "count", "log", "query", "sha256"):
        assert manifest[name] == twin[name], name
    assert "Download" in shown(people.ada, EXPORTS)


@pytest.mark.usefixtures("small_streams")
def test_file_of_the_worker_verifies(people: People, entries: list[Entry], tmp_path: Path) -> None:
    ask(people.ada, "ndjson", as_of=entries[-1].seq + 1)
    while export_step(now=utc_now()):
        pass
    file = handover.file_of(Export.objects.get())
    assert main(["list", str(file), *static_log(people.log, tmp_path)]) == SOUND


@pytest.mark.usefixtures("small_streams")
def test_what_a_killed_worker_wrote_beyond_its_saved_place_is_cut_off(
    people: People, entries: list[Entry]
) -> None:
    ask(people.ada, "ndjson", as_of=entries[-1].seq + 1)
    export_step(now=utc_now())
    row = Export.objects.get()
    with handover.draft_of(row).open("ab") as draft:
        draft.write(b'{"log":"half a li')
    while export_step(now=utc_now()):
        pass
    lines = handover.file_of(row).read_bytes().splitlines()
    assert lines[:-1] == [bytes(entry.entry) for entry in entries]


@pytest.mark.usefixtures("small_streams")
def test_job_whose_draft_is_gone_begins_again(people: People, entries: list[Entry]) -> None:
    ask(people.ada, "ndjson", as_of=entries[-1].seq + 1)
    export_step(now=utc_now())
    row = Export.objects.get()
    handover.draft_of(row).unlink()
    while export_step(now=utc_now()):
        pass
    row.refresh_from_db()
    assert row.rows == len(handover.file_of(row).read_bytes().splitlines()) - 1 == 7


@pytest.mark.usefixtures("small_streams")
def test_job_waits_for_a_checkpoint_that_covers_its_list(
    people: People, entries: list[Entry], checkpointer: Checkpointer
) -> None:
    del entries
    record(people.log, decision("Decided just before the export was asked for.", id=_uid()))
    assert ask(people.ada, "ndjson").status_code == 202
    for _ in range(6):
        export_step(now=utc_now())
    assert Export.objects.get().state == State.RUNNING
    checkpointer.turn()
    assert export_step(now=utc_now())
    assert Export.objects.get().state == State.COMPLETE


@pytest.mark.usefixtures("small_streams")
def test_job_of_a_person_who_lost_the_role_fails(people: People, entries: list[Entry]) -> None:
    del entries
    ask(people.ada, "ndjson")
    Membership.objects.filter(user=people.ada).update(role="viewer")
    assert export_step(now=utc_now())
    row = Export.objects.get()
    assert (row.state, row.problem) == (State.FAILED, "role_missing")


@pytest.mark.usefixtures("small_streams")
def test_files_are_removed_after_seven_days_and_manifests_stay(people: People, entries: list[Entry]) -> None:
    ask(people.ada, "ndjson", as_of=entries[-1].seq + 1)
    while export_step(now=utc_now()):
        pass
    row = Export.objects.get()
    assert handover.sweep(now=utc_now() + timedelta(days=6)).expired == 0
    assert handover.sweep(now=utc_now() + timedelta(days=8)).expired == 1
    assert not handover.file_of(row).exists()
    client = signed_in(people.ada)
    assert client.get(f"{EXPORTS}{row.pk}/file/").status_code == 404
    assert client.get(f"{EXPORTS}{row.pk}/manifest.json").status_code == 200


def test_list_beyond_the_limit_points_to_the_export_of_the_log(
    people: People, entries: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    del entries
    monkeypatch.setattr(export, "MAX_ROWS", 3)
    for path in (DECISIONS, ENTRIES):
        answer = ask(people.ada, "ndjson", path)
        assert (answer.status_code, code_of(answer)) == (422, "export_too_large")
        assert "/api/v1/logs/acme/export.ndjson" in answer.content.decode()
    assert not staff_entries(people.log)


@pytest.mark.usefixtures("small_streams")
def test_job_that_turns_out_too_long_fails(
    people: People, entries: list[Entry], monkeypatch: pytest.MonkeyPatch
) -> None:
    del entries
    ask(people.ada, "ndjson")
    monkeypatch.setattr(export, "MAX_ROWS", 3)
    while export_step(now=utc_now()):
        pass
    row = Export.objects.get()
    assert (row.state, row.problem) == (State.FAILED, "export_too_large")
    assert not handover.draft_of(row).exists()


def test_nothing_to_do_is_said(people: People) -> None:
    assert not export_step(now=utc_now())
    assert "Nobody has exported anything yet" in shown(people.ada, EXPORTS)
