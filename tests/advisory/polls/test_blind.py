"""While a poll is open nothing gives a choice away: what everybody chose makes no difference anywhere.

Two polls are answered by the same agents, one with nothing but `otter`, one with nothing but `heron`.
Whatever anybody can read of the two must be the same, once ids, hashes and times are taken out of it.
"""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from django.db import connection
from prometheus_client import generate_latest

from advisory.polls.services.lifecycle import poll_close
from ecp_project.console.sse import State, greeting
from ledger.models import Entry, Head
from tests.console.desk import CONSOLE, decision, record, record_path, signed_in
from tests.console.furnished import overseer
from tests.factories.polls import Story, asked_agents

if TYPE_CHECKING:
    from django.test import Client

    from ledger.models import Entry as EntryRow
    from tests.people import People

pytestmark = pytest.mark.db
CHOICES = ("otter", "heron")
REASON = "canary-reason-of-nobody-else"
NONCE_OF = "c0ffee"
VARIABLE = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"  # ids
    r"|\b[0-9a-f]{16,}\b|[0-9a-f]{8}…[0-9a-f]{4}"  # hashes
    r"|csrfmiddlewaretoken\" value=\"\w+|\bposition [\d,]+|/\d{13,}/"
    r"|\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?(Z|\+00:00)?"
    r"|\d+\s*(minutes?|hours?|seconds?)(,\s*\d+\s*minutes?)?|closes in [^<]*"
)
EARLIER = re.compile(r"<h3>The same question before</h3>\s*<ul>.*?</ul>|\"earlier\": ?\[.*?\]", re.DOTALL)
PANEL = re.compile(r'<section class="panel" aria-labelledby="polls-about">.*?</section>', re.DOTALL)
API = ("", "progress/", "results/", "proof/", "responses/", "responses/?format=csv")


def answered(people: People, choice: str, about: EntryRow) -> Story:
    body = {"question": "Otter or heron, which of them?", "options": list(CHOICES), "n": 6}
    story = Story(people, body | {"decision_id": str(about.uid)}).opened()
    for number, invitation in enumerate(story.invitations()):
        story.say(
            invitation, choice, rationale=REASON, nonce=f"{NONCE_OF}{number:02x}{invitation.id.hex[-24:]}"
        )
    return story


def said(story: Story, person: Any, about: EntryRow) -> dict[str, str]:
    """Everything that one person reads of a poll, page by page."""
    browser, id_ = signed_in(person), str(story.id)
    places = {
        **{f"api {part}": f"/api/v1/polls/{id_}/{part}" for part in API},
        "page": f"/console/polls/poll/?poll={id_}",
        "sheet": f"/console/polls/sheet/?poll={id_}",
        "step": f"/console/polls/step/?poll={id_}&step=close",
        "by hand": f"/console/polls/by-hand/?poll={id_}",
        "record": record_path(about),
    }
    read = {name: _read(browser, address) for name, address in places.items()}
    # Two records differ in much; what is told of their polls must not.
    told = PANEL.search(read["record"])
    assert told is not None
    return read | {"record": told[0]}


def everywhere(person: Any, people: People) -> dict[str, str]:
    """What speaks of all polls at once."""
    browser = signed_in(person)
    places = (
        f"{CONSOLE}?full=1", "/console/analytics/?full=1", "/console/polls/", "/console/ledger/entry/",
        "/console/polls/schedules/", "/api/v1/polls/", "/api/v1/dashboard/polls/",
        "/api/v1/dashboard/summary/", f"/console/stream/poll/?log={people.log.slug}&after=0",
        f"/api/v1/logs/{people.log.slug}/export.ndjson",
    )  # fmt: skip
    return {address: _read(browser, address) for address in places}


def _read(browser: Client, address: str) -> str:
    answer: Any = browser.get(address)
    raw = answer.getvalue() if answer.streaming else answer.content
    return f"{answer.status_code} {raw.decode()}"


def plain(text: str) -> str:
    """Without what differs between any two polls; the second names the first, as it asks the same."""
    return " ".join(VARIABLE.sub("~", EARLIER.sub("", text)).split())


def dumped(table: str) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT string_agg(t::text, E'\\n') FROM {table} t")  # noqa: S608 - our own names
        return str(cursor.fetchone()[0])


def test_nothing_that_anybody_reads_depends_on_what_was_chosen(
    people: People, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    asked_agents(people, 6)
    decisions = record(people.log, decision(), decision())
    auditor = overseer(people.acme)  # a superuser, who sees no more
    metrics = generate_latest().decode()
    with structlog.testing.capture_logs() as lines:
        stories = [answered(people, choice, about) for choice, about in zip(CHOICES, decisions, strict=True)]
        read = [
            [said(story, person, about) for person in (people.ada, people.ben, auditor)]
            for story, about in zip(stories, decisions, strict=True)
        ]
        general = [everywhere(person, people) for person in (people.ada, auditor)]
    otter, heron = read
    for who, (one, other) in enumerate(zip(otter, heron, strict=True)):
        for place, text in one.items():
            assert plain(text) == plain(other[place]), (who, place)
    assert all("6" in one["page"] for one in otter)  # what may be told is told
    everything = "\n".join(
        [*(text for who in (*otter, *heron, *general) for text in who.values()), caplog.text, str(lines)]
    )
    assert "otter" in everything  # as an option, beside the other one
    for secret in (REASON, NONCE_OF):
        assert secret not in everything
    head = Head.objects.get(log=people.log)
    feed, _ = greeting(people.log.slug, State(head.size, 0, people.log.mode), 0)
    told = feed.decode() + caplog.text + str(lines) + generate_latest().decode()[len(metrics) :]
    rows = "".join(map(dumped, ("polls_pollresponse", "polls_pollinvitation")))
    entries = [
        bytes(entry).decode()
        for entry in Entry.objects.filter(kind__in=("ecp.poll.response/1", "ecp.poll.drawn/1")).values_list(
            "entry", flat=True
        )
    ]
    assert len(entries) == 14
    for choice in CHOICES:
        assert choice not in told
        assert choice not in re.sub(r"\{(?:otter|heron|abstain|,)+\}", "", rows)  # the order of the options
        assert not any(choice in entry for entry in entries)
    assert REASON.encode().hex() not in rows


def test_once_closed_the_same_search_finds_the_choice(people: People) -> None:
    """The search above would see what there is to see."""
    asked_agents(people, 6)
    (about,) = record(people.log, decision())
    story = answered(people, "otter", about)
    poll_close(poll_id=story.id, actor="system:test", now=story.now, reason="Enough has been said.")
    texts = said(story, people.ben, about)
    assert "200" in texts["api results/"][:3]
    assert REASON in texts["api responses/"]
    assert '"otter":6' in texts["api results/"].replace(" ", "")
    assert REASON in dumped("polls_pollresponse")
