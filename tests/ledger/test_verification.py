"""What `ledger_verify` checks besides the entries: tiles, registry, columns, checkpoints kept elsewhere."""

from __future__ import annotations

import json
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command

from ecp_project.kernel import signing
from ecp_project.kernel.clock import utc_now
from ledger.core.merkle import leaf_hash
from ledger.core.note import Checkpoint as Claim
from ledger.core.note import Signer, sign_checkpoint
from ledger.models import Agent, AgentKey, Checkpoint, Entry
from ledger.services.agentkeys import agent_key_revoke
from ledger.services.operations import export_static
from tests.factories.entries import KEY_SEED, announced_key, decision_lines, record
from tests.running_ledger import SEED
from tests.tampering import tampering

if TYPE_CHECKING:
    from pathlib import Path

    from ledger.checkpointer import Checkpointer
    from ledger.models import Log
    from tests.databases import Cluster
    from tests.people import People

pytestmark = pytest.mark.db

COUNT = 300  # more than one tile


def verify(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Exit code and `ecp.verify/1` for the log acme."""
    out, code = StringIO(), 0
    try:
        call_command("ledger_verify", "--log", "acme", "--json", *arguments, stdout=out)
    except SystemExit as stop:
        code = int(stop.code or 0)
    return code, json.loads(out.getvalue())


@pytest.fixture
def log(people: People, checkpointer: Checkpointer) -> Log:
    """300 signed entries."""
    record(people.log, decision_lines(COUNT))
    checkpointer.turn()
    return people.log


# --- registry
def test_announced_key_is_sound(log: Log, checkpointer: Checkpointer) -> None:
    announced_key(log)
    checkpointer.turn()
    code, report = verify("--full")
    assert (code, report["ok"], report["checked"]["signatures"]) == (0, True, 1), report


def test_key_that_was_never_announced_is_found(log: Log) -> None:
    public_key = signing.public_from_seed(KEY_SEED)
    AgentKey.objects.create(
        agent=Agent.objects.get(organisation=log.organisation, slug="pricing-bot"),
        kid=signing.kid_of(public_key),
        public_key=public_key,
        valid_from=utc_now(),
    )
    code, report = verify()
    assert (code, report["kind"], report["first_bad_seq"]) == (1, "registry_mismatch", None)
    assert "never announced" in report["findings"][0]["detail"]


def test_replaced_public_key_is_found_where_it_was_announced(log: Log) -> None:
    key = announced_key(log)
    AgentKey.objects.filter(pk=key.pk).update(public_key=signing.public_from_seed(bytes(32)))
    code, report = verify()
    assert (code, report["kind"], report["first_bad_seq"]) == (1, "registry_mismatch", COUNT)


def test_revoked_key_that_is_valid_again_is_found(log: Log) -> None:
    key = announced_key(log)
    agent_key_revoke(key=key, actor="system:shell", reason="The host was taken over.", now=utc_now())
    assert verify()[0] == 0
    AgentKey.objects.filter(pk=key.pk).update(revoked_at=None)
    code, report = verify()
    assert (code, report["kind"], report["first_bad_seq"]) == (1, "registry_mismatch", COUNT + 1)


def test_other_organisations_keys_are_not_looked_at(log: Log, people: People) -> None:
    public_key = signing.public_from_seed(KEY_SEED)
    AgentKey.objects.create(
        agent=people.eve_agent.agent,
        kid=signing.kid_of(public_key),
        public_key=public_key,
        valid_from=utc_now(),
    )
    del log
    assert verify()[0] == 0


# --- columns and tiles
@pytest.mark.parametrize(
    "change",
    ["agent = 'other-bot'", "rcvd = rcvd - interval '1 hour'", "zone = 'operator'", "late = true"],
)
def test_changed_column_is_found(log: Log, cluster: Cluster, committed_db: str, change: str) -> None:
    with tampering(cluster, committed_db, "ledger_entry") as superuser:
        superuser.execute(f"UPDATE ledger_entry SET {change} WHERE log_id = %s AND seq = 7", (log.id,))  # noqa: S608 - from the list above
    code, report = verify()
    assert (code, report["kinds"], report["first_bad_seq"]) == (1, ["projection_mismatch"], 7)


def test_changed_tile_is_found(log: Log, cluster: Cluster, committed_db: str) -> None:
    with tampering(cluster, committed_db, "ledger_tile") as superuser:
        superuser.execute(
            "UPDATE ledger_tile SET data = set_byte(data, 40, get_byte(data, 40) # 1) WHERE log_id = %s",
            (log.id,),
        )
    code, report = verify()
    assert (code, report["kinds"]) == (1, ["root_mismatch"])
    assert report["findings"][0]["detail"] == "tile 0/0: the stored tile is not that of the entries"


def test_missing_tile_is_found(log: Log, cluster: Cluster, committed_db: str) -> None:
    with tampering(cluster, committed_db, "ledger_tile") as superuser:
        superuser.execute("DELETE FROM ledger_tile WHERE log_id = %s", (log.id,))
    code, report = verify()
    assert (code, report["findings"][0]["detail"]) == (
        1,
        "tile 0/0: the tile is missing, though a checkpoint covers it",
    )


def test_full_tile_behind_the_newest_checkpoint_is_not_missed(log: Log) -> None:
    record(log, decision_lines(300))
    assert verify()[0] == 0


def replace_entry(log: Log, cluster: Cluster, database: str, seq: int, raw: bytes) -> None:
    with tampering(cluster, database, "ledger_entry") as superuser:
        superuser.execute(
            "UPDATE ledger_entry SET entry = %s, leaf_hash = %s WHERE log_id = %s AND seq = %s",
            (raw, leaf_hash(raw), log.id, seq),
        )


def test_statement_without_a_member_of_its_kind_is_found(
    log: Log, cluster: Cluster, committed_db: str
) -> None:
    raw = bytes(Entry.objects.get(log=log, seq=9).entry)
    replace_entry(log, cluster, committed_db, 9, raw.replace(b'"agent":"pricing-bot",', b""))
    code, report = verify()
    assert (code, report["kind"], report["first_bad_seq"]) == (1, "chain_break", 9)
    assert {"projection_mismatch", "root_mismatch"} <= set(report["kinds"])


def test_key_entry_that_cannot_be_read_announces_nothing(
    log: Log, cluster: Cluster, committed_db: str
) -> None:
    announced_key(log)
    replace_entry(log, cluster, committed_db, COUNT, b"{}")
    code, report = verify()
    assert (code, report["kind"], report["first_bad_seq"]) == (1, "entry_syntax", COUNT)
    assert "registry_mismatch" in report["kinds"]


# --- against checkpoints kept elsewhere
def test_sink_file_agrees(log: Log, tmp_path: Path) -> None:
    del log
    file = tmp_path / "checkpoints.ndjson"
    with file.open("ab") as sink:
        sink.write(b'{"origin": "torn')
    code, report = verify("--against", str(file))
    assert (code, report["ok"]) == (0, True)


def test_exported_folder_and_its_parts_agree_after_growth(
    log: Log, checkpointer: Checkpointer, tmp_path: Path
) -> None:
    export_static(log=log, to=tmp_path / "out")
    record(log, decision_lines(3))
    checkpointer.turn()
    for place in ("out", "out/export.ndjson", "out/checkpoint"):
        code, report = verify("--against", str(tmp_path / place))
        assert (code, report["ok"]) == (0, True), place


def remove_checkpoints(log: Log, cluster: Cluster, database: str, size: int) -> None:
    with tampering(cluster, database, "ledger_checkpoint") as superuser:
        superuser.execute("DELETE FROM ledger_checkpoint WHERE log_id = %s AND size >= %s", (log.id, size))


def test_deleted_checkpoint_is_found_by_whoever_holds_it(
    log: Log, checkpointer: Checkpointer, cluster: Cluster, committed_db: str, tmp_path: Path
) -> None:
    record(log, decision_lines(2))
    checkpointer.turn()
    remove_checkpoints(log, cluster, committed_db, COUNT + 2)
    assert verify()[0] == 0
    code, report = verify("--against", str(tmp_path / "checkpoints.ndjson"))
    assert (code, report["kinds"], report["first_bad_seq"]) == (1, ["truncated"], COUNT)


def test_entries_lost_behind_an_outside_checkpoint_are_found(
    log: Log, cluster: Cluster, committed_db: str, tmp_path: Path
) -> None:
    remove_checkpoints(log, cluster, committed_db, 1)
    with tampering(cluster, committed_db, "ledger_entry", "ledger_head") as superuser:
        superuser.execute("DELETE FROM ledger_entry WHERE log_id = %s AND seq >= 200", (log.id,))
        superuser.execute(
            "UPDATE ledger_head SET size = 200, tip = (SELECT leaf_hash FROM ledger_entry "
            "WHERE log_id = %s AND seq = 199) WHERE log_id = %s",
            (log.id, log.id),
        )
    code, report = verify("--against", str(tmp_path / "checkpoints.ndjson"))
    assert (code, report["kind"], report["first_bad_seq"]) == (1, "truncated", 200)


def test_second_root_for_one_size_is_a_fork(log: Log, tmp_path: Path) -> None:
    forked = sign_checkpoint(Claim(log.origin, COUNT, bytes(32)), Signer(log.origin, SEED))
    (tmp_path / "other").write_text(forked)
    code, report = verify("--against", str(tmp_path / "other"))
    assert (code, "fork" in report["kinds"]) == (1, True)


def test_checkpoint_signed_by_a_stranger_is_found(log: Log, tmp_path: Path) -> None:
    root = bytes(Checkpoint.objects.get(log=log, size=COUNT).root)
    foreign = sign_checkpoint(Claim(log.origin, COUNT, root), Signer(log.origin, KEY_SEED))
    (tmp_path / "other").write_text(foreign)
    code, report = verify("--against", str(tmp_path / "other"))
    assert (code, report["kinds"]) == (1, ["checkpoint_signature"])


def test_place_without_this_log_is_missing_evidence(log: Log, tmp_path: Path) -> None:
    del log
    (tmp_path / "empty.ndjson").write_text("{}\n")
    code, report = verify("--against", str(tmp_path / "empty.ndjson"))
    assert (code, report["ok"]) == (3, True)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda _file: None, "neither a directory nor an http"),
        (lambda file: file.mkdir(), "holds no checkpoint"),
        (lambda file: file.write_text("hello"), "holds a checkpoint that is none"),
        (lambda file: file.write_bytes(b"\xff\xfe"), "cannot be read"),
        (lambda file: file.write_bytes(b'{"checkpoint":1}\n'), "holds no checkpoint: the trailer"),
    ],
)
def test_place_that_holds_no_checkpoint_says_why(log: Log, tmp_path: Path, make: Any, sentence: str) -> None:
    del log
    make(tmp_path / "place")
    with pytest.raises(CommandError, match=sentence) as refused:
        verify("--against", str(tmp_path / "place"))
    assert refused.value.returncode == 2


def test_checkpoint_of_another_log_is_refused(
    log: Log, people: People, checkpointer: Checkpointer, tmp_path: Path
) -> None:
    del log
    line = decision_lines(1)[0].replace(b"pricing-bot", b"eve-bot")
    record(people.other_log, [line])
    checkpointer.turn()
    export_static(log=people.other_log, to=tmp_path / "out")
    with pytest.raises(CommandError, match=r"is about the log ecp\.local/log/umbra"):
        verify("--against", str(tmp_path / "out"))


def test_without_a_public_key_the_command_says_what_to_run(log: Log, settings: Any, tmp_path: Path) -> None:
    del log
    settings.ECP_LOG_PUBLIC_KEYS = tmp_path / "none.json"
    with pytest.raises(CommandError, match="ledger_keygen"):
        verify()


def test_nothing_to_verify_is_said(checkpointer: Checkpointer) -> None:
    del checkpointer
    with pytest.raises(CommandError, match="no log to verify yet"):
        call_command("ledger_verify")
