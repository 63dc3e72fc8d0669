"""`make bench`: the speed table of LEDGER section 16, measured end to end in one run.

Everything is a ratio against a baseline of the same run on the same servers, because timings on shared
hardware vary severalfold from hour to hour. What is compared is measured in turns, and the median of the
turns counts. Writes `tests/perf/results/bench.json` and `docs/BENCHMARKS.md`; ends with 1 when a bar is
missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tests.perf import (
    console,
    friction_load,
    friction_speed,
    growth,
    machine,
    poll_crowd,
    python_client,
    records,
    report,
    verify_speed,
)
from tests.perf.client import load
from tests.perf.rig import PROCESSES, PROJECT, THREADS, Rig
from tests.perf.turns import (
    BATCH_CLIENTS,
    LAG_PATIENCE_S,
    fill,
    median,
    say,
    settle,
    spread,
    waited,
)
from tests.perf.watchers import watching

RESULTS = PROJECT / "tests" / "perf" / "results" / "bench.json"
DOCUMENT = PROJECT / "docs" / "BENCHMARKS.md"
CLIENTS = 32
STREAMS, LIVE_TURN_S = 200, 3.0  # a turn in which every view hears of growth more than once
LINES = records.LINES


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how often; `--quick` shows that all of it runs, and its figures mean nothing."""

    rounds: int = 9
    turn_s: float = 2.0
    sustained_s: float = 60.0
    sizes: tuple[int, int, int] = (10_000, 100_000, 1_000_000)
    growth_rounds: int = 11
    growth_turn_s: float = 1.0
    verified: int = 40_000
    evaluating_s: float = 10
    recorded: int = 10_000
    exported: int = 1_000_000
    replayed: int = 100_000
    asked: int = poll_crowd.AGENTS


QUICK = Plan(3, 0.5, 3.0, (1_000, 5_000, 20_000), 2, 0.5, 4_000, 1, 1_000, 110_000, 10_000, 50)


def singles(rig: Rig, plan: Plan) -> dict[str, Any]:
    """Single POSTs in turns: a no-op, the naive chain, the ledger."""
    paths = {"noop": "/bench/noop/", "naive": "/bench/naive/", "ledger": "/api/v1/decisions/"}
    rates: dict[str, list[float]] = {name: [] for name in paths}
    p95: dict[str, list[float]] = {name: [] for name in paths}
    for path in paths.values():  # connections, plans and caches are warm before anything counts
        make = partial(records.single, rig.key, path)
        load(rig.port, make, clients=CLIENTS, seconds=plan.turn_s / 3)
    for number in range(plan.rounds):
        for name, path in paths.items():
            settle(rig)
            make = partial(records.single, rig.key, path)
            result = load(rig.port, make, clients=CLIENTS, seconds=plan.turn_s).expect(201)
            rates[name].append(result.rate)
            p95[name].append(result.percentile(0.95) * 1000)
        say(f"  round {number + 1}: " + ", ".join(f"{name} {rates[name][-1]:,.0f}/s" for name in paths))
    ledger = rates["ledger"]
    return {
        "clients": CLIENTS,
        "per_second": {name: spread(values) for name, values in rates.items()},
        "p95_ms": {name: spread(values) for name, values in p95.items()},
        "of_noop": median(one / other for one, other in zip(ledger, rates["noop"], strict=True)),
        "times_naive": median(one / other for one, other in zip(ledger, rates["naive"], strict=True)),
    }


