"""A poll of 1,000 agents over loopback HTTP: from its opening to the last answer."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from tests.advisory.polls.agents import living

if TYPE_CHECKING:
    from tests.perf.rig import Rig

AGENTS = 1_000
PATIENCE_S = 600
# Names of this module's own go in; what the shell prints last is the answer.
OPEN = """
import json, time
from types import SimpleNamespace
from ecp_project.kernel.clock import utc_now
from ledger.models import Agent, Log, Organisation
from advisory.polls.services import lifecycle
from ledger.selectors.entries import OrgScope
from tests.factories.polls import asked_agents
acme = Organisation.objects.get(slug="bench")
agents = asked_agents(SimpleNamespace(acme=acme), {agents})
for agent in agents:
    agent.endpoint = "{address}/" + agent.slug
Agent.objects.bulk_update(agents, ["endpoint"])
def make():
    return lifecycle.poll_create(organisation=acme, scope=OrgScope(acme.id), created_by="system:bench",
        now=utc_now(), document={{"question": "Do a thousand agents answer in time?",
        "options": ["support", "oppose"], "n": {agents}, "deadline_minutes": 1440}})
polls = [make() for _ in range(3)]
for poll in polls:
    lifecycle.poll_commit(poll_id=poll.id, actor="system:bench", now=utc_now())
for poll in polls[1:]:
    lifecycle.poll_cancel(poll_id=poll.id, actor="system:bench", now=utc_now(),
        reason="It only made the log longer.")
start = time.perf_counter()
lifecycle.poll_draw(poll_id=polls[0].id, actor="system:bench", now=utc_now())
drawn_s = time.perf_counter() - start
lifecycle.poll_open(poll_id=polls[0].id, actor=lifecycle.POLLS, now=utc_now())
print(json.dumps({{"poll": str(polls[0].id), "drawn_s": drawn_s}}))
"""
CLOSE = """
import json, time
from ecp_project.kernel.clock import utc_now
from advisory.polls.services import lifecycle
start = time.perf_counter()
poll = lifecycle.poll_close(poll_id="{poll}", actor="system:bench", now=utc_now(),
    reason="All that were asked have answered.")
print(json.dumps({{"closed_s": time.perf_counter() - start, "answered": poll.results["answered"],
                   "silence": sum(poll.results["silence"].values())}}))
"""


def measured(rig: Rig, agents: int = AGENTS) -> dict[str, Any]:
    rig.manage("delivery_keygen")
    with living() as town:
        opened = _shell(rig, OPEN.format(agents=agents, address=f"http://127.0.0.1:{town.port}/answer"))
        start = time.perf_counter()
        while rig.waiting_invitations() and time.perf_counter() - start < PATIENCE_S:
            time.sleep(0.1)
        seconds = time.perf_counter() - start
        closed = _shell(rig, CLOSE.format(poll=opened["poll"]))
        calls = len(town.calls)
    return (
        {"agents": agents, "calls": calls, "answered_s": seconds, "per_second": agents / seconds}
        | opened
        | closed
    )


def _shell(rig: Rig, text: str) -> dict[str, Any]:
    told = rig.manage("shell", "--no-imports", "-v", "0", "-c", text)
    found: dict[str, Any] = json.loads(told.strip().splitlines()[-1])
    return found
