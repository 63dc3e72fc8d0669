"""`ledger_rebuild`: a log comes back from its public bytes, byte for byte, or not at all."""

from __future__ import annotations

import json
import shutil
import threading
from datetime import timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connections, transaction

from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.ids import new_uuid7
from ecp_project.kernel.signing import public_from_seed
from ledger import modes
from ledger.core.export import export_lines
from ledger.core.statement import build_key
from ledger.models import Agent, AgentKey, Checkpoint, Entry, Head, Log, Organisation, Tile
from ledger.services.identities import agent_create, organisation_create
from ledger.services.ledger import TransparencyLedger
from ledger.services.operations import export_static
from ledger.services.rebuild import log_rebuild
from ledger.services.verification import verify_log
from tests.databases import Cluster, remove_committed_rows
from tests.factories.entries import decision_lines, record
from tests.installation import until
from tests.ledger.core.sample_log import SampleLog, decision, sample_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from ledger.checkpointer import Checkpointer
    from tests.people import People

pytestmark = pytest.mark.db

COUNT = 300  # more than one tile and one bundle
SEED = bytes(range(32, 64))
ADVISORY_LOCKS_SQL = """
SELECT FROM pg_locks JOIN pg_database ON pg_database.oid = database
WHERE locktype = 'advisory' AND datname = current_database()
"""


def rebuild(*arguments: str) -> tuple[int, str]:
    out, code = StringIO(), 0
    try:
        call_command("ledger_rebuild", *arguments, stdout=out)
    except SystemExit as stop:
        code = int(stop.code or 0)
    return code, out.getvalue()


def announce(log: Log, event: str, reason: str | None = None) -> None:
    now = utc_now()
    stmt = build_key(
        id_=new_uuid7(now),
        org=log.organisation.slug,
        ts=now,
        actor="system:shell",
        event=event,
        holder="agent:pricing-bot",
        public_key=public_from_seed(SEED),
        valid_from=now - timedelta(days=1),
        reason=reason,
    )
    with transaction.atomic():
        TransparencyLedger(log).append_statement(stmt, now=now)


@pytest.fixture
def exported(people: People, checkpointer: Checkpointer, tmp_path: Path) -> Path:
    """The static log of a ledger with several kinds of entries."""
    record(people.log, decision_lines(COUNT, risk="low", context={"price": 7}))
    announce(people.log, "added")
    announce(people.log, "revoked", "The host was taken over.")
    checkpointer.turn()
    export_static(log=people.log, to=tmp_path / "export")
    return tmp_path / "export"


@pytest.fixture
def emptied(
    exported: Path, cluster: Cluster, committed_db: str, checkpointer: Checkpointer
) -> Callable[[], None]:
    """Calling it stands for a new machine: the database is empty, keys and outside checkpoints are there."""
    del exported

    def empty() -> None:
        connections.close_all()
        checkpointer.close()
        with cluster.connect(committed_db) as watcher:
            # The server ends a session a moment after its client: the next turn needs the lock it held.
            until(lambda: not watcher.execute(ADVISORY_LOCKS_SQL).fetchall())
        modes.process.forget()
        remove_committed_rows(cluster, committed_db)

    return empty


def plain(row: Mapping[str, object]) -> dict[str, Any]:
    return {name: bytes(value) if isinstance(value, memoryview) else value for name, value in row.items()}


def state() -> dict[str, list[Any]]:
    """Everything that the log itself consists of."""
    return {
        "entries": [plain(row) for row in Entry.objects.order_by("id").values()],
        "head": [
            plain(row) for row in Head.objects.filter(log__slug="acme").values("size", "tip", "last_rcvd")
        ],
        "tiles": [plain(row) for row in Tile.objects.values("level", "idx", "data", "root")],
        "checkpoints": [
            plain(row) for row in Checkpoint.objects.filter(size=COUNT + 2).values("size", "root", "note")
        ],
    }


def files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_log_comes_back_byte_for_byte(
    exported: Path, emptied: Callable[[], None], checkpointer: Checkpointer, tmp_path: Path
) -> None:
    before = state()
    assert len(before["tiles"]) == 1
    emptied()
    code, said = rebuild("--from", str(exported))
    assert code == 0, said
    assert state() == before
    log = Log.objects.get()
    assert (log.slug, log.organisation.slug) == ("acme", "acme")
    checkpointer.turn()
    assert log.guard.verdict == modes.GUARD_OK
    export_static(log=log, to=tmp_path / "again")
    assert files(tmp_path / "again") == files(exported)


def test_rebuilt_log_goes_on(exported: Path, emptied: Callable[[], None], checkpointer: Checkpointer) -> None:
    emptied()
    rebuild("--from", str(exported))
    checkpointer.turn()
    log = Log.objects.get()
    record(log, decision_lines(2))
    assert checkpointer.turn() == 1