def batches(rig: Rig, plan: Plan) -> dict[str, Any]:
    """Batches without and with a private context, in turns."""
    kinds = {"public": records.PUBLIC, "private": records.PRIVATE}
    rates: dict[str, list[float]] = {name: [] for name in kinds}
    for number in range(plan.rounds):
        for name, line in kinds.items():
            settle(rig)
            make = partial(records.batch, rig.key, line)
            result = load(rig.port, make, clients=BATCH_CLIENTS, seconds=plan.turn_s).expect(200)
            rates[name].append(result.rate * LINES)
        say(f"  round {number + 1}: " + ", ".join(f"{name} {rates[name][-1]:,.0f}/s" for name in kinds))
    pairs = zip(rates["private"], rates["public"], strict=True)
    return {
        "clients": BATCH_CLIENTS, "lines": LINES,
        "per_second": {name: spread(values) for name, values in rates.items()},
        "private_of_public": median(one / other for one, other in pairs),
    }  # fmt: skip


def live(rig: Rig, plan: Plan) -> dict[str, Any]:
    """Single POSTs while nobody watches and while live views are open, in turns; who begins changes."""
    rates: dict[str, list[float]] = {"alone": [], "watched": []}
    heard = 0
    for number in range(plan.rounds):
        for name in sorted(rates, reverse=number % 2 == 1):
            settle(rig)
            make = partial(records.single, rig.key)
            with watching(rig.stream_port, rig.cookie, STREAMS if name == "watched" else 0) as told:
                result = load(rig.port, make, clients=CLIENTS, seconds=max(plan.turn_s, LIVE_TURN_S)).expect(
                    201
                )
            rates[name].append(result.rate)
            if name == "watched":
                heard += told.grown
                if told.streams < STREAMS:
                    raise RuntimeError(f"only {told.streams} of {STREAMS} streams heard that the log grew")
        say(f"  round {number + 1}: " + ", ".join(f"{name} {rates[name][-1]:,.0f}/s" for name in rates))
    pairs = zip(rates["watched"], rates["alone"], strict=True)
    return {
        "clients": CLIENTS, "streams": STREAMS, "events": heard,
        "per_second": {name: spread(values) for name, values in rates.items()},
        "of_alone": median(one / other for one, other in pairs),
    }  # fmt: skip


def client(rig: Rig, plan: Plan) -> dict[str, Any]:
    """The Python client: cost of a call in the agent's thread, decisions that arrive."""
    found = python_client.measured(
        f"http://127.0.0.1:{rig.port}", rig.key, rounds=plan.rounds, calls=plan.recorded
    )
    names = ("p50_us", "p99_us", "per_second")
    say("  " + ", ".join(f"{name} {median(found[name]):,.0f}" for name in names))
    return found | {name: spread(found[name]) for name in names}


def advice(rig: Rig, plan: Plan) -> dict[str, Any]:
    """Advice by many clients and by one; a replay of what a simulation takes."""
    settle(rig)
    found = friction_load.asked(rig, rounds=plan.rounds, seconds=plan.turn_s)
    for name, run in found.items():
        for figure in ("p50_ms", "p95_ms", "per_second"):
            run[figure] = spread(run[figure])
        say(f"  {name}: p50 {run['p50_ms']['median']:.1f} ms, p95 {run['p95_ms']['median']:.1f} ms")
    settle(rig)
    found["replay"] = friction_load.replayed(rig, plan.replayed)
    whole = found["replay"]["all"]
    say(f"  {plan.replayed:,} judged anew in {whole['seconds']:.1f} s, {whole['most_mib']:.0f} MiB")
    return found


def sustained(rig: Rig, plan: Plan) -> dict[str, Any]:
    """Offer the batch path all it takes; see the checkpointer keep up and the search catch up."""
    before = rig.head()
    result = load(
        rig.port, partial(records.batch, rig.key), clients=BATCH_CLIENTS, seconds=plan.sustained_s
    ).expect(200)
    ended, head = time.perf_counter(), rig.head()
    behind = head - rig.signed()
    lag_s = waited(lambda: rig.signed() >= head, ended)
    rate = (head - before) / result.seconds
    say(f"  {rate:,.0f} decisions/s for {result.seconds:.0f} s; checkpoint {lag_s:.1f} s behind at the end")
    unseen = head - rig.projected()
    caught_up_s = waited(lambda: rig.projected() >= head, ended, patience=LAG_PATIENCE_S * 5)
    say(f"  search was {unseen:,} entries behind and caught up in {caught_up_s:.0f} s")
    return {
        "clients": BATCH_CLIENTS, "lines": LINES, "seconds": result.seconds,
        "decisions": head - before, "per_second": rate,
        "request_p95_ms": result.percentile(0.95) * 1000,
        "checkpoint_behind_entries": behind, "checkpoint_lag_s": lag_s,
        "search_behind_entries": unseen, "search_caught_up_s": caught_up_s,
    }  # fmt: skip


