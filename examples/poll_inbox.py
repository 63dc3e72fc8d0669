"""An agent without an endpoint that answers polls: it reads its inbox through the Python client.

    python examples/poll_inbox.py --url URL --key KEY --signer agent.key [--rounds 10] [--wait 20]

`--signer` is the file that `manage.py agentkey_create` wrote; the API key needs the scope `polls:answer`.
Replace `decide` by what your agent thinks. Needs the Python client (`pip install ./clients/python`).
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from ecp_client import Ledger, Refused, Signer

if TYPE_CHECKING:
    from ecp_client import Invitation


def decide(invitation: Invitation) -> tuple[str, int, str]:
    """Choice, confidence in percent, and why. This one is for whatever it reads first, and says so."""
    choice = next(option for option in invitation.options if option != "abstain")
    return choice, 60, "It is the first option that I read, and I know nothing against it."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--url", default=os.environ.get("URL", ""))
    parser.add_argument("--key", default=os.environ.get("KEY", ""))
    parser.add_argument("--signer", required=True)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--wait", type=float, default=20)
    given = parser.parse_args()
    with Ledger(given.url, given.key, signer=Signer.from_file(given.signer)) as ledger:
        for _ in range(given.rounds):
            for invitation in ledger.poll_inbox(wait=given.wait):
                choice, confidence_pct, rationale = decide(invitation)
                try:
                    ledger.poll_answer(invitation, choice, confidence_pct=confidence_pct, rationale=rationale)
                except Refused as refused:  # closed meanwhile, say
                    print(f"not taken: {refused.code}")
                else:
                    print(f"answered: {invitation.question}")


if __name__ == "__main__":
    main()
