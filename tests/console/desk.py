"""What tests of the console share: a signed-in browser without a screen, and entries to look at."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.test import Client

from ecp_project.kernel.clock import utc_now
from ecp_project.kernel.ids import new_uuid7
from ledger.core.entry import parse_entry
from ledger.models import Entry
from ledger.services.ingest import ingest
from ledger.services.projections import project_search

if TYPE_CHECKING:
    from ledger.models import Log

CONSOLE = "/console/"
DECISIONS = "/console/ledger/decision/"
ENTRIES = "/console/ledger/entry/"
HOSTILE = "<script>window.__xss=1</script><img src=x onerror=window.__xss=2> Lowered \u202ethe price."
ROLES = ("viewer", "auditor", "operator", "manufacturer", "admin")


def signed_in(user: Any) -> Client:
    browser = Client()
    browser.force_login(user)
    return browser


def shown(user: Any, path: str, **query: Any) -> str:
    """HTML of a page that must answer 200."""
    answer = signed_in(user).get(path, query)
    assert answer.status_code == 200, (answer.status_code, answer.content[:500])
    text: str = answer.content.decode()
    return text


REASON = "A customer asked what we know."


def revealing(user: Any, log: Log, reason: str = REASON) -> Client:
    """A browser in which the person has said why private values are needed."""
    browser = signed_in(user)
    answer = browser.post("/console/reveal/", {"log": log.slug, "reason": reason})
    assert answer.status_code == 302, answer.content[:500]
    return browser


def staff_acts(log: Log) -> list[dict[str, Any]]:
    """Statements of what staff did, in the order of the log."""
    rows = Entry.objects.filter(log=log, kind="ecp.staff/1").order_by("seq")
    return [parse_entry(bytes(row.entry)).stmt for row in rows]


def decision(
    explanation: str = "Lowered the price, as the lamp sells slowly.", **members: Any
) -> dict[str, Any]:
    return {
        "id": new_uuid7(utc_now()),
        "agent": "pricing-bot",
        "action": "price.change",
        "explanation": explanation,
    } | members


def append(log: Log, *documents: dict[str, Any]) -> None:
    """Decisions and annotations as a file of them would come, in batches."""
    lines = [json.dumps(document).encode() for document in documents]
    tally = ingest(log=log, lines=lines, actor="system:test", clock=utc_now)
    assert not tally.rejects, tally.rejects


def record(log: Log, *documents: dict[str, Any]) -> list[Entry]:
    """Append, and let the search know."""
    append(log, *documents)
    while project_search(log_id=log.id):
        pass
    uids = [document["id"] for document in documents]
    found = {str(entry.uid): entry for entry in Entry.objects.filter(log=log, uid__in=uids)}
    return [found[uid] for uid in uids]


def annotation(target: Entry, text: str, **members: Any) -> dict[str, Any]:
    return {"id": new_uuid7(utc_now()), "target": str(target.uid), "kind": "note", "text": text} | members


def record_path(entry: Entry) -> str:
    page = DECISIONS if entry.action else ENTRIES
    return f"{page}{entry.id}/change/"
