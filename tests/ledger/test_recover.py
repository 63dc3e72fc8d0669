"""`ledger_recover`: every row of the recovery table (OPERATIONS section 6).

A restored backup is staged by a superuser who takes the newest rows away; that the cluster is another one is
the concern of the restore drill.
"""

from __future__ import annotations

import json
import shutil
import threading
from contextlib import contextmanager
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command

from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import BadRequest, Unavailable
from ledger import modes
from ledger.core.entry import parse_entry
from ledger.core.note import Checkpoint as Claim
from ledger.core.note import Signer, sign_checkpoint
from ledger.models import Checkpoint, Entry, Guard, Log, Membership, Role, SealedPart, SubjectKey, Submission
from ledger.services.erasure import erase_decision
from ledger.services.operations import export_static
from ledger.services.outside import outside_of
from ledger.services.succession import successor_name
from ledger.services.verification import verify_log
from tests.factories.entries import announced_key, decision_lines, record
from tests.people import person
from tests.running_ledger import SEED
from tests.tampering import tampering

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ledger.checkpointer import Checkpointer
    from ledger.models import AgentKey
    from tests.databases import Cluster
    from tests.people import People

pytestmark = pytest.mark.db

KEPT = 300  # entries that the backup has
LAST_BUNDLE = "tile/entries/001.p/50"
MORE = 5  # decisions after it, besides one erasure
FULL = KEPT + 1 + MORE


def recover(*arguments: str) -> tuple[int, str]:
    out, code = StringIO(), 0
    try:
        call_command("ledger_recover", "--log", "acme", "--wait", "5", *arguments, stdout=out)
    except SystemExit as stop:
        code = int(stop.code or 0)
    return code, out.getvalue()


@contextmanager
def running(checkpointer: Checkpointer) -> Iterator[None]:
    """The checkpointer at work beside the command."""
    stopped = threading.Event()

    def work() -> None:
        while not stopped.wait(0.1):
            checkpointer.turn()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


class Installation:
    """A log that has lost its newest entries to a restore, with what lies outside the database."""

    def __init__(
        self, log: Log, checkpointer: Checkpointer, cluster: Cluster, database: str, folder: Path
    ) -> None:
        self.log, self.checkpointer, self.folder = log, checkpointer, folder
        self._cluster, self._database = cluster, database
        self.export = folder / "export"
        self.sink = folder / "checkpoints.ndjson"
        record(log, [*decision_lines(1, context={"note": "private words"}), *decision_lines(KEPT - 1)])
        decided = Entry.objects.filter(log=log, kind="ecp.decision/1").order_by("seq")
        self.first = decided.values_list("uid", flat=True)[0]
        checkpointer.turn()
        key = SubjectKey.objects.get(parts__uid=self.first)
        self._backed_up = [key, *SealedPart.objects.filter(uid=self.first)]
        erase_decision(log=log, uid=self.first, basis="legal_order", actor="system:shell", now=utc_now())
        record(log, decision_lines(MORE, context={"note": "later words"}))
        checkpointer.turn()
        export_static(log=log, to=self.export)
        self.entries = list(Entry.objects.filter(log=log).order_by("id").values_list("entry", flat=True))

    def restore_backup(self) -> None:
        """The database as it was at the first checkpoint."""
        tables = ("ledger_entry", "ledger_head", "ledger_checkpoint")
        with tampering(self._cluster, self._database, *tables) as superuser:
            superuser.execute(
                "DELETE FROM ledger_checkpoint WHERE log_id = %s AND size > %s", (self.log.id, KEPT)
            )
            superuser.execute(
                "DELETE FROM ledger_sealedpart WHERE uid IN (SELECT uid FROM ledger_entry WHERE seq >= %s)",
                (KEPT,),
            )
            superuser.execute("DELETE FROM ledger_entry WHERE log_id = %s AND seq >= %s", (self.log.id, KEPT))
            superuser.execute(
                "UPDATE ledger_head SET size = %s, (tip, last_rcvd) = "
                "(SELECT leaf_hash, rcvd FROM ledger_entry WHERE log_id = %s AND seq = %s) WHERE log_id = %s",
                (KEPT, self.log.id, KEPT - 1, self.log.id),
            )  # fmt: skip
        SubjectKey.objects.exclude(pk__in=[]).filter(parts__isnull=True).delete()
        for row in self._backed_up:
            row.save(force_insert=True)
        self.restart()

    def restart(self) -> None:
        """Processes start anew and the checkpointer looks at the database."""
        self.checkpointer.close()
        modes.process.forget()
        self.checkpointer.turn()

    @property
    def guard(self) -> str:
        return str(Guard.objects.get(log=self.log).verdict)

    @property
    def mode(self) -> str:
        return str(Log.objects.get(pk=self.log.pk).mode)

    def tamper(self, statement: str, *values: Any, tables: tuple[str, ...] = ("ledger_entry",)) -> None:
        with tampering(self._cluster, self._database, *tables) as superuser:
            superuser.execute(statement, values)


