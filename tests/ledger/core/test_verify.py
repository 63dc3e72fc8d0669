"""The streaming verifier and the checks of exports and static logs, on logs made for the purpose."""

from __future__ import annotations

import shutil
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from ecp_project.kernel.signing import kid_of, public_from_seed
from ledger.core.entry import genesis, parse_entry
from ledger.core.export import Trailer, parse_trailer, write_log
from ledger.core.merkle import Frontier, ProofInvalid, leaf_hash
from ledger.core.note import Checkpoint, sign_checkpoint
from ledger.core.verify import KINDS, LogVerifier, Report
from ledger.core.verify.exported import check_export, rebuild
from ledger.core.verify.sources import DirectorySource
from ledger.core.verify.static import check_log
from tests.ledger.core.sample_log import (
    AGENT_SEED,
    SampleLog,
    decision,
    key_statement,
    random_log,
    sample_log,
)

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit


def verify(log: SampleLog, **options: Any) -> Report:
    head = options.pop("head", None)
    run = LogVerifier(log.verifier, log.notes, signatures=True, **options)
    for entry in log.entries:
        run.feed(entry)
    return run.finish(head=head)


def breaks(report: Report) -> list[int | None]:
    return [seq for kind, seq in places(report) if kind == "chain_break"]


def places(report: Report) -> list[tuple[str, int | None]]:
    return [(finding.kind, finding.seq) for finding in report.findings.listed()]


# --- no false alarm


def test_no_alarm_on_1000_clean_random_logs(tmp_path: Path) -> None:
    random = Random(15)  # noqa: S311 - a test must repeat itself
    for number in range(1000):
        log = random_log(random)
        head = (len(log.entries), log.leaves[-1])
        run = LogVerifier(log.verifier, log.notes, signatures=True)
        for entry, leaf in zip(log.entries, log.leaves, strict=True):
            run.feed(entry, leaf)
        report = run.finish(head=head)
        assert (report.ok, report.incomplete) == (True, ""), report.to_text()
        if number % 20 == 0:
            assert check_export(log.write_export(tmp_path / "export.ndjson"), log.verifier).ok


def test_counts_and_root_of_a_clean_log() -> None:
    log = sample_log(10, signed=[4, 5], checkpoints=[3, 7])
    document = verify(log).to_document()
    assert document["checked"] == {"entries": 10, "links": 10, "signatures": 3, "checkpoints": 3, "tiles": 0}
    assert (document["ok"], document["size"], document["kind"], document["findings"]) == (True, 10, None, [])
    assert document["v"] == "ecp.verify/1"


def test_empty_log_is_sound() -> None:
    log = SampleLog()
    log.checkpoint()
    assert verify(log).ok


def test_log_without_checkpoint_is_no_proof() -> None:
    log = sample_log(3)
    log.notes.clear()
    report = verify(log)
    assert (report.ok, report.incomplete) == (True, "no signed checkpoint covers these entries")


def test_entries_behind_the_newest_checkpoint_prove_nothing_without_a_head() -> None:
    log = sample_log(8)
    log.append(decision(8))  # the chain goes on and needs no key: anybody can write this line
    report = verify(log)
    assert (report.ok, report.incomplete) == (
        True,
        "no signed checkpoint covers the entries from position 8 on",
    )


def test_head_of_an_empty_log_stands_at_its_genesis() -> None:
    log = sample_log(3)
    head = (0, genesis(log.origin))
    assert LogVerifier(log.verifier).finish(head=head).ok
    run = LogVerifier(log.verifier, log.notes)
    for entry in log.entries:
        run.feed(entry)
    assert run.finish(head=head).kinds == ["head_mismatch"]


def test_entries_that_wait_for_their_checkpoint_are_sound_under_the_head() -> None:
    log = sample_log(8)
    log.append(decision(8))
    run = LogVerifier(log.verifier, log.notes)
    for entry in log.entries:
        run.feed(entry)
    report = run.finish(head=(9, log.leaves[-1]))
    assert (report.ok, report.incomplete) == (True, "")


# --- blame


def test_changed_entry_is_blamed_through_the_link_behind_it() -> None:
    log = sample_log(8)
    log.entries[3] = log.entries[3].replace(b'"risk":"low"', b'"risk":"lov"')
    assert places(verify(log))[0] == ("chain_break", 3)


