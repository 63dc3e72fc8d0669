"""Speed of verification on one core: syntax, chain and tree, no signatures (LEDGER section 16)."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.shared import PROJECT

pytestmark = pytest.mark.perf

# A fresh interpreter each, so that orjson can be kept out. The best of five rounds is the speed.
MEASURE = """
import json, sys, time
if sys.argv[1] == "without":
    sys.modules["orjson"] = None
from ledger.core.tiles import TileBuilder
from ledger.core.verify import LogVerifier
from tests.ledger.core.sample_log import sample_log
log = sample_log(int(sys.argv[2]))
def verify():
    run = LogVerifier(log.verifier, log.notes)
    for entry in log.entries:
        run.feed(entry)
    assert run.finish().ok
def grow():
    for _ in TileBuilder().extend(log.leaves):
        pass
def best(work):
    rounds = []
    for _ in range(5):
        start = time.perf_counter()
        work()
        rounds.append(time.perf_counter() - start)
    return min(rounds) / len(log.entries)
print(json.dumps({"verify": 1 / best(verify), "leaf_us": best(grow) * 1e6}))
"""


def measured(orjson: str) -> dict[str, float]:
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", MEASURE, orjson, "40000"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


@pytest.mark.parametrize(("orjson", "bar"), [("with", 80_000), ("without", 30_000)])
def test_verification_reaches_its_bar(orjson: str, bar: int) -> None:
    figures = measured(orjson)
    assert figures["verify"] >= bar, figures


def test_a_leaf_costs_the_tree_less_than_3_microseconds() -> None:
    assert measured("with")["leaf_us"] < 3
