"""The connection breaks at each step of an append: what the caller is told, and what is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections

from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.errors import EcpError, Unavailable
from ledger import modes, sequencer
from ledger.models import Entry, Guard, Head
from tests.faults.proxy import BreakingWire
from tests.faults.works import ref, work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from tests.people import People

pytestmark = pytest.mark.db


@pytest.fixture
def wire(people: People, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., BreakingWire]]:
    """Make a wire between the batcher and PostgreSQL; the first append has gone over it already."""
    options = connections["direct"].get_connection_params()
    opened: list[AbstractContextManager[Any]] = []

    def between(text: bytes, **options_of_wire: Any) -> BreakingWire:
        found = BreakingWire(("127.0.0.1", int(options["port"])), **options_of_wire)
        opened.append(found.__enter__())
        for name, value in (("HOST", "127.0.0.1"), ("PORT", str(found.port))):
            monkeypatch.setitem(connections["direct"].settings_dict, name, value)
        assert sequencer.batcher.submit(ref(people), [work()])[0].seq == 0  # type: ignore[union-attr]  # stored
        found.text = text
        return found

    yield between
    sequencer.batcher.stop()
    for found in opened:
        found.__exit__(None, None, None)


READS = (b"BEGIN", b"FOR UPDATE OF h", b"LEFT JOIN ledger_submission")
STEPS = (*READS, b"INSERT INTO ledger_entry", b"UPDATE ledger_head")


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", STEPS)
def test_lost_before_commit_the_append_is_done_over_a_new_connection(
    step: bytes,
    after: bool,  # noqa: FBT001 - a column of the table
    people: People,
    wire: Callable[..., BreakingWire],
) -> None:
    broken = wire(step, after=after)
    (stored,) = sequencer.batcher.submit(ref(people), [work()])
    assert broken.broken == 1
    assert not isinstance(stored, EcpError)
    assert stored.seq == 1
    assert (Entry.objects.count(), Head.objects.get(log=people.log).size) == (2, 2)
    assert modes.process.halt is None


@pytest.mark.parametrize("after", [False, True])
def test_lost_at_commit_the_answer_is_what_is_found_under_the_head_lock(
    after: bool,  # noqa: FBT001 - a column of the table
    people: People,
    wire: Callable[..., BreakingWire],
) -> None:
    """Stored or not, the caller hears of one entry, and there is one."""
    broken, one = wire(b"COMMIT", after=after), work()
    (stored,) = sequencer.batcher.submit(ref(people), [one])
    assert broken.broken == 1
    assert not isinstance(stored, EcpError)
    assert (stored.seq, stored.is_replay) == (1, after)
    assert Entry.objects.get(uid=one.uid).seq == 1
    assert modes.process.halt is None


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", [*STEPS, b"COMMIT"])
def test_lost_for_good_the_process_halts_and_a_retry_finds_the_truth(
    step: bytes,
    after: bool,  # noqa: FBT001 - a column of the table
    people: People,
    wire: Callable[..., BreakingWire],
) -> None:
    wire(step, after=after, stays_down=True)
    one = work()
    with pytest.raises(Unavailable) as told:
        sequencer.batcher.submit(ref(people), [one])
    # Writes and COMMIT leave together, so that only what came before them is surely undone.
    is_known = told.value.code == "ledger_halted"
    assert is_known if step in READS else is_known or told.value.code == "outcome_unknown"
    assert modes.process.halt is not None
    with pytest.raises(Unavailable, match="nothing was stored"):
        sequencer.batcher.submit(ref(people), [work()])
    is_stored = Entry.objects.filter(uid=one.uid).exists()
    assert not (is_known and is_stored)
    if step == b"COMMIT":
        assert (is_known, is_stored) == (False, after)


def test_after_a_lost_commit_a_database_that_nobody_compared_is_no_reason_to_say_not_stored(
    people: People, wire: Callable[..., BreakingWire]
) -> None:
    """The commit came through, then PostgreSQL restarted and the checkpointer has not looked at it yet."""

    def restart() -> None:
        modes.process.forget()
        Guard.objects.using("checkpointer").update(postmaster_start=utc_now())
        connections["checkpointer"].close()

    wire(b"COMMIT", after=True, on_break=restart)
    one = work()
    with pytest.raises(Unavailable) as told:
        sequencer.batcher.submit(ref(people), [one])
    assert told.value.code == "outcome_unknown"
    assert Entry.objects.filter(uid=one.uid).exists()


def test_mode_file_that_cannot_be_written_changes_no_answer(
    people: People, wire: Callable[..., BreakingWire], settings: Any, tmp_path: Any
) -> None:
    """The disk that is full may be the one the file lies on."""
    (tmp_path / "file").write_text("in the way")
    settings.ECP_STATE_DIR = tmp_path / "file" / "state"
    wire(b"BEGIN", stays_down=True)
    with pytest.raises(Unavailable) as told:
        sequencer.batcher.submit(ref(people), [work()])
    assert told.value.code == "ledger_halted"
