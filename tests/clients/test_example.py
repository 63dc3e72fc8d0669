"""examples/agent.py runs against a ledger, and two runs with one seed decide alike."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ledger.models import Entry

if TYPE_CHECKING:
    from tests.served import Address

pytestmark = pytest.mark.db
PROJECT = Path(__file__).resolve().parents[2]


def ran(answering: Address, home: Path, seed: int) -> str:
    surroundings = {
        "PATH": os.environ["PATH"], "HOME": str(home), "URL": answering.url, "KEY": answering.key,
        "PYTHONPATH": str(PROJECT / "clients" / "python" / "src"),
    }  # fmt: skip
    program = str(PROJECT / "examples" / "agent.py")
    command = [sys.executable, program, "--rounds", "20", "--seed", str(seed)]
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603 - ours
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_agent_decides_alike_for_one_seed_and_records_it(answering: Address, tmp_path: Path) -> None:
    first = ran(answering, tmp_path, 1)
    kinds = Counter(Entry.objects.filter(agent="pricing-bot").values_list("action", flat=True))
    told = [line.split()[0] for line in first.splitlines()[:-1]]
    assert kinds["price.change"] == told.count("price.change") > 0
    assert kinds["stock.order"] == told.count("stock.order") > 0
    outcomes = Entry.objects.filter(kind="ecp.annotation/1").count()
    assert outcomes == told.count("stock.order")
    assert ran(answering, tmp_path, 1) == first
    assert ran(answering, tmp_path, 2) != first
