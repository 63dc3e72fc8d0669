"""From the figures of a run to the bars it had to reach and to `docs/BENCHMARKS.md`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.perf.console import BUDGETS

TEMPLATE = Path(__file__).with_name("report.md.in")
FLAT = 1.15
ADVICE_RUNS = {
    "many": "16 clients, the mix",
    "one": "1 client, the mix",
    "worst": "16 clients, each advice high: six steps, three of them for people, one notice",
}


@dataclass(frozen=True, slots=True)
class Bar:
    """A promise of LEDGER section 16 and what this run found."""

    what: str
    bar: str
    found: str
    is_met: bool


def bars(figures: dict[str, Any]) -> list[Bar]:
    single, batch, long = figures["single"], figures["batch"], figures["sustained"]
    record_us = figures["client"]["p50_us"]["median"]
    p95 = single["p95_ms"]["ledger"]["median"]
    rate, lag = long["per_second"], long["checkpoint_lag_s"]
    with_orjson, without = figures["verify"]["with"], figures["verify"]["without"]
    found = [
        Bar(f"Batch path for {long['seconds']:.0f} s, decisions per second", ">= 10,000", f"{rate:,.0f}",
            rate >= 10_000),
        Bar("Checkpoint behind at the end", "<= 10 s", f"{lag:.1f} s", lag <= 10),
        Bar("Search projection catches up afterwards", "yes", f"after {long['search_caught_up_s']:.0f} s",
            long["search_caught_up_s"] < 600),
        Bar("The same with a private context of 5 members", ">= 0.40 x",
            f"{batch['private_of_public']:.2f} x", batch["private_of_public"] >= 0.4),
        Bar("Single POST against a no-op POST", ">= 0.45 x", f"{single['of_noop']:.2f} x",
            single["of_noop"] >= 0.45),
        Bar("Single POST against the naive chain", ">= 2.5 x", f"{single['times_naive']:.2f} x",
            single["times_naive"] >= 2.5),
        Bar(f"Single POST, p95 at {single['clients']} clients", "< 100 ms", f"{p95:.0f} ms", p95 < 100),
        Bar(f"Single POST with {figures['live']['streams']} live views open, against none", ">= 0.90 x",
            f"{figures['live']['of_alone']:.2f} x", figures["live"]["of_alone"] >= 0.9),
        Bar("`record()` of the Python client in the agent's thread, p50", "<= 50 us", f"{record_us:.0f} us",
            record_us <= 50),
        Bar("Verification per core, with orjson", ">= 80,000/s", f"{with_orjson:,.0f}/s",
            with_orjson >= 80_000),
        Bar("Verification per core, standard library", ">= 30,000/s", f"{without:,.0f}/s", without >= 30_000),
    ]  # fmt: skip
    if "friction" in figures:  # a run from before the calculator has no such figure
        found += [
            Bar(f"Advice by {rules} with full trace, per core", ">= 10,000/s",
                f"{figures['friction'][name]:,.0f}/s", figures["friction"][name] >= 10_000)
            for name, rules in (("shipped", "the shipped rules"), ("thirty", "30 rules"))
        ]  # fmt: skip
    if "advice" in figures:
        found += _advice(figures["advice"])
    if "polls" in figures:  # as above
        asked = figures["polls"]
        found += [
            Bar(f"A poll of {asked['agents']:,} agents: answered, each called once", f"{asked['agents']:,}",
                f"{asked['answered']:,} in {asked['calls']:,} calls",
                asked["answered"] == asked["agents"] == asked["calls"]),
            Bar("The same, from opening to the last answer", "<= 180 s", f"{asked['answered_s']:.0f} s",
                asked["answered_s"] <= 180),
            Bar("The same, its draw", "< 1 s", f"{asked['drawn_s']:.2f} s", asked["drawn_s"] < 1),
        ]  # fmt: skip
    flat = [_flat(figures["growth"], name) for name in figures["growth"]["costs"]]
    return found + flat + _console(figures["console"]) + _export(figures["export"])


def _advice(found: dict[str, Any]) -> list[Bar]:
    many, replay = found["many"], found["replay"]
    p95, tenth, whole = many["p95_ms"]["median"], replay["tenth"], replay["all"]
    return [
        Bar(f"POST advice/ with 30 rules without history, p95 at {many['clients']} clients", "< 50 ms",
            f"{p95:.0f} ms", p95 < 50),
        Bar(f"Replay of {replay['advices']:,} recorded advices", "< 60 s", f"{whole['seconds']:.0f} s",
            whole["seconds"] < 60),
        Bar("Its memory, against a tenth of them", "<= 1.15 x",
            f"{whole['most_mib'] / tenth['most_mib']:.2f} x", whole["most_mib"] <= 1.15 * tenth["most_mib"]),
    ]  # fmt: skip


def _console(found: dict[str, Any]) -> list[Bar]:
    """The slowest page of each family that has a budget (CONSOLE section 16)."""
    slowest: dict[str, dict[str, Any]] = {}
    for page in sorted(found["pages"], key=lambda page: page["p95_ms"]):
        slowest[page["family"]] = page
    return [
        Bar(f"Console at {found['entries']:,} entries, slowest {family}: {slowest[family]['name']}, p95",
            f"< {budget} ms", f"{slowest[family]['p95_ms']:.0f} ms", slowest[family]["p95_ms"] < budget)
        for family, budget in BUDGETS.items()
    ]  # fmt: skip


def _export(found: dict[str, Any]) -> list[Bar]:
    early, late = found["mib_first_half"], found["mib_second_half"]
    return [
        Bar(f"Export of {found['rows']:,} rows, memory of its second half against the first", "<= 1.10 x",
            f"{late / early:.2f} x", late <= 1.1 * early),
        Bar("The export tells how far it has come", "at least 3 times", f"{found['shares_seen']} times",
            found["shares_seen"] >= 3),
    ]  # fmt: skip


def _flat(growth: dict[str, Any], name: str) -> Bar:
    ratio, entries = growth["costs"][name]["of_least"]["median"], growth["entries"]
    what = f"Cost of {name}, {entries[-1]:,} entries against {entries[0]:,}"
    return Bar(what, f"<= {FLAT:.2f} x", f"{ratio:.2f} x", ratio <= FLAT)


def table(found: list[Bar]) -> list[str]:
    rows = ["| promise | bar | found | |", "|---|---|---|---|"]
    return rows + [
        f"| {bar.what} | {bar.bar} | {bar.found} | {'met' if bar.is_met else 'MISSED'} |" for bar in found
    ]


def _range(values: dict[str, float]) -> str:
    return f"{values['median']:,.0f} ({values['min']:,.0f} to {values['max']:,.0f})"


def document(figures: dict[str, Any]) -> str:
    """The whole of `docs/BENCHMARKS.md`."""
    single, batch, growth = (figures[name] for name in ("single", "batch", "growth"))
    rates, p95 = single["per_second"], single["p95_ms"]
    values = figures["plan"] | figures["server"] | figures["machine"] | figures["machine"]["postgresql"]
    values |= figures["sustained"] | {
        "promises": "\n".join(table(bars(figures))),
        "single_clients": single["clients"],
        "single_rows": "\n".join(
            f"| {name} | {_range(rates[name])} | {_range(p95[name])} |" for name in rates
        ),
        "batch_clients": batch["clients"],
        "batch_rows": "\n".join(f"| {name} | {_range(rate)} |" for name, rate in batch["per_second"].items()),
        "live_clients": figures["live"]["clients"],
        "live_streams": figures["live"]["streams"],
        "live_events": figures["live"]["events"],
        "live_rows": "\n".join(
            f"| {name} | {_range(rate)} |" for name, rate in figures["live"]["per_second"].items()
        ),
        "client_calls": figures["client"]["calls"],
        "client_threads": figures["client"]["threads"],
        "client_p50": _range(figures["client"]["p50_us"]),
        "client_p99": _range(figures["client"]["p99_us"]),
        "client_rate": _range(figures["client"]["per_second"]),
        "growth_sizes": " | ".join(f"{entries:,} entries" for entries in growth["entries"]),
        "growth_rule": "---|" * (len(growth["entries"]) + 1),
        "growth_rows": "\n".join(_cost_row(name, cost) for name, cost in growth["costs"].items()),
        "growth_at_last": f"{growth['at_last'][0]:,}",
        "advice_rows": "\n".join(
            f"| {what} | {_range(run['per_second'])} | {_range(run['p50_ms'])} | {_range(run['p95_ms'])} |"
            for what, run in ((ADVICE_RUNS[name], figures["advice"][name]) for name in ADVICE_RUNS)
        ),
    }
    console, export = figures["console"], figures["export"]
    values |= {
        "console_entries": f"{console['entries']:,}",
        "console_counted": console["counted"],
        "console_rows": "\n".join(_page_row(page) for page in console["pages"]),
        "export_rows": f"{export['rows']:,}",
        "export_mib": f"{export['bytes'] / 2**20:,.0f}",
        "export_seconds": f"{export['seconds']:.0f}",
        "export_rate": f"{export['per_second']:,.0f}",
        "export_before": f"{export['mib_before']:.0f}",
        "export_most": f"{max(export['mib_first_half'], export['mib_second_half']):.0f}",
    }
    return TEMPLATE.read_text(encoding="utf-8").format(**values)


def _page_row(page: dict[str, Any]) -> str:
    budget = BUDGETS.get(page["family"])
    verdict = "" if budget is None else "met" if page["p95_ms"] < budget else "MISSED"
    limit = "" if budget is None else f"< {budget}"
    name = f"{page['family']}: {page['name']}"
    return f"| {name} | {page['median_ms']:.0f} | {page['p95_ms']:.0f} | {limit} | {verdict} |"


def _cost_row(name: str, cost: dict[str, Any]) -> str:
    cells = " | ".join(f"{value:.2f} ms" for value in cost["ms"])
    ratio = cost["of_least"]
    return f"| {name} | {cells} | {ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f}) |"