@pytest.fixture
def installation(  # noqa: PLR0917 - fixtures
    people: People,
    checkpointer: Checkpointer,
    cluster: Cluster,
    committed_db: str,
    tmp_path: Path,
    settings: Any,
) -> Installation:
    settings.ECP_CHECKPOINT_SINKS = [f"file:{tmp_path / 'checkpoints.ndjson'}"]
    return Installation(people.log, checkpointer, cluster, committed_db, tmp_path)


def statement_at(log: Log, seq: int) -> dict[str, Any]:
    return parse_entry(bytes(Entry.objects.get(log=log, seq=seq).entry)).stmt


# --- equal or ahead
def test_consistent_log_is_left_as_it_is(installation: Installation) -> None:
    code, said = recover()
    assert (code, installation.mode) == (0, "active"), said
    assert "The log takes entries." in said
    assert Entry.objects.filter(log=installation.log).count() == FULL


def test_log_halted_by_a_person_reopens_with_a_reason_on_record(installation: Installation) -> None:
    call_command("ledger_mode", "halt", "--log", "acme", "--reason", "We look at the storage.")
    with running(installation.checkpointer):
        code, said = recover("--reason", "The storage was found in order.")
    assert (code, installation.mode) == (0, "active"), said
    told = statement_at(installation.log, FULL + 1)
    assert (told["v"], told["from"], told["to"]) == ("ecp.mode/1", "halt", "active")
    assert told["reason"] == "The storage was found in order."


def test_check_changes_nothing(installation: Installation) -> None:
    code, said = recover("--check", "--json")
    assert (code, json.loads(said)["standing"]["verdict"]) == (0, "consistent")
    installation.restore_backup()
    code, said = recover("--check", "--json")
    standing = json.loads(said)["standing"]
    assert (code, standing["verdict"], standing["lost"]) == (1, "behind", [KEPT, FULL])
    assert {anchor["place"] for anchor in standing["anchors"]} == {
        "file:checkpoints.ndjson",
        "high-water mark",
    }
    assert Entry.objects.filter(log=installation.log).count() == KEPT


# --- behind, and an export holds the rest
def test_restored_log_takes_nothing_and_the_command_says_what_is_missing(installation: Installation) -> None:
    installation.restore_backup()
    assert (installation.guard, installation.mode) == ("restored_behind_checkpoint", "halt")
    with pytest.raises(Unavailable):
        record(installation.log, decision_lines(1))
    code, said = recover()
    assert code == 1
    assert f"Missing: positions {KEPT} to {FULL - 1}, {FULL - KEPT} entries." in said
    assert "--accept-loss" in said
    assert installation.mode == "halt"


def test_missing_entries_come_back_and_erasures_are_carried_out_again(installation: Installation) -> None:
    installation.restore_backup()
    log = installation.log
    assert SealedPart.objects.filter(uid=installation.first).exists()
    with running(installation.checkpointer):
        code, said = recover(
            "--from", str(installation.export), "--reason", "The backup of Monday was older."
        )
    assert code == 0, said
    assert f"Positions {KEPT} to {FULL - 1} are back. {MORE} private values of theirs are not" in said
    assert "1 erased values that the backup had brought back are erased again" in said
    rows = Entry.objects.filter(log=log).order_by("id").values_list("entry", flat=True)
    assert [bytes(raw) for raw in rows[:FULL]] == [bytes(raw) for raw in installation.entries]
    assert not SealedPart.objects.filter(log=log).exists()
    assert not SubjectKey.objects.exists()
    assert not Submission.objects.filter(uid=installation.first).exists()
    told = statement_at(log, FULL)
    assert (told["v"], told["to"], told["reason"]) == (
        "ecp.mode/1",
        "active",
        "The backup of Monday was older.",
    )
    installation.checkpointer.turn()
    outside = outside_of(place=str(installation.sink), origin=log.origin)
    report = verify_log(log=log, projections=True, outside=outside)
    assert (report.ok, report.size) == (True, FULL + 1), report.to_text()


