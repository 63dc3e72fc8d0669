"""The console at the size that the log has grown to: pages against CONSOLE section 16, and a long export.

Every page is asked for twenty times after it was warm, one request after the other, and p95 counts. What the
load client sends is all alike, so some decisions of another agent, with words, zones and notes of their own,
are strewn between: they are the rare ones.
"""

from __future__ import annotations

import http.client
import json
import random
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from ecp_project.kernel.clock import format_time, utc_now
from ecp_project.kernel.ids import new_uuid7

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.perf.rig import Rig

WARM, COUNTED = 3, 20
IDS_OF_A_LOG = 1 << 40  # entry id = number of the log * 2^40 + position
# Milliseconds at a million decisions (CONSOLE section 16); other pages have no budget of their own.
BUDGETS = {"list": 150, "record": 200, "facets": 250, "overview": 150}
RARE, OTHER_AGENT, LONG = "zeppelin", "rare-bot", 250
STREWN = 300
EXPORT_PATIENCE_S = 1_800
DECISIONS, ENTRIES = "/console/ledger/decision/", "/console/ledger/entry/"
CSRF = "b" * 32
# A person who may see and take everything of the organisation, signed in.
SIGN_IN = """
from importlib import import_module
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from ledger.models import Membership, Organisation
user = get_user_model().objects.create_user("auditor", is_staff=True)
Membership.objects.create(user=user, organisation=Organisation.objects.get(), role="auditor")
session = import_module(settings.SESSION_ENGINE).SessionStore()
session.update({SESSION_KEY: str(user.pk), HASH_SESSION_KEY: user.get_session_auth_hash(),
                BACKEND_SESSION_KEY: settings.AUTHENTICATION_BACKENDS[0]})
session.save()
print(session.session_key)
"""


def strew(rig: Rig, *, is_first: bool) -> None:
    """Decisions of another agent and what was said of them; the first time one with a long timeline."""
    if is_first:
        rig.manage("agent_create", OTHER_AGENT, "--org", "bench")
    file = rig.home / "state" / "strewn.ndjson"
    file.write_text("".join(json.dumps(line) + "\n" for line in _strewn(is_first=is_first)), encoding="utf-8")
    rig.manage("ledger_ingest", str(file), "--log", "bench")


def _strewn(*, is_first: bool) -> Iterator[dict[str, Any]]:
    rng = random.Random(STREWN)  # noqa: S311 - the same data in every run
    made = []
    for number in range(STREWN):
        decision: dict[str, Any] = {
            "id": new_uuid7(utc_now()),
            "agent": OTHER_AGENT,
            "action": rng.choice(("stock.count", "order.place")),
            "explanation": f"Counted the stock of shelf {number} again, as the {RARE} was listed twice.",
            "zone": rng.choice(("manufacturer", "operator", "uncertain")),
        }
        if number % 3 == 0:
            decision["advisory"] = {
                "advice_id": new_uuid7(utc_now()),
                "level": rng.choice(("low", "medium", "high")),
                "bypassed": number % 2 == 0,
            }
            if number % 2 == 0:
                decision["advisory"]["bypass_reason"] = "The delivery was already on its way."
        made.append(decision["id"])
        yield decision
    notes = [made[0]] * LONG if is_first else []
    for target in [*notes, *made[::4]]:
        yield {"id": new_uuid7(utc_now()), "target": target, "kind": rng.choice(("note", "correction")),
               "text": "Somebody looked at the shelf and agreed."}  # fmt: skip
    for target in made[::5]:
        yield {"id": new_uuid7(utc_now()), "target": target, "kind": "outcome", "status": "success",
               "text": "The next count found the same."}  # fmt: skip


