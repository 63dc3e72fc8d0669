"""Every management command of the ledger, from an empty database to an erased person."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from io import StringIO
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command

from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.ids import new_uuid7
from ledger.keys import read_signing_key, verifiers
from ledger.models import ApiKey, Entry, ErasureRequest, Log, SealedPart
from ledger.services import projections
from ledger.services.erasure import erasure_approve, erasure_request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ledger.checkpointer import Checkpointer
    from tests.people import People

pytestmark = pytest.mark.db


def run(command: str, *arguments: str) -> str:
    out = StringIO()
    call_command(command, *arguments, stdout=out, stderr=StringIO())
    return out.getvalue()


def lines(count: int, **members: Any) -> list[str]:
    return [
        json.dumps({
            "id": new_uuid7(utc_now()),
            "agent": "pricing-bot",
            "action": "price.change",
            "explanation": f"Item {number} is cheaper elsewhere, so we follow.",
            **members,
        })
        for number in range(count)
    ]  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    target = tmp_path / "decisions.ndjson"
    target.write_text("\n".join(lines(3, data_subject="erika", context={"note": "private words"})) + "\n")
    return target


def test_organisation_agent_and_key_are_made(checkpointer: Checkpointer) -> None:
    assert json.loads(run("org_create", "acme", "--title", "Acme", "--json"))["origin"].endswith("/log/acme")
    run("agent_create", "pricing-bot", "--org", "acme")
    key = json.loads(run("apikey_create", "--org", "acme", "--agent", "pricing-bot", "--json"))["key"]
    assert ApiKey.objects.get().prefix == key[4:12]
    assert checkpointer.turn() == 0


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (("org_create", "No Slug"), "slug"),
        (("org_create", "acme"), "exists already"),
        (("agent_create", "x-bot", "--org", "nobody"), "there is no organisation nobody"),
        (("agent_create", "pricing-bot", "--org", "acme"), "exists in this organisation"),
        (("agent_create", "far-bot", "--org", "acme", "--endpoint", "https://127.0.0.1/"), "not public"),
        (("apikey_create", "--org", "acme", "--scopes", "everything"), "unknown scope"),
        (("apikey_create", "--org", "acme", "--agent", "nobody"), "has no agent nobody"),
        (("apikey_create", "--org", "acme", "--days", "500"), "400 days"),
        (("ledger_verify", "--log", "nowhere"), "name one of these logs"),
        (("ledger_keygen",), "signing key already"),
        (("ledger_ingest", "nothing.ndjson", "--log", "acme"), "cannot be read"),
        (("ledger_mode", "active", "--reason", "Nothing is wrong here.", "--log", "acme"), "already"),
        (("demo_load",), "empty installation only"),
    ],
)
def test_wrong_arguments_say_what_to_do(people: People, command: tuple[str, ...], sentence: str) -> None:
    del people
    with pytest.raises(CommandError, match=sentence):
        run(*command)


def test_keygen_writes_a_key_that_only_its_owner_reads(settings: Any, tmp_path: Path) -> None:
    settings.ECP_SIGNING_KEY_FILE = tmp_path / "new" / "ledger.key"
    settings.ECP_LOG_PUBLIC_KEYS = tmp_path / "new" / "keys.json"
    run("ledger_keygen")
    assert settings.ECP_SIGNING_KEY_FILE.stat().st_mode & 0o777 == 0o400
    assert len(read_signing_key(settings.ECP_SIGNING_KEY_FILE)) == 32
    assert len(verifiers(settings.ECP_LOG_PUBLIC_KEYS, "ecp.local/log/acme")) == 1
    assert run("ledger_keygen", "--if-missing") == ""


def test_ingest_twice_then_export_and_verify_offline(
    people: People, checkpointer: Checkpointer, file: Path, tmp_path: Path, settings: Any
) -> None:
    assert "3 accepted, 0 known already, 0 rejected" in run("ledger_ingest", str(file), "--log", "acme")
    assert "0 accepted, 3 known already" in run("ledger_ingest", str(file), "--log", "acme")
    checkpointer.turn()
    assert "SOUND" in run("ledger_verify", "--full", "--log", "acme")
    report = json.loads(run("ledger_verify", "--json", "--log", "acme"))
    assert (report["ok"], report["size"]) == (True, 3)
    run("ledger_export", "--to", str(tmp_path / "out"), "--log", "acme")
    vkey = tmp_path / "vkey"
    vkey.write_text(verifiers(settings.ECP_LOG_PUBLIC_KEYS, people.log.origin)[0].vkey)
    for kind, place in (("log", tmp_path / "out"), ("export", tmp_path / "out" / "export.ndjson")):
        command = [sys.executable, "-m", "ledger.core.verify", kind, str(place), "--vkey", str(vkey)]
        assert subprocess.run(command, check=False, capture_output=True).returncode == 0  # noqa: S603 - our own module


def test_bad_lines_go_to_the_reject_file(people: People, tmp_path: Path) -> None:
    del people
    source, rejects = tmp_path / "mixed.ndjson", tmp_path / "rejects.ndjson"
    source.write_text("\n".join([*lines(1), "{not json", *lines(1, explanation="short")]))
    with pytest.raises(CommandError, match="refused lines"):
        run("ledger_ingest", str(source), "--log", "acme", "--rejects", str(rejects))
    refused = [json.loads(line) for line in rejects.read_text().splitlines()]
    assert [(line["line"], line["problem"]["code"]) for line in refused] == [
        (2, "malformed_json"),
        (3, "explanation_too_short"),
    ]


def test_export_before_the_first_checkpoint_says_so(people: People, tmp_path: Path) -> None:
    del people
    with pytest.raises(CommandError, match="no checkpoint yet"):
        run("ledger_export", "--to", str(tmp_path), "--log", "acme")


def test_erasing_a_subject_and_a_decision(people: People, checkpointer: Checkpointer, file: Path) -> None:
    run("ledger_ingest", str(file), "--log", "acme")
    uid = Entry.objects.order_by("seq").values_list("uid", flat=True)[0]
    basis = ("--basis", "data_subject_request", "--log", "acme")
    assert "recorded at position 3" in run("ledger_erase", "--decision", str(uid), *basis)
    assert SealedPart.objects.count() == 2
    assert "recorded at position 4" in run("ledger_erase", "--subject", "erika", "--yes", *basis)
    assert SealedPart.objects.count() == 0
    assert "Nothing private is held" in run("ledger_erase", "--subject", "erika", "--yes", *basis)
    checkpointer.turn()
    assert "SOUND" in run("ledger_verify", "--full", "--log", "acme")
    del people


def test_halted_log_refuses_and_reopens(people: People, file: Path) -> None:
    run("ledger_mode", "halt", "--reason", "An audit needs the log to stand still.", "--log", "acme")
    with pytest.raises(CommandError, match="nothing was stored"):
        run("ledger_ingest", str(file), "--log", "acme")
    assert Log.objects.get(pk=people.log.pk).mode == "halt"


def test_an_erasure_needs_a_second_person(people: People) -> None:
    now = utc_now()
    one, other = (f"staff:{new_uuid7(now)}" for _ in range(2))
    asked = erasure_request(
        log=people.log, uid=UUID(new_uuid7(now)), basis="legal_order", requested_by=one, now=now
    )
    assert (
        erasure_request(
            log=people.log, uid=asked.uid or UUID(int=0), basis="legal_order", requested_by=other, now=now
        )
        == asked
    )
    with pytest.raises(Exception, match="another person"):
        erasure_approve(request=asked, approved_by=one, now=now)
    erasure_approve(request=asked, approved_by=other, now=now)
    assert ErasureRequest.objects.get().approved_by == other


@pytest.fixture
def signing(checkpointer: Checkpointer) -> Iterator[None]:
    """The checkpointer at work beside the test, as it is in a running installation."""
    stopped = threading.Event()

    def work() -> None:
        while not stopped.wait(0.2):
            checkpointer.turn()

    thread = threading.Thread(target=work)
    thread.start()
    yield
    stopped.set()
    thread.join()


def test_demo_is_loaded_once_and_found_by_search(signing: None, tmp_path: Path) -> None:
    del signing
    target = tmp_path / "demo.json"
    run("demo_load", "--json", str(target))
    loaded = json.loads(target.read_text())
    assert target.stat().st_mode & 0o777 == 0o600
    assert Entry.objects.count() == loaded["entries"] > 3_000
    assert run("demo_load", "--if-empty") == ""
    log = Log.objects.get(slug=loaded["organisation"])
    while projections.project_search(log_id=log.id):
        pass
    assert projections.projection_lag(log) == 0
    assert projections.rebuild(log=log) == log.head.size