def grow(rig: Rig, size: int, *, is_first: bool = False) -> None:
    fill(rig, size)
    console.strew(rig, is_first=is_first)
    settle(rig)


def measured(plan: Plan) -> dict[str, Any]:
    say("Verification, one core")
    figures: dict[str, Any] = {"plan": asdict(plan), "verify": verify_speed.measured(plan.verified)}
    say("The friction calculator, one core")
    figures["friction"] = friction_speed.measured(plan.evaluating_s)
    say("Starting the servers")
    small, middle, large = plan.sizes
    with Rig() as rig:
        figures["machine"] = machine.described(rig.home, rig.database)
        figures["server"] = {"processes": PROCESSES, "threads": THREADS}
        grow(rig, small, is_first=True)
        say(f"Single POST, {CLIENTS} clients, {plan.rounds} rounds")
        figures["single"] = singles(rig, plan)
        say(f"A poll of {plan.asked:,} agents")
        figures["polls"] = poll_crowd.measured(rig, plan.asked)
        say("  all reached after {answered_s:.0f} s, counted in {closed_s:.1f} s".format(**figures["polls"]))
        grow(rig, middle)
        say(f"Batches of {LINES}, {BATCH_CLIENTS} clients, {plan.sustained_s:.0f} s")
        figures["sustained"] = sustained(rig, plan)
        fill(rig, plan.exported)
        grow(rig, large)
        say(f"Logs of three sizes side by side, {plan.growth_rounds} rounds: the largest against the least")
        figures["growth"] = growth.measured(
            rig, plan.sizes[:2], rounds=plan.growth_rounds, seconds=plan.growth_turn_s
        )
        say("The console's pages, one request at a time")
        person = console.Console(rig)
        figures["console"] = console.measured(rig, person)
        for page in figures["console"]["pages"]:
            say(
                f"  {page['family']}, {page['name']}: {page['median_ms']:.0f} ms, p95 {page['p95_ms']:.0f} ms"
            )
        say(f"An export of {plan.exported:,} rows by the worker")
        figures["export"] = console.exported(rig, person, plan.exported)
        say(f"Batches without and with a private context, {plan.rounds} rounds")
        figures["batch"] = batches(rig, plan)
        say(f"{STREAMS} live views, {plan.rounds} rounds")
        figures["live"] = live(rig, plan)
        say(f"The Python client, {python_client.THREADS} threads, {plan.rounds} rounds")
        figures["client"] = client(rig, plan)
        say(f"Advice, {friction_load.CLIENTS} clients, {plan.rounds} rounds")
        figures["advice"] = advice(rig, plan)
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure ECP against its baselines.")
    parser.add_argument("--quick", action="store_true", help="a minute, to see that it runs; writes nothing")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the figures go, as JSON")
    chosen = parser.parse_args()
    figures = measured(QUICK if chosen.quick else Plan())
    bars = report.bars(figures)
    if not chosen.quick:
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        chosen.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
        DOCUMENT.write_text(report.document(figures), encoding="utf-8")
    sys.stdout.write("\n".join(report.table(bars)) + "\n")
    return 0 if chosen.quick or all(bar.is_met for bar in bars) else 1


if __name__ == "__main__":
    sys.exit(main())
