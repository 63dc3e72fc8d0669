"""Speed of verification on one core: syntax, chain and tree, no signatures (LEDGER section 16)."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.shared import PROJECT

# A fresh interpreter each, so that orjson can be kept out. The best of five rounds is the speed.
MEASURE = """
import json, sys, time
if sys.argv[1] == "without":
    sys.modules["orjson"] = None
from ledger.core.verify import LogVerifier
from tests.ledger.core.sample_log import sample_log
log = sample_log(int(sys.argv[2]))
rounds = []
for _ in range(5):
    start = time.perf_counter()
    run = LogVerifier(log.verifier, log.notes)
    for entry in log.entries:
        run.feed(entry)
    assert run.finish().ok
    rounds.append(time.perf_counter() - start)
print(json.dumps(len(log.entries) / min(rounds)))
"""


def measured(entries: int) -> dict[str, float]:
    """Entries per second, with orjson and with the standard library alone."""
    return {which: _speed(which, entries) for which in ("with", "without")}


def _speed(which: str, entries: int) -> float:
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", MEASURE, which, str(entries)],
        cwd=PROJECT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return float(json.loads(done.stdout))
