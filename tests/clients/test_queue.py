"""The queue on disk: crashes, bounds, adoption, disks that take nothing, forks, modes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ecp_client import Ledger, NotQueued, sender
from ecp_client.lanes import Item, packed, unpacked
from ecp_client.queue import Queue
from tests.clients.conftest import KEY, NOBODY, PLAIN
from tests.clients.scripted import CUT, Scripted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.unit
SOON_S = 10.0
SOURCES = Path(__file__).resolve().parents[2] / "clients" / "python" / "src"


@pytest.fixture
def server() -> Iterator[Scripted]:
    with Scripted() as found:
        yield found


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(sender, "LONGEST_PAUSE_S", 0.05)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "queue"


def queue(root: Path | None, **options: Any) -> Queue:
    chosen: dict[str, Any] = {
        "max_lines": 1000, "max_bytes": 2**20, "durable": False, "complain": lambda *_: None
    } | options  # fmt: skip
    return Queue(root, **chosen)


def items(*numbers: int) -> list[Item]:
    return [Item(b"d", b'{"id":"%d"}' % number) for number in numbers]


def drained(found: Queue) -> list[bytes]:
    bodies: list[bytes] = []
    while (batch := found.peek(7, 10_000)) is not None:
        bodies += [item.body for item in batch.items]
        found.settle(batch, len(batch.items))
    return bodies


def bodies(*numbers: int) -> list[bytes]:
    return [item.body for item in items(*numbers)]


def segments(root: Path) -> list[Path]:
    return sorted(root.glob("lane-*/*.seg"))


def program(script: str, *arguments: str) -> list[str]:
    """Command of a Python that runs the script with the client importable."""
    prelude = f"import sys; sys.path.insert(0, {str(SOURCES)!r})\nfrom ecp_client import Ledger\n"
    return [sys.executable, "-c", prelude + textwrap.dedent(script), *arguments]


def ran(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603 - this interpreter
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("body", [b"{}", b'{"a":"\xe2\x98\x83 d "}', b"x" * 70_000])
def test_a_line_is_read_as_it_was_written_and_any_changed_byte_shows(body: bytes) -> None:
    line = packed(Item(b"d", body))
    assert unpacked(line) == Item(b"d", body)
    for place in {0, 5, 9, 11, len(line) // 2, len(line) - 2}:
        changed = bytearray(line)
        changed[place] ^= 1
        assert unpacked(bytes(changed)) is None
    assert unpacked(line[:-1]) is None


def test_lines_leave_in_order_and_nothing_delivered_stays_on_the_disk(root: Path) -> None:
    found = queue(root)
    found.append(items(1, 2))
    found.append(items(3))
    assert drained(found) == bodies(1, 2, 3)
    assert [path.stat().st_size for path in segments(root)] == [0]
    found.append(items(4))
    assert drained(found) == bodies(4)
    found.close()
    found.leave()
    assert list(root.iterdir()) == []


def test_what_is_not_settled_is_read_again_by_the_next_process(root: Path) -> None:
    first = queue(root)
    first.append(items(*range(20)))
    batch = first.peek(7, 10_000)
    assert batch is not None
    first.settle(batch, 5)
    first.leave()
    second = queue(root)
    second.adopt()
    second.append(items(99))
    assert drained(second) == bodies(*range(5, 20), 99)
    assert len(segments(root)) == 1


def test_a_living_owner_keeps_its_lane(root: Path) -> None:
    first, second = queue(root), queue(root)
    first.append(items(1))
    second.adopt()
    assert second.is_drained()
    assert drained(first) == bodies(1)


def test_a_torn_last_line_is_skipped(root: Path) -> None:
    first = queue(root)
    first.append(items(1, 2, 3))
    first.leave()
    (segment,) = segments(root)
    os.truncate(segment, segment.stat().st_size - 4)
    told: list[str] = []
    second = queue(root, complain=lambda what, _: told.append(what))
    second.adopt()
    assert drained(second) == bodies(1, 2)
    assert (second.damaged, told) == (1, ["queue_damaged"])


def test_a_damaged_line_in_the_middle_costs_that_line_alone(root: Path) -> None:
    first = queue(root)
    first.append(items(1, 2, 3))
    first.leave()
    (segment,) = segments(root)
    segment.write_bytes(segment.read_bytes().replace(b'{"id":"2"}', b'{"id":"7"}'))
    second = queue(root)
    second.adopt()
    assert drained(second) == bodies(1, 3)
    assert second.damaged == 1


@pytest.mark.parametrize("text", ["", "{", '{"segment": "x"}', "[]"])
def test_an_unreadable_position_means_from_the_start(root: Path, text: str) -> None:
    first = queue(root)
    first.append(items(1, 2))
    first.leave()
    next(root.glob("lane-*")).joinpath("position").write_text(text)
    second = queue(root)
    second.adopt()
    assert drained(second) == bodies(1, 2)


def test_segments_are_bounded_and_go_when_they_are_delivered(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ecp_client.lanes.SEGMENT_BYTES", 100)
    found = queue(root)
    for number in range(40):
        found.append(items(number))
    assert len(segments(root)) == 8
    batch = found.peek(20, 10_000)
    assert batch is not None
    found.settle(batch, 20)
    assert len(segments(root)) == 5
    assert drained(found) == bodies(*range(20, 40))


def test_a_full_queue_keeps_the_old_and_refuses_the_new(root: Path) -> None:
    found = queue(root, max_lines=3)
    found.append(items(1, 2))
    with pytest.raises(NotQueued, match="2 lines wait"):
        found.append(items(3, 4))
    found.append(items(3))
    assert drained(found) == bodies(1, 2, 3)
    found.append(items(4))


def test_bytes_are_bounded_too_and_include_what_was_adopted(root: Path) -> None:
    first = queue(root, max_bytes=100)
    first.append(items(1, 2, 3))
    with pytest.raises(NotQueued):
        first.append(items(4, 5))
    first.leave()
    second = queue(root, max_bytes=100)
    second.adopt()
    with pytest.raises(NotQueued):
        second.append(items(4, 5))
    assert drained(second) == bodies(1, 2, 3)
    second.append(items(4, 5))


def test_a_full_queue_is_counted_reported_and_raised_when_strict(make_ledger: Callable[..., Ledger]) -> None:
    told: list[str] = []
    ledger = make_ledger(max_queued=3, on_rejected=lambda one: told.append(one.problem["code"]))
    states = [ledger.record(**PLAIN).state for _ in range(5)]
    assert states == ["queued"] * 3 + ["not_kept"] * 2
    assert (ledger.stats().dropped, told) == (2, ["queue_full"] * 2)
    strict = make_ledger(max_queued=1, strict=True)
    strict.record(**PLAIN)
    with pytest.raises(NotQueued):
        strict.record(**PLAIN)


def test_the_queue_is_for_the_owner_only(root: Path, make_ledger: Callable[..., Ledger]) -> None:
    before = os.umask(0)
    try:
        make_ledger().record(**PLAIN, context={"name": "a person"})
        assert stat.S_IMODE(root.stat().st_mode) == 0o700
        for path in root.rglob("*"):
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    finally:
        os.umask(before)


def test_without_a_folder_of_its_own_the_queue_lies_in_the_users_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_ledger: Callable[..., Ledger]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    make_ledger(queue_dir=None).record(**PLAIN)
    make_ledger("http://127.0.0.1:8", queue_dir=None).record(**PLAIN)
    folders = list((tmp_path / "state" / "ecp-client").iterdir())
    assert len(folders) == 2
    assert KEY[13:] not in str(folders)


def test_where_nothing_can_be_written_decisions_wait_in_memory(
    tmp_path: Path, server: Scripted, make_ledger: Callable[..., Ledger], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    ledger = make_ledger(server.url, queue_dir=tmp_path / "file" / "queue")
    handle = ledger.record(**PLAIN)
    assert ledger.flush(SOON_S)
    assert handle.state == "delivered"
    assert caplog.text.count("in memory only") == 1


def test_a_full_disk_sends_lines_to_memory_and_back(root: Path) -> None:
    """The limit on the size of files makes the kernel refuse real writes."""
    script = """
        import resource, json
        from ecp_client.lanes import Item
        from ecp_client.queue import Queue
        told = []
        found = Queue(__import__("pathlib").Path(sys.argv[1]), max_lines=1000, max_bytes=2**20, durable=False,
                      complain=lambda what, sentence: told.append(what))
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        found.append([Item(b"d", b"first")])
        resource.setrlimit(resource.RLIMIT_FSIZE, (30, hard))
        for word in (b"second, torn by the limit", b"third"):
            found.append([Item(b"d", word)])
        in_memory = found.holds_memory
        size = sum(path.stat().st_size for path in found._root.glob("lane-*/*.seg"))
        found.recover()
        still = found.holds_memory
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        found.recover()
        found.append([Item(b"d", b"fourth")])
        after = found.holds_memory
        batch = found.peek(100, 10000)
        words = [item.body.decode() for item in batch.items]
        print(json.dumps([in_memory, size, still, after, told[0], words, batch.lane is not None]))
    """
    in_memory, size, still, after, told, words, is_on_disk = json.loads(ran(program(script, str(root))))
    assert (in_memory, still, after, is_on_disk) == (True, True, False, True)
    assert size == len(packed(Item(b"d", b"first")))  # nothing of the torn line is left
    assert told == "queue_on_memory"
    assert words == ["first", "second, torn by the limit", "third", "fourth"]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ecp_client.queue.MEMORY_LINES", 3)
    found = queue(None)
    found.append(items(1, 2, 3))
    with pytest.raises(NotQueued):
        found.append(items(4))
    assert drained(found) == bodies(1, 2, 3)
    found.append(items(4))


def test_killed_in_the_middle_of_recording_everything_that_returned_is_delivered(
    root: Path, server: Scripted, make_ledger: Callable[..., Ledger]
) -> None:
    script = f"""
        ledger = Ledger({NOBODY!r}, {KEY!r}, agent="pricing-bot", queue_dir=sys.argv[1])
        while True:
            handle = ledger.record(**{PLAIN!r})
            print(handle.id, flush=True)
    """
    writer = subprocess.Popen(program(script, str(root)), stdout=subprocess.PIPE, text=True)  # noqa: S603 - ours
    assert writer.stdout is not None
    returned = [writer.stdout.readline().strip() for _ in range(500)]
    writer.send_signal(signal.SIGKILL)
    returned += [line.strip() for line in writer.stdout if line.endswith("\n")]
    writer.stdout.close()
    writer.wait()
    ledger = make_ledger(server.url)
    last = ledger.record(**PLAIN)
    assert ledger.flush(SOON_S)
    arrived = [uid for told in server.posts for uid in told.ids]
    assert arrived[: len(returned)] == returned
    assert len(arrived) - len(returned) in {1, 2}  # one may have been written and not printed any more
    assert arrived[-1] == last.id


def test_what_a_dead_process_left_is_delivered_without_anything_new(
    server: Scripted, make_ledger: Callable[..., Ledger]
) -> None:
    dying = make_ledger()
    handle = dying.record(**PLAIN)
    dying.close()
    next_one = make_ledger(server.url)
    assert next_one.flush(SOON_S)
    assert server.posts[0].ids == [handle.id]


def test_the_end_of_a_program_delivers_what_it_recorded(server: Scripted, root: Path) -> None:
    script = f"""
        ledger = Ledger(sys.argv[1], {KEY!r}, agent="pricing-bot", queue_dir=sys.argv[2])
        print(ledger.record(**{PLAIN!r}).id)
    """
    uid = ran(program(script, server.url, str(root))).strip()
    assert [told.ids for told in server.posts] == [[uid]]
    assert list(root.glob("lane-*")) == []


def test_the_end_of_a_program_does_not_wait_longer_than_it_may(root: Path) -> None:
    script = f"""
        ledger = Ledger({NOBODY!r}, {KEY!r}, agent="pricing-bot", queue_dir=sys.argv[1], flush_at_exit_s=0.5)
        print(ledger.record(**{PLAIN!r}).id)
    """
    started = time.monotonic()
    ran(program(script, str(root)))
    assert time.monotonic() - started < 10
    assert len(segments(root)) == 1


def test_a_forked_child_records_on_its_own(server: Scripted, root: Path) -> None:
    script = f"""
        import os, warnings
        warnings.simplefilter("ignore")
        ledger = Ledger(sys.argv[1], {KEY!r}, agent="pricing-bot", queue_dir=sys.argv[2])
        ledger.record(**{PLAIN!r})
        child = os.fork()
        handles = [ledger.record(**{PLAIN!r}) for _ in range(50)]
        done = ledger.flush(10)
        told = " ".join(one.id or repr(one.problem) for one in handles)
        os.write(1, told.encode() + b"\\n")  # in one piece: print writes the line's end apart
        if not child:
            ledger.close()
            os._exit(0 if done else 1)
        status = os.waitpid(child, 0)[1]
        sys.exit(status or not done)
    """
    printed = ran(program(script, server.url, str(root))).split()
    arrived = [uid for told in server.posts for uid in told.ids]
    assert {len(word) for word in printed} == {36}, sorted(printed, key=len)[-3:]
    assert len(printed) == len(set(printed)) == 100
    assert len(arrived) == 101
    assert set(printed) < set(arrived)
    assert list(root.glob("lane-*")) == []


def test_several_threads_keep_their_own_order(server: Scripted, make_ledger: Callable[..., Ledger]) -> None:
    ledger = make_ledger(server.url)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: [ledger.record(**PLAIN).id for _ in range(200)], range(8)))
    assert ledger.flush(SOON_S)
    places = {uid: place for place, uid in enumerate(uid for told in server.posts for uid in told.ids)}
    assert len(places) == 1600
    for ids in made:
        assert [places[uid] for uid in ids] == sorted(places[uid] for uid in ids)


def test_a_queue_whose_files_were_removed_says_so_and_goes_on(
    root: Path, server: Scripted, make_ledger: Callable[..., Ledger], caplog: pytest.LogCaptureFixture
) -> None:
    server.answers = [CUT] * 3
    ledger = make_ledger(server.url)
    ledger.batch([PLAIN] * 5)
    shutil.rmtree(root)
    ledger.record(**PLAIN)  # into a file that nobody can find, unless the sender has noticed by now
    assert ledger.flush(SOON_S)
    assert ledger.stats().damaged in {5, 6}
    assert ledger.stats().damaged + ledger.stats().delivered == 6
    assert "gone" in caplog.text
    after = ledger.record(**PLAIN)
    assert ledger.flush(SOON_S)
    assert server.posts[-1].ids == [after.id]


def test_after_close_nothing_is_taken(make_ledger: Callable[..., Ledger], server: Scripted) -> None:
    ledger = make_ledger(server.url)
    ledger.record(**PLAIN)
    assert ledger.close(SOON_S)
    assert ledger.record(**PLAIN).state == "not_kept"
    assert ledger.close()


def test_durable_lines_are_synced(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    real = os.fsync

    def sync(file: int) -> None:
        synced.append(file)
        real(file)

    monkeypatch.setattr(os, "fsync", sync)
    found = queue(root, durable=True)
    found.append(items(1))
    found.append(items(2))
    assert len(synced) == 3  # each line, and the folder for the new segment
    found.leave()