def test_agents_and_their_keys_come_back(exported: Path, emptied: Callable[[], None]) -> None:
    emptied()
    said = json.loads(rebuild("--from", str(exported / "export.ndjson"), "--json")[1])
    assert (said["log"], said["agents"], said["keys"]) == ("acme", 1, 1)
    assert said["report"]["size"] == COUNT + 2
    key = AgentKey.objects.get()
    assert bytes(key.public_key) == public_from_seed(SEED)
    assert (key.agent.slug, key.revoked_reason) == ("pricing-bot", "The host was taken over.")
    assert key.revoked_at is not None


def test_empty_log_of_the_same_origin_is_filled(
    exported: Path, emptied: Callable[[], None], checkpointer: Checkpointer
) -> None:
    emptied()
    _, log = organisation_create(slug="acme", title="Acme", now=utc_now())
    assert rebuild("--from", str(exported))[0] == 0
    assert Head.objects.get(log=log).size == COUNT + 2
    assert checkpointer.turn() == 0


def test_log_with_entries_is_refused(exported: Path) -> None:
    before = state()
    with pytest.raises(
        CommandError, match=r"holds 302 entries; a rebuild needs an empty one.*ledger_recover --from"
    ):
        rebuild("--from", str(exported))
    assert state() == before


def test_other_log_of_that_name_is_refused(
    exported: Path, emptied: Callable[[], None], settings: Any
) -> None:
    emptied()
    settings.ECP_ORIGIN_HOST = "elsewhere.example"
    organisation_create(slug="acme", title="Acme", now=utc_now())
    with pytest.raises(CommandError, match=r"belongs to the log elsewhere\.example/log/acme"):
        rebuild("--from", str(exported))


def flip(file: Path, old: bytes, new: bytes) -> None:
    data = file.read_bytes()
    assert data.count(old) >= 1
    file.write_bytes(data.replace(old, new, 1))


def test_changed_entry_is_found_and_nothing_is_stored(exported: Path, emptied: Callable[[], None]) -> None:
    emptied()
    flip(exported / "tile" / "entries" / "000", b"Item 7 is", b"Item 8 is")
    code, said = rebuild("--from", str(exported))
    assert code == 1
    assert "FAILED" in said
    assert "chain_break at position 7" in said
    assert (Log.objects.count(), Entry.objects.count(), Organisation.objects.count()) == (0, 0, 0)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda place: (place / "tile" / "entries" / "000").unlink(), "no file tile/entries/000"),
        (lambda place: (place / "tile" / "entries" / "000").write_bytes(b"\0\1"), "entry bundle 0"),
        (lambda place: flip(place / "checkpoint", b"/log/acme\n", b"/log/acne\n"), "signed by none of the 1"),
        (lambda place: (place / "checkpoint").write_text("no note"), "is no export"),
        (shutil.rmtree, "neither a directory nor"),
    ],
)  # fmt: skip
def test_unreadable_export_says_why(
    exported: Path, emptied: Callable[[], None], spoil: Callable[[Path], Any], sentence: str
) -> None:
    emptied()
    spoil(exported)
    with pytest.raises(CommandError, match=sentence) as refused:
        rebuild("--from", str(exported))
    assert refused.value.returncode == 2
    assert Log.objects.count() == 0


def test_unsigned_tail_is_not_taken(exported: Path, emptied: Callable[[], None]) -> None:
    """Entries beyond the checkpoint prove nothing: the chain needs no key."""
    emptied()
    file = exported / "export.ndjson"
    lines = file.read_bytes().splitlines(keepends=True)
    shutil.rmtree(exported / "tile")
    (exported / "checkpoint").unlink()
    file.write_bytes(b"".join([*lines[:-1], lines[5], lines[-1]]))
    with pytest.raises(CommandError, match="is damaged"):
        rebuild("--from", str(exported))
    assert Entry.objects.count() == 0


def segments(exported: Path, folder: Path, cuts: list[tuple[int, int]], log: Log) -> Path:
    """Export files of ranges, as they are shipped off the host."""
    entries = (exported / "export.ndjson").read_bytes().splitlines()[:-1]
    note = (exported / "checkpoint").read_text()
    folder.mkdir()
    for first, end in cuts:
        lines = export_lines(origin=log.origin, first=first, entries=entries[first:end], checkpoint=note)
        (folder / f"{first:06}.ndjson").write_bytes(b"".join(lines))
    return folder


def test_segments_make_the_log(
    exported: Path, emptied: Callable[[], None], people: People, tmp_path: Path
) -> None:
    before = state()
    place = segments(exported, tmp_path / "cut", [(0, 100), (100, 250), (200, COUNT + 2)], people.log)
    emptied()
    assert rebuild("--from", str(place))[0] == 0
    assert state() == before


def test_missing_segment_is_named(
    exported: Path, emptied: Callable[[], None], people: People, tmp_path: Path
) -> None:
    place = segments(exported, tmp_path / "cut", [(0, 100), (150, COUNT + 2)], people.log)
    emptied()
    with pytest.raises(CommandError, match=r"positions 100 to 149 are missing between 000000\.ndjson"):
        rebuild("--from", str(place))


