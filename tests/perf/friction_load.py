"""Advice under load, and a replay of as many as a simulation takes (FRICTION, limits)."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import count
from typing import TYPE_CHECKING, Any

from tests.perf.client import load, new_id, request
from tests.perf.turns import settle
from tests.shared import PROJECT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.perf.rig import Rig

CLIENTS, RULES = 16, 30
WARM_S = 2.0
REPLAYED = 100_000
# Puts a file in force; two people, as the product asks for.
ACTIVATE = """
from pathlib import Path
from advisory.friction.models import VersionState
from advisory.friction.services.rulesets import ruleset_import, ruleset_state_change
from ecp_project.kernel.clock import utc_now
from ledger.models import Log
log = Log.objects.select_related("organisation").get()
source = Path({path!r}).read_bytes()
one, other = (f"staff:{{n:08d}}-0000-4000-8000-000000000000" for n in (1, 2))
version, _ = ruleset_import(log=log, source=source, actor=one, now=utc_now())
ruleset_state_change(log=log, version=version, to=VersionState.ACTIVE, reason="for the measurement",
                     actor=other, now=utc_now())
"""
# As many rows as a replay takes, all as the newest one: whatever the rules say, the work is the same.
FILL = """
DO $fill$
DECLARE names text;
BEGIN
    SELECT string_agg(quote_ident(column_name), ', ') INTO names FROM information_schema.columns
    WHERE table_name = 'friction_frictionadvice' AND column_name NOT IN ('id', 'evaluated_at');
    EXECUTE format(
        'INSERT INTO friction_frictionadvice (id, evaluated_at, %1$s)
         SELECT gen_random_uuid(), n.at, %1$s
         FROM (SELECT * FROM friction_frictionadvice ORDER BY evaluated_at DESC LIMIT 1) one,
              (SELECT now() - g * interval ''1 second'' AS at FROM generate_series(1, {count}) g) n', names);
END $fill$;
ANALYZE friction_frictionadvice;
"""
_PROPOSAL = (
    b'{"proposal":{"id":"%s","agent":"load-bot","action":"payment.transfer",'
    b'"explanation":"Pay the supplier invoice that is due today.","context":{"environment":"prod",'
    b'"amount_minor":%d,"currency":"EUR","reversible":%s,"affected_people":1,"confidence_pct":91,'
    b'"data_classes":[]}}}'
)
# From which amount on, and whether it can be undone: one proposal for each level of the rules below.
LOW, MEDIUM, HIGH = (1_000, b"true"), (2_000_000, b"true"), (2_000_000, b"false")
MIX = (LOW, LOW, MEDIUM, LOW, LOW, HIGH, LOW, LOW, MEDIUM, LOW)
_more = count(1)
LEVELS = {"low": 7, "medium": 2, "high": 1}  # of ten of the mix


def thirty_rules() -> str:
    """The shipped rules without the one that asks for the agent's past, over and over.

    There are four of each, so each has a fourth of the points: together they judge as the shipped ones do.
    """
    head, rules = (PROJECT / "config" / "friction_rules.yml").read_text(encoding="utf-8").split("rules:\n")
    bodies = [rule for rule in rules.split("  - id: ")[1:] if "agent." not in rule]
    listed = (f"  - id: ZZ-{100 + n}" + re.sub(r"^\S+", "", bodies[n % len(bodies)]) for n in range(RULES))
    listed = (
        re.sub(r"points: (\d+)", lambda found: f"points: {int(found[1]) // 4}", rule) for rule in listed
    )
    return f"{head}rules:\n{''.join(listed)}"


def put_in_force(rig: Rig) -> str:
    """The rules, and a key that may ask."""
    path = rig.home / "thirty.yml"
    path.write_text(thirty_rules(), encoding="utf-8")
    rig.manage("shell", "--no-imports", "-v", "0", "-c", ACTIVATE.format(path=str(path)))
    issued = rig.manage(
        "apikey_create", "--org", "bench", "--agent", "load-bot", "--scopes", "advice", "--json"
    )
    key: str = json.loads(issued)["key"]
    return key


class Asking:
    """The next request; amounts differ, so that none is the repetition of another."""

    def __init__(self, key: str, proposals: Sequence[tuple[int, bytes]] = MIX) -> None:
        self.key, self.proposals, self.asked = key, proposals, 0

    def __call__(self) -> bytes:
        least, reversible = self.proposals[self.asked % len(self.proposals)]
        self.asked += 1
        proposal = _PROPOSAL % (new_id(), least + next(_more), reversible)
        return request("POST", "/api/v1/friction/advice/", self.key, proposal)


def asked(rig: Rig, *, rounds: int, seconds: float) -> dict[str, Any]:
    """POST advice/ by 16 clients at once and by one alone; by 16 when each advice is the longest there is."""
    key = put_in_force(rig)
    mixed, worst = Asking(key), Asking(key, [HIGH])
    load(rig.port, mixed, clients=CLIENTS, seconds=WARM_S).expect(201)
    _check_mix(rig)
    kinds = {"many": (mixed, CLIENTS), "one": (mixed, 1), "worst": (worst, CLIENTS)}
    found: dict[str, Any] = {
        name: {"clients": clients, "p50_ms": [], "p95_ms": [], "per_second": []}
        for name, (_, clients) in kinds.items()
    }
    for _ in range(rounds):
        for name, (make, clients) in kinds.items():
            settle(rig)
            run = load(rig.port, make, clients=clients, seconds=seconds).expect(201)
            found[name]["p50_ms"].append(run.percentile(0.5) * 1000)
            found[name]["p95_ms"].append(run.percentile(0.95) * 1000)
            found[name]["per_second"].append(run.rate)
    return found


def _check_mix(rig: Rig) -> None:
    """A mix that the rules judge otherwise than it says would make the figures mean nothing."""
    found = rig.advised()
    for level, tenths in LEVELS.items():
        if abs(found.get(level, 0) / sum(found.values()) - tenths / 10) > 0.03:
            raise RuntimeError(f"the rules said {found} of the mix, not {LEVELS} of ten")


# A process of its own per count: its greatest memory is told by the system when it has ended.
_TIMED = """
import resource, runpy, sys, time
started = time.perf_counter()
sys.argv = ["manage.py", *sys.argv[1:]]
try:
    runpy.run_path("manage.py", run_name="__main__")
finally:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stderr.write(f"{time.perf_counter() - started} {most}")
"""


def replayed(rig: Rig, count: int = REPLAYED) -> dict[str, Any]:
    """`friction_replay` over a tenth and over all, from the database."""
    rig.database.execute(FILL.format(count=count))
    figures: dict[str, Any] = {"advices": count}
    for name, last in (("tenth", count // 10), ("all", count)):
        arguments = ["friction_replay", str(rig.home / "thirty.yml"), "--last", str(last), "--json"]
        done = subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-c", _TIMED, *arguments],
            cwd=PROJECT, env=rig.environment(), capture_output=True, text=True, check=True,
        )  # fmt: skip
        seconds, mib = map(float, done.stderr.split()[-2:])
        result = json.loads(done.stdout)
        if result["total"] != last:
            raise RuntimeError(f"{result['total']} of {last} were judged anew")
        figures[name] = {"seconds": seconds, "most_mib": mib}
    return figures
