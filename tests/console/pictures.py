"""Which pictures docs/img holds, as data: name, address, and what to do before the picture is taken."""

from __future__ import annotations

from tests.console.pages import DECISION

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


def file_name(picture: str, look: str) -> str:
    return f"{picture}-{look}.png"
