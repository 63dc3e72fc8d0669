"""An agent that asks before it acts: `python examples/careful_agent.py --url URL --key KEY`.

It wants to pay an invoice. It asks how careful that should be, reports the steps that it does itself, waits a
while for people to do theirs, bypasses what is left with a reason, and records the payment with the advice it
had. Needs the Python client (`pip install ./clients/python`) and a key with the scopes `advice` and
`decisions:write`.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from ecp_client import Advice, Ledger

if TYPE_CHECKING:
    from ecp_client.records import RecordFields

OWN_STEPS = {"extra_documentation": "Purpose and counterparty are filed with the invoice."}


def proposal(amount_minor: int, environment: str) -> RecordFields:
    return {
        "action": "payment.transfer",
        "explanation": "Pay supplier invoice 4711 that is due today.",
        "context": {
            "environment": environment, "amount_minor": amount_minor, "currency": "EUR", "reversible": False,
            "affected_people": 1, "confidence_pct": 91, "data_classes": [],
        },
    }  # fmt: skip


def do_own_steps(ledger: Ledger, advice: Advice) -> None:
    for step in advice.steps:
        if step["type"] in OWN_STEPS:
            ledger.step_outcome(advice.id, step["n"], "completed", note=OWN_STEPS[step["type"]])
            print(f"done: step {step['n']}, {step['type']}")


def await_people(ledger: Ledger, advice: Advice, patience_s: float) -> Advice:
    """What people do comes by the callback; True ends the watch."""

    def changed(now: Advice) -> bool:
        print(f"heard: {len(now.outcomes)} outcomes, open steps {now.open_steps}")
        return not now.open_steps

    watch = ledger.watch_advice(advice, changed, timeout=patience_s)
    watch.join(patience_s + 5)
    return watch.advice


def main() -> int:
    parser = argparse.ArgumentParser(description="An agent that asks before it acts.")
    parser.add_argument("--url", default=os.environ.get("URL"), help="address of the ledger; default $URL")
    parser.add_argument("--key", default=os.environ.get("KEY"), help="API key; default $KEY")
    parser.add_argument("--agent", default="pricing-bot")
    parser.add_argument("--amount", type=int, default=2_500_000, help="in cents")
    parser.add_argument("--environment", default="prod")
    parser.add_argument("--patience", type=float, default=0.0, help="seconds to wait for people")
    options = parser.parse_args()
    if not options.url or not options.key:
        parser.error("give --url and --key, or set URL and KEY")
    fields = proposal(options.amount, options.environment)
    with Ledger(options.url, options.key, agent=options.agent, strict=True) as ledger:
        advice = ledger.advice(**fields)
        print(advice.explanation)
        do_own_steps(ledger, advice)
        if options.patience and advice.steps:
            advice = await_people(ledger, advice, options.patience)
        reason = "The cut-off at the bank is in four minutes."
        left = ledger.advice_now(advice.id).open_steps
        if left:
            ledger.bypass(advice.id, left, reason_code="time_critical", reason=reason)
            print(f"bypassed: steps {left}")
        receipt = ledger.record_now(**fields, **advice.fields(bypassed=bool(left), reason=reason))
    print(f"recorded: {receipt.status}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