def test_import_without_a_checkpointer_waits_and_a_second_run_reopens(installation: Installation) -> None:
    installation.restore_backup()
    code, said = recover("--from", str(installation.export), "--wait", "0")
    assert code == 1
    assert "Still halted: restored_behind_checkpoint. Is the checkpointer running?" in said
    installation.checkpointer.turn()
    assert installation.guard == "ok"
    code, said = recover("--wait", "0")
    assert (code, installation.mode) == (0, "active"), said


def test_entries_that_came_back_are_signed_in_one_go(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key never signs a smaller size than before, so a slice may not end below the mark."""
    monkeypatch.setattr("ledger.checkpointer.SLICE", 2)
    installation.restore_backup()
    recover("--from", str(installation.export), "--wait", "0")
    installation.checkpointer.turn()
    assert installation.guard == "ok"
    sizes = Checkpoint.objects.filter(log=installation.log, size__gte=KEPT).order_by("size")
    assert list(sizes.values_list("size", flat=True)) == [KEPT, FULL]


def test_import_beside_no_checkpointer_brings_the_checkpoint_along(installation: Installation) -> None:
    installation.restore_backup()
    installation.checkpointer.close()
    recover("--from", str(installation.export), "--wait", "0")
    assert (
        Checkpoint.objects.get(log=installation.log, size=FULL).note
        == (installation.export / "checkpoint").read_text()
    )


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda place: flip(place / LAST_BUNDLE, b"Item 3", b"Item 4"), "chain_break"),
        (lambda place: (place / LAST_BUNDLE).unlink(), "has no file"),
        (lambda place: flip(place / "checkpoint", b"/log/acme\n", b"/log/acne\n"), "is of the log"),
        (shutil.rmtree, "neither a directory"),
    ],
)  # fmt: skip
def test_export_that_is_damaged_changes_nothing(
    installation: Installation, spoil: Any, sentence: str
) -> None:
    installation.restore_backup()
    spoil(installation.export)
    with pytest.raises(CommandError, match=sentence) as refused:
        recover("--from", str(installation.export), "--wait", "0")
    assert refused.value.returncode == 2
    assert Entry.objects.filter(log=installation.log).count() == KEPT


def flip(file: Path, old: bytes, new: bytes) -> None:
    data = file.read_bytes()
    assert old in data
    file.write_bytes(data.replace(old, new, 1))


def test_export_that_ends_too_early_is_refused(installation: Installation, tmp_path: Path) -> None:
    record(installation.log, decision_lines(2))
    installation.checkpointer.turn()
    installation.restore_backup()
    with pytest.raises(CommandError, match=f"reaches to size {FULL}, but {FULL + 2} entries were published"):
        recover("--from", str(installation.export), "--wait", "0")
    del tmp_path


def test_other_history_under_our_own_key_is_no_help(installation: Installation) -> None:
    """An export that verifies by itself, but does not lead to the root that is kept outside."""
    installation.restore_backup()
    anchor = json.loads(installation.sink.read_text().splitlines()[-1])
    installation.sink.write_text(json.dumps(anchor | {"root": "00" * 32}) + "\n")
    (installation.folder / "high-water.json").unlink()
    with pytest.raises(CommandError, match=r"root that file:checkpoints\.ndjson keeps: this is a fork"):
        recover("--from", str(installation.export), "--wait", "0")
    assert Entry.objects.filter(log=installation.log).count() == KEPT


# --- behind for good
def admins(people: People) -> tuple[Membership, Membership]:
    for name in ("cleo", "dora"):
        person(name, people.acme, Role.ADMIN)
    found = Membership.objects.filter(organisation=people.acme, role=Role.ADMIN).order_by("user__username")
    return found[0], found[1]


LOSS = ("--accept-loss", "--reason", "The disk and both backups burnt.")


def test_accepted_loss_opens_a_successor_that_names_it(installation: Installation, people: People) -> None:
    one, other = admins(people)
    installation.restore_backup()
    anchor = json.loads(installation.sink.read_text().splitlines()[-1])
    with running(installation.checkpointer):
        code, said = recover(*LOSS, "--by", "cleo", "--approved-by", "dora")
    assert code == 0, said
    old, new = installation.log, Log.objects.get(slug="acme-e1")
    assert (new.origin, new.epoch, new.prior_log, new.organisation) == (
        "ecp.local/log/acme-e1",
        1,
        old,
        people.acme,
    )
    assert installation.mode == "halt"
    gap = statement_at(new, 0)
    assert (gap["v"], gap["actor"], gap["estimate"]) == ("ecp.gap/1", f"staff:{one.pseudonym}", FULL - KEPT)
    assert gap["prior"] == {"origin": old.origin, "size": FULL, "root": anchor["root"]}
    assert f"staff:{other.pseudonym}" in gap["reason"]
    assert f"Entries {KEPT} to {FULL - 1} of {old.origin} are lost." in gap["reason"]
    modes.process.forget()
    record(new, decision_lines(2))
    installation.checkpointer.turn()
    assert verify_log(log=new).ok


@pytest.fixture
def key(people: People) -> AgentKey:
    """Announced before anything else, so that the backup has it."""
    return announced_key(people.log)


def test_agents_keys_speak_in_the_successor_too(
    key: AgentKey, installation: Installation, people: People
) -> None:
    admins(people)
    installation.restore_backup()
    recover(*LOSS, "--by", "cleo", "--approved-by", "dora", "--wait", "0")
    new = Log.objects.get(slug="acme-e1")
    carried = statement_at(new, 1)
    assert (carried["v"], carried["holder"]) == ("ecp.key/1", "agent:pricing-bot")
    assert carried["kid"] == key.kid
    assert carried["reason"] == f"carried over from {installation.log.origin}"


@pytest.mark.parametrize(
    ("by", "approved_by", "sentence"),
    [
        ("cleo", "cleo", "two different admins"),
        ("cleo", "ada", "ada is no admin of acme"),
        ("eve", "cleo", "eve is no admin of acme"),
    ],
)
def test_one_person_cannot_accept_a_loss(
    installation: Installation, people: People, by: str, approved_by: str, sentence: str
) -> None:
    admins(people)
    installation.restore_backup()
    with pytest.raises(CommandError, match=sentence):
        recover(*LOSS, "--by", by, "--approved-by", approved_by)
    assert not Log.objects.filter(slug="acme-e1").exists()


def test_nothing_lost_is_nothing_to_accept(installation: Installation, people: People) -> None:
    admins(people)
    with pytest.raises(CommandError, match="nothing is lost"):
        recover(*LOSS, "--by", "cleo", "--approved-by", "dora")
    del installation


def test_successors_are_counted(installation: Installation) -> None:
    """The name of a successor's successor does not grow."""
    log = installation.log
    assert successor_name(log) == "acme-e1"
    log.slug, log.epoch = "acme-e1", 1
    assert successor_name(log) == "acme-e2"
    log.slug = "a" * 61 + "-e9"
    log.epoch = 9
    with pytest.raises(BadRequest, match="too long"):
        successor_name(log)


def test_closed_log_gets_one_successor(installation: Installation, people: People) -> None:
    admins(people)
    installation.restore_backup()
    recover(*LOSS, "--by", "cleo", "--approved-by", "dora", "--wait", "0")
    with pytest.raises(CommandError, match="has a successor already"):
        recover(*LOSS, "--by", "cleo", "--approved-by", "dora")


# --- no checkpoint outside
def test_without_any_checkpoint_outside_the_log_stays_halted(installation: Installation) -> None:
    installation.sink.unlink()
    installation.restart()
    assert (installation.guard, installation.mode) == ("no_anchor", "halt")
    code, said = recover("--wait", "0")
    assert code == 1
    assert "--accept-db" in said


def test_accepted_database_becomes_the_anchor(installation: Installation) -> None:
    installation.sink.unlink()
    installation.restart()
    with running(installation.checkpointer):
        code, said = recover("--accept-db", "--reason", "The sink's host is gone; we vouch for this.")
    assert (code, installation.mode) == (0, "active"), said
    assert f"The stored checkpoint of size {FULL} is the anchor now." in said
    assert json.loads(installation.sink.read_text().splitlines()[0])["size"] == FULL
    assert statement_at(installation.log, FULL)["reason"].startswith("The sink's host is gone")


def test_database_is_not_accepted_against_a_checkpoint_outside(installation: Installation) -> None:
    installation.restore_backup()
    with pytest.raises(CommandError, match="they decide, not the database alone"):
        recover("--accept-db", "--reason", "We would rather go on now.")


def test_mark_beside_the_key_counts_when_the_sinks_are_gone(installation: Installation) -> None:
    """The key has signed more than the restored database holds: nobody may vouch that away."""
    installation.sink.unlink()
    installation.restore_backup()
    code, said = recover("--check", "--json")
    assert (code, json.loads(said)["standing"]["verdict"]) == (1, "behind")


def test_unwritable_sinks_cannot_take_an_anchor(installation: Installation, settings: Any) -> None:
    installation.sink.unlink()
    installation.restart()
    installation.sink.mkdir()
    code, said = recover("--wait", "0")
    assert (code, "file:checkpoints.ndjson cannot be read." in said) == (1, True)
    with pytest.raises(CommandError, match="no sink of ECP_CHECKPOINT_SINKS can be written"):
        recover("--accept-db", "--reason", "We vouch for this database.")
    del settings


def test_mark_that_cannot_be_read_is_said(installation: Installation) -> None:
    (installation.folder / "high-water.json").unlink()
    (installation.folder / "high-water.json").mkdir()
    code, said = recover("--check")
    assert (code, "high-water mark cannot be read." in said) == (0, True)


def test_unsigned_database_cannot_vouch_for_itself(people: People, settings: Any, tmp_path: Path) -> None:
    (tmp_path / "sink").mkdir()
    settings.ECP_CHECKPOINT_SINKS = [f"file:{tmp_path / 'sink'}"]
    record(people.log, decision_lines(1))
    with pytest.raises(CommandError, match="holds no signed checkpoint either"):
        recover("--accept-db", "--reason", "We vouch for this database.")


# --- fork, and a database that does not even verify
def test_other_root_of_the_same_size_is_a_fork(installation: Installation) -> None:
    line = json.loads(installation.sink.read_text().splitlines()[-1])
    root = bytes(range(32))
    note = sign_checkpoint(Claim(installation.log.origin, FULL, root), Signer(installation.log.origin, SEED))
    installation.sink.write_text(json.dumps(line | {"root": root.hex(), "note": note}) + "\n")
    installation.restart()
    assert installation.guard == "anchor_root_mismatch"
    code, said = recover()
    assert (code, installation.mode) == (3, "halt")
    evidence = next((installation.folder / "state" / "evidence").iterdir())
    assert str(evidence) in said
    kept = json.loads(evidence.read_text())
    assert (kept["log"], kept["standing"]["verdict"]) == (installation.log.origin, "fork")
    assert kept["stored_checkpoint"] == Checkpoint.objects.get(log=installation.log, size=FULL).note


def test_sinks_that_disagree_beyond_the_end_are_a_fork(installation: Installation, settings: Any) -> None:
    installation.restore_backup()
    line = json.loads(installation.sink.read_text().splitlines()[-1])
    second = installation.folder / "second.ndjson"
    second.write_text(json.dumps(line | {"root": "11" * 32}) + "\n")
    settings.ECP_CHECKPOINT_SINKS = [*settings.ECP_CHECKPOINT_SINKS, f"file:{second}"]
    assert recover("--check")[0] == 3


def test_database_that_does_not_verify_stays_halted(installation: Installation) -> None:
    call_command("ledger_mode", "halt", "--log", "acme", "--reason", "Something looks wrong.")
    installation.tamper(
        "UPDATE ledger_entry SET agent = 'other-bot' WHERE log_id = %s AND seq = 9", installation.log.id
    )
    code, said = recover()
    assert (code, installation.mode) == (1, "halt")
    assert "projection_mismatch at position 9" in said


# --- arguments
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--accept-db",), "say why with --reason"),
        (("--accept-loss",), "say why with --reason"),
        (("--accept-loss", "--reason", "All is lost, really."), "--by NAME --approved-by NAME"),
        (("--from", "here", "--accept-db"), "not allowed with"),
    ],
)
def test_arguments_that_do_not_fit_say_so(people: People, arguments: tuple[str, ...], sentence: str) -> None:
    del people
    with pytest.raises(CommandError, match=sentence):
        recover(*arguments)


def test_without_a_public_key_nothing_can_be_judged(people: People, settings: Any, tmp_path: Path) -> None:
    del people
    settings.ECP_LOG_PUBLIC_KEYS = tmp_path / "none.json"
    with pytest.raises(CommandError, match="ledger_keygen"):
        recover()


def test_new_log_without_entries_or_checkpoints_is_open(
    people: People, settings: Any, tmp_path: Path
) -> None:
    settings.ECP_CHECKPOINT_SINKS = [f"file:{tmp_path / 'checkpoints.ndjson'}"]
    code, said = recover("--json")
    assert (code, json.loads(said)["standing"]["verdict"]) == (0, "consistent")
    assert Entry.objects.filter(log=people.log).count() == 0