def test_changed_prev_is_blamed_on_its_own_entry() -> None:
    log = sample_log(8)
    log.entries[3] = log.entries[3].replace(parse_entry(log.entries[3]).prev.hex().encode(), b"00" * 32)
    assert breaks(verify(log)) == [3, 3]


def test_first_entry_of_another_chain_is_blamed_itself() -> None:
    log = sample_log(2)
    prev = parse_entry(log.entries[0]).prev.hex().encode()
    log.entries[0] = log.entries[0].replace(prev, b"00" * 32)
    assert places(verify(log))[0] == ("chain_break", 0)


def test_broken_last_link_is_blamed_on_the_entry_before() -> None:
    log = sample_log(5)
    log.entries[3] = log.entries[3].replace(b'"risk":"low"', b'"risk":"lov"')
    assert ("chain_break", 3) in places(verify(log))


def test_two_changed_neighbours_are_blamed_on_the_second() -> None:
    # From the chain alone this cannot be told from a changed prev of the second.
    log = sample_log(8)
    for seq in (3, 4):
        log.entries[seq] = log.entries[seq].replace(b'"risk":"low"', b'"risk":"lov"')
    assert breaks(verify(log)) == [4, 4]


def test_unreadable_entry_does_not_hide_the_rest() -> None:
    log = sample_log(9)
    log.entries[2] = b"{}"
    log.entries[6] = log.entries[6].replace(b'"risk":"low"', b'"risk":"lov"')
    report = verify(log)
    assert {("entry_syntax", 2), ("chain_break", 2), ("chain_break", 6)} <= set(places(report))
    assert (report.kind, report.first_bad_seq) == ("entry_syntax", 2)


def test_time_running_backwards_is_found_once() -> None:
    log = sample_log(9)
    log.entries[4] = log.entries[4].replace(b'"rcvd":"2026', b'"rcvd":"2027')
    assert [place for place in places(verify(log)) if place[0] == "rcvd_backwards"] == [("rcvd_backwards", 5)]


def test_only_roots_differing_gives_the_range_between_checkpoints() -> None:
    honest, forged = sample_log(12, checkpoints=[4, 8]), SampleLog()
    for seq in range(12):
        stmt = key_statement(0) if seq == 0 else decision(seq, risk="high" if seq == 6 else "low")
        forged.append(stmt, sign=seq == 0, late=seq % 7 == 3)
    forged.notes = honest.notes
    report = verify(forged)
    assert (report.kind, report.first_bad_seq, report.bad_range) == ("root_mismatch", None, (4, 8))
    assert "somewhere in positions 4 to 7" in report.to_text()


def test_a_hundred_findings_of_a_kind_are_kept_and_the_rest_counted() -> None:
    log = sample_log(300)
    run = LogVerifier(log.verifier, log.notes)
    for entry in log.entries:
        run.feed(entry, bytes(32))
    findings = run.finish().findings.listed()
    assert len(findings) == 100
    assert findings[0].seq == 0
    assert "200 more" in findings[-1].detail


def test_a_caller_adds_its_own_findings() -> None:
    log = sample_log(5)
    run = LogVerifier(log.verifier, log.notes)
    for seq, raw in enumerate(log.entries):
        entry = run.feed(raw)
        assert entry is not None
        if entry.stmt.get("risk") != "low" and seq:
            raise AssertionError
    run.findings.add("projection_mismatch", seq=2, expected="bot.a", found="bot.b", detail="agent")
    report = run.finish()
    assert (report.kind, report.first_bad_seq) == ("projection_mismatch", 2)


def test_kinds_stand_in_the_order_of_the_register() -> None:
    run = LogVerifier(sample_log(1).verifier)
    for kind in reversed(KINDS):
        run.findings.add(kind, seq=1)
    assert run.findings.kinds == list(KINDS)
    assert run.findings.first is not None
    assert run.findings.first.kind == "entry_syntax"


# --- keys


def test_signature_by_a_key_of_another_agent_is_unknown() -> None:
    log = sample_log(2)
    log.append(decision(2, agent="bot.b"), sign=True)
    log.checkpoint()
    assert places(verify(log)) == [("key_unknown", 2)]


def test_signature_before_its_key_was_announced_is_unknown() -> None:
    log = SampleLog()
    log.append(decision(0), sign=True)
    log.append(key_statement(1), sign=True)
    log.checkpoint()
    assert places(verify(log)) == [("key_unknown", 0)]