class Console:
    """A signed-in person's connection, as a browser keeps it open."""

    def __init__(self, rig: Rig) -> None:
        self._server = http.client.HTTPConnection("127.0.0.1", rig.port, timeout=60)
        key = rig.manage("shell", "-v", "0", "-c", SIGN_IN).split()[-1]
        self._headers = {"Cookie": f"sessionid={key}; csrftoken={CSRF}", "X-CSRFToken": CSRF}

    def seconds(self, path: str) -> float:
        started = time.perf_counter()
        self._server.request("GET", path, headers=self._headers)
        answer = self._server.getresponse()
        answer.read()
        took = time.perf_counter() - started
        # 422 comes after the two seconds that a search may take: a missed bar, not a broken run.
        if answer.status not in {200, 302, 422}:
            raise RuntimeError(f"{path} answered {answer.status}")
        return took

    def text(self, path: str) -> str:
        self._server.request("GET", path, headers=self._headers)
        return self._server.getresponse().read().decode()

    def post(self, path: str, **fields: str) -> int:
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        self._server.request("POST", path, urlencode(fields), self._headers | kind)
        answer = self._server.getresponse()
        answer.read()
        return answer.status


def pages(rig: Rig) -> list[tuple[str, str, str]]:
    """(family, name, address) of everything that is timed."""
    entries, base = rig.head(), IDS_OF_A_LOG * rig.log_id()
    moment = rig.database.execute(
        "SELECT rcvd FROM ledger_entry WHERE id = %s", (base + entries // 2,)
    ).fetchone()
    assert moment is not None
    half = format_time(moment[0])
    queries = {
        "newest": "", "rare word": RARE, "common word": "price", "two common words": "price competitors",
        "rare and common word": f"{RARE} price", "word of no entry": "qqqqq",
        "without a rare word": f"-{RARE}",
        "impossible combination": f"agent:load-bot {RARE} bypassed:true zone:uncertain friction:high",
        "agent of most": "agent:load-bot", "rare agent": f"agent:{OTHER_AGENT}",
        "two agents": f"agent:{OTHER_AGENT},load-bot", "no such agent": "agent:nobody",
        "all but an agent": "-agent:load-bot", "rare agent and word": f"agent:{OTHER_AGENT} shelf",
        "action of most": "action:price.update", "rare action": "action:stock.count",
        "zone": "zone:uncertain", "friction": "friction:high", "bypassed": "bypassed:true",
        "organisation": "organisation:bench", "other organisation": "-organisation:bench",
        "one position": f"seq:{entries // 3}", "range of positions": f"seq:{entries // 3}..{entries // 2}",
        "since": f"since:{half}", "until": f"until:{half}", "last hour and a word": f"since:now-1h {RARE}",
        "has a note": "has:note", "has a correction": "has:correction", "has an outcome": "has:outcome",
        "has no note": "-has:note", "has sealed parts": "has:sealed",
    }  # fmt: skip
    found = [("list", name, _list(q=q)) for name, q in queries.items()]
    for path, title in ((DECISIONS, "decisions"), (ENTRIES, "all entries")):
        found += [
            ("list", f"{title}, deep cursor", _list(path, before=base + entries // 2)),
            ("list", f"{title}, back from a deep cursor", _list(path, after=base + entries // 2)),
        ]
    found += [
        ("list", "all entries, newest", _list(ENTRIES)),
        ("list", "all entries, all but an agent", _list(ENTRIES, q="-agent:load-bot")),
        ("list", "kind: annotations", _list(ENTRIES, q="kind:ecp.annotation/1")),
        ("list", "kind: none of it", _list(ENTRIES, q="kind:ecp.gap/1")),
        ("list", "all columns, 100 rows", _list(cols="organisation,bypassed,leaf_hash,annotations", n=100)),
    ]
    for name, q in {"newest": "", "common word": "price", "rare word": RARE, "zone": "zone:uncertain",
                    "agent and friction": f"agent:{OTHER_AGENT} friction:high"}.items():  # fmt: skip
        found.append(("facets", name, _list(f"{DECISIONS}facets/", q=q)))
    uid, leaf = rig.newest_of("load-bot", "uid", "leaf_hash")
    young, old, long = rig.newest_of("load-bot", "id")[0], base + 100, rig.first_of(OTHER_AGENT)
    agent = rig.agent_id("load-bot")
    found += [
        ("record", "young", f"{DECISIONS}{young}/change/"),
        ("record", "old", f"{ENTRIES}{old}/change/"),
        ("record", f"with {LONG} notes", f"{DECISIONS}{long}/change/"),
        ("record", "verified", f"{DECISIONS}{young}/change/?verify=1"),
        ("record", "print sheet", f"{DECISIONS}{long}/print/"),
        ("overview", "24 hours", "/console/?log=bench"),
        ("overview", "30 days", "/console/?log=bench&since=now-30d"),
        ("other", "analytics", "/console/analytics/?log=bench"),
        ("other", "agents", "/console/ledger/agent/"),
        ("other", "agent", f"/console/ledger/agent/{agent}/change/"),
        ("other", "integrity", "/console/integrity/?log=bench"),
        ("other", "look-up by id", f"/console/search/?q={uid}"),
        ("other", "look-up by position", f"/console/search/?log=bench&q={entries // 2}"),
        ("other", "look-up by hash", f"/console/search/?q={bytes(leaf).hex()}"),
        ("other", "look-up of a hash of nothing", f"/console/search/?q={'ab' * 32}"),
        ("other", "dashboard: summary", "/api/v1/dashboard/summary/?log=bench"),
        ("other", "dashboard: decision flow", "/api/v1/dashboard/decision-flow/?log=bench"),
        ("other", "dashboard: agent activity", "/api/v1/dashboard/agent-activity/?log=bench"),
    ]
    return found


def _list(path: str = DECISIONS, **parameters: Any) -> str:
    return f"{path}?{urlencode({'log': 'bench'} | parameters)}"


def measured(rig: Rig, console: Console) -> dict[str, Any]:
    """Milliseconds of each page."""
    timed = []
    for family, name, path in pages(rig):
        for _ in range(WARM):
            console.seconds(path)
        values = sorted(console.seconds(path) * 1000 for _ in range(COUNTED))
        timed.append(
            {"family": family, "name": name, "median_ms": statistics.median(values),
             "p95_ms": values[COUNTED * 95 // 100 - 1]}
        )  # fmt: skip
    return {"entries": rig.head(), "counted": COUNTED, "pages": timed}


# --- an export as a job


def exported(rig: Rig, console: Console, rows: int) -> dict[str, Any]:
    """`rows` entries as NDJSON by the worker: how fast, with how much memory, and what the page tells."""
    children = rig.children_of("worker")
    before = _resident(children)
    status = console.post(_list(ENTRIES, q=f"seq:..{rows - 1}"), format="ndjson")
    if status != 202:
        raise RuntimeError(f"the export answered {status}")
    started, memory, shares = time.perf_counter(), [], set()
    while (state := _export(rig))[0] not in {"complete", "failed"}:
        if time.perf_counter() - started > EXPORT_PATIENCE_S:
            raise RuntimeError(f"the export is {state[0]} with {state[1]:,} rows")
        memory.append(_resident(children))
        shares.add(_share_shown(console.text("/console/exports/")))
        time.sleep(0.5)
    if state[0] != "complete":
        raise RuntimeError(f"the export failed: {state[2]}")
    seconds = time.perf_counter() - started
    half = len(memory) // 2
    return {
        "rows": state[1], "bytes": state[3], "seconds": seconds, "per_second": state[1] / seconds,
        "mib_before": before, "mib_first_half": max(memory[: half or 1]),
        "mib_second_half": max(memory[half:]), "shares_seen": len(shares - {""}),
    }  # fmt: skip


def _export(rig: Rig) -> tuple[str, int, str, int]:
    row = rig.database.execute(
        "SELECT state, rows, problem, bytes FROM console_export ORDER BY created_at DESC LIMIT 1"
    ).fetchone()
    assert row is not None
    return row[0], row[1], row[2], row[3]


def _share_shown(page: str) -> str:
    """`41` of "41 % of the positions"."""
    before, mark, _ = page.partition(" % of the positions")
    return before.rsplit(maxsplit=1)[-1] if mark else ""


def _resident(pids: list[int]) -> float:
    """MiB that these processes hold, the largest of them."""
    return max((_mib(pid) for pid in pids), default=0.0)


def _mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text("utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0