def test_missing_first_segment_is_named(
    exported: Path, emptied: Callable[[], None], people: People, tmp_path: Path
) -> None:
    place = segments(exported, tmp_path / "cut", [(100, COUNT + 2)], people.log)
    emptied()
    with pytest.raises(CommandError, match="begins at position 100"):
        rebuild("--from", str(place))


def test_missing_last_segment_is_no_complete_log(
    exported: Path, emptied: Callable[[], None], people: People, tmp_path: Path
) -> None:
    place = segments(exported, tmp_path / "cut", [(0, 100), (100, 250)], people.log)
    emptied()
    code, said = rebuild("--from", str(place))
    assert code == 1
    assert "truncated at position 250" in said
    assert Entry.objects.count() == 0


def test_torn_segment_is_refused(exported: Path, emptied: Callable[[], None]) -> None:
    emptied()
    file = exported / "export.ndjson"
    file.write_bytes(file.read_bytes()[:-2_000])
    with pytest.raises(CommandError, match="has no trailer"):
        rebuild("--from", str(file))


def test_folder_without_an_export_is_refused(people: People, tmp_path: Path) -> None:
    del people
    with pytest.raises(CommandError, match=r"neither a checkpoint nor an \.ndjson file"):
        rebuild("--from", str(tmp_path))


def test_agents_that_are_known_are_left_alone(exported: Path, emptied: Callable[[], None]) -> None:
    emptied()
    organisation, _ = organisation_create(slug="acme", title="Acme", now=utc_now())
    agent_create(organisation=organisation, slug="pricing-bot", title="Shelf prices")
    said = json.loads(rebuild("--from", str(exported), "--json")[1])
    assert (said["agents"], said["keys"]) == (0, 1)
    assert Agent.objects.get().title == "Shelf prices"


# --- exports of a log that was never in this database
def test_many_entries_are_stored_in_batches(checkpointer: Checkpointer, tmp_path: Path) -> None:
    del checkpointer  # its key signs the sample log too
    sample, seen = sample_log(2_100, signed=[5, 2_050]), []
    rebuilt = log_rebuild(
        place=str(sample.write_export(tmp_path / "sample.ndjson")),
        now=utc_now(),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert rebuilt.log is not None
    assert rebuilt.report.checked.signatures == 3
    assert seen == [(2_000, 2_100), (2_100, 2_100)]
    seen.clear()
    report = verify_log(log=rebuilt.log, progress=lambda done, total: seen.append((done, total)))
    assert (report.ok, report.size) == (True, 2_100), report.to_text()
    assert seen == [(2_000, 2_100), (2_100, 2_100)]
    assert Entry.objects.filter(late=True).count() == 300


def test_export_of_an_empty_log_is_no_help(checkpointer: Checkpointer, tmp_path: Path) -> None:
    del checkpointer
    sample = SampleLog()
    sample.checkpoint()
    with pytest.raises(CommandError, match="holds no entry"):
        rebuild("--from", str(sample.write_export(tmp_path / "sample.ndjson")))


def test_first_entry_that_is_none_is_named(checkpointer: Checkpointer, tmp_path: Path) -> None:
    del checkpointer
    sample = sample_log(3)
    sample.entries[0] = b"{}"
    with pytest.raises(CommandError, match="the first entry of the export is none"):
        rebuild("--from", str(sample.write_export(tmp_path / "sample.ndjson")))


def test_statement_without_a_member_of_its_kind_is_named(checkpointer: Checkpointer, tmp_path: Path) -> None:
    """Signed by our own key, but by a version that took what it should not have."""
    del checkpointer
    sample = SampleLog()
    stmt = decision(0)
    del stmt["agent"]
    sample.append(stmt)
    sample.checkpoint()
    with pytest.raises(CommandError, match="position 0 lacks a member of its kind: 'agent'"):
        rebuild("--from", str(sample.write_export(tmp_path / "sample.ndjson")))


def test_files_of_two_logs_are_not_one_export(checkpointer: Checkpointer, tmp_path: Path) -> None:
    del checkpointer
    sample_log(2).write_export(tmp_path / "a.ndjson")
    other = SampleLog("ecp.test/log/other")
    other.append(decision(0))
    other.checkpoint()
    other.write_export(tmp_path / "b.ndjson")
    with pytest.raises(CommandError, match=r"a\.ndjson and b\.ndjson are of two logs"):
        rebuild("--from", str(tmp_path))


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """The test's folder, served over HTTP."""
    handler = partial(QuietHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
        pass


def test_log_comes_back_from_an_address(exported: Path, emptied: Callable[[], None], address: str) -> None:
    before = state()
    emptied()
    assert rebuild("--from", f"{address}/{exported.name}")[0] == 0
    assert state() == before


def test_address_without_a_log_says_what_is_missing(checkpointer: Checkpointer, address: str) -> None:
    del checkpointer
    with pytest.raises(CommandError, match="has no file checkpoint"):
        rebuild("--from", f"{address}/nothing")