def test_announced_key_must_be_one_of_the_anchors() -> None:
    public_key = public_from_seed(AGENT_SEED)
    log = sample_log(3, signed=[1])
    assert verify(log, anchors={kid_of(public_key): public_key}).ok
    report = verify(log, anchors={})
    assert places(report) == [("key_unknown", 0), ("registry_mismatch", 0), ("key_unknown", 1)]


@pytest.mark.parametrize(
    "member", [{"kid": "A" * 22}, {"public_key": "!"}, {"public_key": 7}, {"kid": ["x"]}]
)
def test_key_entry_that_contradicts_itself_is_a_finding(member: dict[str, Any]) -> None:
    log = SampleLog()
    log.append({**key_statement(0), **member})
    log.checkpoint()
    assert places(verify(log)) == [("registry_mismatch", 0)]


def test_revoked_key_and_log_key_are_not_learnt() -> None:
    log = SampleLog()
    log.append({**key_statement(0), "event": "revoked"})
    log.append({**key_statement(1), "holder": "log"})
    log.append(decision(2), sign=True)
    log.checkpoint()
    assert places(verify(log)) == [("key_unknown", 2)]


# --- part of a log


def test_run_from_the_middle_knows_tree_tip_and_keys() -> None:
    log = sample_log(20, signed=[15], checkpoints=[12])
    frontier = Frontier()
    frontier.extend(log.leaves[:12])
    public_key = public_from_seed(AGENT_SEED)
    run = LogVerifier(
        log.verifier,
        log.notes,
        signatures=True,
        anchors={kid_of(public_key): public_key},
        first=12,
        tip=log.leaves[11],
        frontier=frontier,
    )
    for entry in log.entries[12:]:
        run.feed(entry)
    report = run.finish()
    assert (report.ok, report.size, report.checked.links, report.checked.signatures) == (True, 20, 8, 1)


def test_run_from_the_middle_without_the_tree_is_incomplete() -> None:
    log = sample_log(20)
    run = LogVerifier(log.verifier, log.notes, first=12)
    for entry in log.entries[12:]:
        run.feed(entry)
    report = run.finish()
    assert (report.ok, report.checked.links, report.root) == (True, 7, None)
    assert "no root can be computed" in report.incomplete


# --- exports


@pytest.fixture(scope="module")
def small() -> SampleLog:
    return sample_log(6, signed=[2], checkpoints=[4])


def test_2000_of_2000_bit_flips_over_an_export_are_found(small: SampleLog, tmp_path: Path) -> None:
    clean, path = small.export(), tmp_path / "export.ndjson"
    random = Random(19)  # noqa: S311 - a test must repeat itself
    for bit in (random.randrange(len(clean) * 8) for _ in range(2000)):
        data = bytearray(clean)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        report = check_export(path, small.verifier)
        assert not report.ok, f"bit {bit}: {data[bit // 8 - 20 : bit // 8 + 20]!r}"


def test_entry_changed_in_an_export_is_told_by_its_place_not_by_the_digest(
    small: SampleLog, tmp_path: Path
) -> None:
    path = tmp_path / "export.ndjson"
    path.write_bytes(small.export().replace(b"Decision 3", b"Decision 8"))
    report = check_export(path, small.verifier)
    assert (report.kind, report.first_bad_seq) == ("chain_break", 3)
    assert "entry_syntax" not in report.kinds


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"sha256": "0" * 64}, "entry_syntax"),
        ({"count": 5}, "truncated"),
        ({"log": "ecp.test/log/else"}, "origin_mismatch"),
        ({"checkpoint": "nothing"}, "checkpoint_signature"),
    ],
)
def test_trailer_that_tells_something_else_is_a_finding(
    small: SampleLog, tmp_path: Path, change: dict[str, Any], kind: str
) -> None:
    *lines, last = small.export().splitlines(keepends=True)
    path = tmp_path / "export.ndjson"
    path.write_bytes(b"".join(lines) + replace(parse_trailer(last), **change).line())
    assert check_export(path, small.verifier).kind == kind


