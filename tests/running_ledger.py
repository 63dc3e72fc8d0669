"""A ledger as it runs: committed rows, a checkpointer with a key, a guard row that appends accept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ecp_project.kernel.clock import utc_now
from ledger import modes, sequencer
from ledger.checkpointer import Checkpointer, HighWaterMark
from ledger.keys import add_public_key, signer, write_signing_key
from ledger.services import sealing
from ledger.sinks import FileSink
from tests.people import People, make_people

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SEED = bytes(range(32))


@pytest.fixture
def fresh_process(committed_db: str) -> Iterator[str]:
    """What a process keeps in memory about its database is forgotten before and after."""
    modes.process.forget()
    sealing.forget_keys()
    sequencer.batcher = sequencer.Batcher()
    yield committed_db
    sequencer.batcher.stop()
    modes.process.forget()
    sealing.forget_keys()


@pytest.fixture
def checkpointer(fresh_process: str, tmp_path: Path, settings: Any) -> Iterator[Checkpointer]:
    """A checkpointer with its own key and sink; `turn()` is one second of its life."""
    del fresh_process
    settings.ECP_SIGNING_KEY_FILE = tmp_path / "ledger.key"
    settings.ECP_LOG_PUBLIC_KEYS = tmp_path / "log-keys.json"
    settings.ECP_STATE_DIR = tmp_path / "state"
    write_signing_key(settings.ECP_SIGNING_KEY_FILE, SEED)
    add_public_key(settings.ECP_LOG_PUBLIC_KEYS, SEED)
    found = Checkpointer(
        connect=lambda: sequencer.connect("checkpointer"),
        signer=lambda origin: signer(SEED, origin),
        sinks=[FileSink(tmp_path / "checkpoints.ndjson")],
        high_water=HighWaterMark(tmp_path / "high-water.json"),
        clock=utc_now,
    )
    yield found
    found.close()


@pytest.fixture
def people(checkpointer: Checkpointer) -> People:
    """Two organisations with open logs and their people, committed."""
    found = make_people()
    checkpointer.turn()
    return found
