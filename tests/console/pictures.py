"""Which pictures `make screenshots` takes, as data. Those that a document shows go to docs/img."""

from __future__ import annotations

import re

from tests.console.pages import DECISION
from tests.docs.documents import documents

# The decision of the record's pictures is the one that is named `shown` among the places.
PICTURES: dict[str, str] = {
    "sign-in": "/console/login/",
    "overview": "/console/?log={log}",
    "analytics": "/console/analytics/?log={log}&since=now-30d",
    "decisions": f"{DECISION}?log={{log}}",
    "search": f"{DECISION}?log={{log}}&q=refund+agent%3Arefund-desk+since%3Anow-7d",
    "nothing-found": f"{DECISION}?log={{log}}&q=zeppelin+agent%3Arefund-desk",
    "record": f"{DECISION}{{shown}}/change/",
    "verified": f"{DECISION}{{shown}}/change/?verify=1",
    "print": f"{DECISION}{{shown}}/print/",
    "reviews": "/console/reviews/?log={log}",
    "staff-actions": "/console/ledger/staffaction/?log={log}",
    "staff-action": "/console/ledger/staffaction/{act}/change/",
    "data-subjects": "/console/data-subjects/?log={log}",
    "context-policy": "/console/context-policy/?log={log}",
    "reveal": "/console/reveal/?log={log}",
    "publication": "/console/integrity/publication/?log={log}",
    "entries": "/console/ledger/entry/?log={log}",
    "agents": "/console/ledger/agent/",
    "agent": "/console/ledger/agent/{agent}/change/",
    "integrity": "/console/integrity/?log={log}",
    "consistency": "/console/integrity/consistency/?log={log}&old={older}&new={size}",
    "evidence": "/console/evidence/",
    "exports": "/console/exports/",
    "views": "/console/views/",
    "help": "/console/help/",
    "public": "/public/{log}/?q={seq}",
    "polls": "/console/polls/?log={log}",
    "poll-open": "/console/polls/poll/?log={log}&poll={poll_open}",
    "poll-closed": "/console/polls/poll/?log={log}&poll={poll_closed}",
    "poll-schedules": "/console/polls/schedules/?log={log}",
}
LOOKS = {
    "light": ("light", 1280, 900),
    "dark": ("dark", 1280, 900),
    "light-narrow": ("light", 390, 844),
    "dark-narrow": ("dark", 390, 844),
}
TALLEST = 2_000  # longer pages are cut: a picture is for a glance


def of_the_documents() -> set[str]:
    """Files of docs/img that a document names."""
    return {
        name
        for file in documents()
        for name in re.findall(r"\]\((?:docs/)?img/([^)\s]+)\)", file.read_text("utf-8"))
    }


def file_name(picture: str, look: str) -> str:
    return f"{picture}-{look}.png"