@pytest.mark.parametrize(
    "line",
    [
        b"{}",
        b"[]",
        b'{"checkpoint":"","count":0,"first":0,"log":"","sha256":"","v":"ecp.export/1"}',
        Trailer("", -1, 0, "", "0" * 64).line(),
        Trailer("", count=True, first=0, log="", sha256="0" * 64).line(),
        Trailer(1, 0, 0, "", "0" * 64).line(),  # type: ignore[arg-type]  # a wrong type is the point
        Trailer("", 0, 0, "", "0" * 64).line().replace(b"export/1", b"export/2"),
        Trailer("", 0, 0, "", "0" * 64).line().replace(b'"first"', b'"firzt"'),
    ],
)
def test_line_that_is_no_trailer_is_refused(line: bytes) -> None:
    with pytest.raises(ProofInvalid):
        parse_trailer(line)


def test_export_without_trailer_is_torn(small: SampleLog, tmp_path: Path) -> None:
    path = tmp_path / "export.ndjson"
    path.write_bytes(b"".join(entry + b"\n" for entry in small.entries))
    report = check_export(path, small.verifier, small.notes)
    assert (report.kind, report.first_bad_seq) == ("truncated", 6)


def test_export_cut_at_the_tail_is_truncated_at_its_new_size(small: SampleLog, tmp_path: Path) -> None:
    cut = sample_log(6, signed=[2], checkpoints=[4])
    del cut.entries[5:]
    report = check_export(cut.write_export(tmp_path / "export.ndjson"), small.verifier)
    assert (report.kind, report.first_bad_seq) == ("truncated", 5)


def test_second_checkpoint_kept_elsewhere_shows_a_fork(small: SampleLog, tmp_path: Path) -> None:
    other = sign_checkpoint(Checkpoint(small.origin, 6, bytes(32)), small.signer)
    report = check_export(small.write_export(tmp_path / "export.ndjson"), small.verifier, [other])
    assert report.kinds == ["fork", "root_mismatch"]


# --- static logs


@pytest.fixture(scope="module")
def large() -> SampleLog:
    return sample_log(256 * 3 + 40, signed=[700], checkpoints=[300, 512])


@pytest.fixture
def directory(large: SampleLog, tmp_path: Path) -> Path:
    write_log(tmp_path / "log", large.entries, large.notes[-1])
    return tmp_path / "log"


def check(directory: Path, large: SampleLog, **options: Any) -> Report:
    return check_log(DirectorySource(directory), large.verifier, **options)


def test_static_log_verifies(directory: Path, large: SampleLog) -> None:
    report = check(directory, large, signatures=True)
    assert (report.ok, report.incomplete) == (True, ""), report.to_text()
    assert report.checked.entries == 808
    assert report.checked.tiles == 5


@pytest.mark.parametrize("number", [0, 1])
def test_static_log_verifies_since_a_known_checkpoint(directory: Path, large: SampleLog, number: int) -> None:
    shutil.rmtree(directory / "tile/entries/000", ignore_errors=True)
    report = check(directory, large, since=large.notes[number])
    assert report.ok, report.to_text()
    assert report.checked.entries == 808 - (300, 512)[number]


def test_log_that_shrank_since_is_truncated(large: SampleLog, tmp_path: Path) -> None:
    write_log(tmp_path, large.entries[:300], large.notes[0])
    assert check(tmp_path, large, since=large.notes[1]).kind == "truncated"


def test_log_that_changed_below_the_known_checkpoint_is_found(directory: Path, large: SampleLog) -> None:
    forged = sign_checkpoint(Checkpoint(large.origin, 300, bytes(32)), large.signer)
    assert check(directory, large, since=forged).kind == "root_mismatch"


def test_known_checkpoint_of_the_same_size_and_another_root_is_a_fork(
    directory: Path, large: SampleLog
) -> None:
    other = sign_checkpoint(Checkpoint(large.origin, 808, bytes(32)), large.signer)
    assert check(directory, large, since=other).kind == "fork"


def change(path: Path, at: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_changed_leaf_in_a_tile_is_found_at_its_place(directory: Path, large: SampleLog) -> None:
    change(directory / "tile/0/001", at=32 * 5)
    report = check(directory, large)
    assert (report.kind, report.first_bad_seq) == ("leaf_mismatch", 261)


def test_changed_entry_in_a_bundle_is_found_at_its_place(directory: Path, large: SampleLog) -> None:
    bundle = directory / "tile/entries/001"
    bundle.write_bytes(bundle.read_bytes().replace(b"Decision 261", b"Decision 961"))
    report = check(directory, large)
    assert (report.kind, report.first_bad_seq) == ("leaf_mismatch", 261)


def test_changed_hash_higher_up_is_found(directory: Path, large: SampleLog) -> None:
    change(directory / "tile/1/000.p/3")
    report = check(directory, large)
    assert report.kind == "root_mismatch"
    assert "tile/1/000" in report.findings.listed()[0].detail


def test_torn_bundle_is_told_and_the_rest_still_read(directory: Path, large: SampleLog) -> None:
    bundle = directory / "tile/entries/001"
    bundle.write_bytes(bundle.read_bytes()[:-1])
    report = check(directory, large)
    assert (report.kind, report.first_bad_seq, report.kinds) == ("entry_syntax", 256, ["entry_syntax"])


@pytest.mark.parametrize(
    ("path", "seq"), [("tile/entries/001", 256), ("tile/0/002", 512), ("tile/0/003.p/40", 768)]
)
def test_missing_file_is_told_by_its_first_position(
    directory: Path, large: SampleLog, path: str, seq: int
) -> None:
    (directory / path).unlink()
    report = check(directory, large)
    assert (report.kind, report.first_bad_seq) == ("truncated", seq)


def test_short_tile_is_told(directory: Path, large: SampleLog) -> None:
    tile = directory / "tile/0/000"
    tile.write_bytes(tile.read_bytes()[:-32])
    assert check(directory, large).kind == "truncated"


def test_altered_checkpoint_is_told(directory: Path, large: SampleLog) -> None:
    change(directory / "checkpoint", at=len(large.origin) + 1)
    assert check(directory, large).kind == "checkpoint_signature"


def test_full_tile_stands_in_for_a_partial_one_that_was_removed(large: SampleLog, tmp_path: Path) -> None:
    write_log(tmp_path, large.entries[:300], large.notes[0])
    write_log(tmp_path, large.entries, large.notes[-1])
    (tmp_path / "checkpoint").write_text(large.notes[0])
    for removed in ("tile/0/001.p/44", "tile/entries/001.p/44"):
        (tmp_path / removed).unlink()
    report = check(tmp_path, large)
    assert (report.ok, report.size) == (True, 300)


# --- writing


def test_static_log_is_written_again_over_itself_and_grows(large: SampleLog, tmp_path: Path) -> None:
    write_log(tmp_path, large.entries[:300], large.notes[0])
    write_log(tmp_path, large.entries, large.notes[-1])
    write_log(tmp_path, large.entries, large.notes[-1])
    assert check(tmp_path, large).ok
    assert not list(tmp_path.rglob("*.part"))


def test_existing_file_with_other_bytes_is_never_overwritten(directory: Path, large: SampleLog) -> None:
    change(directory / "tile/0/000")
    with pytest.raises(FileExistsError):
        write_log(directory, large.entries, large.notes[-1])


def test_entries_that_do_not_have_the_root_are_not_published(large: SampleLog, tmp_path: Path) -> None:
    with pytest.raises(ProofInvalid):
        write_log(tmp_path, large.entries[:-1], large.notes[-1])
    assert not (tmp_path / "checkpoint").exists()


def test_rebuilt_log_equals_the_served_one(directory: Path, large: SampleLog, tmp_path: Path) -> None:
    export = large.write_export(tmp_path / "export.ndjson")
    assert rebuild(export, tmp_path / "new", compare_with=directory).ok
    change(directory / "tile/0/002")
    assert rebuild(export, tmp_path / "new", compare_with=directory).kind == "root_mismatch"
    (directory / "checkpoint").unlink()
    assert "truncated" in rebuild(export, tmp_path / "new", compare_with=directory).kinds


def test_export_that_is_torn_or_false_is_not_rebuilt(large: SampleLog, tmp_path: Path) -> None:
    torn = tmp_path / "torn.ndjson"
    torn.write_bytes(large.export()[:-10])
    assert rebuild(torn, tmp_path / "a").kind == "truncated"
    false = tmp_path / "false.ndjson"
    false.write_bytes(large.export().replace(b"Decision 5.", b"Decision 6."))
    assert rebuild(false, tmp_path / "b").kind == "root_mismatch"


def test_leaf_hashes_of_the_sample_are_those_of_its_entries(large: SampleLog) -> None:
    assert [leaf_hash(entry) for entry in large.entries] == large.leaves
