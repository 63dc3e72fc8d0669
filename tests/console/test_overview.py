"""The overview: what needs attention, figures of a range, the newest, and the first visit of all."""

from __future__ import annotations

import html
import re
import shlex
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from ecp_project.console.attention import attention
from ecp_project.console.rollups import keep_up
from ecp_project.kernel.clock import utc_now
from ledger.models import Entry, ErasureRequest, Membership, Organisation, Role
from ledger.selectors.console import logs_for, viewer_of
from ledger.services.projections import project_search
from tests.console.desk import CONSOLE, annotation, append, decision, record, shown, signed_in
from tests.console.test_frame import check
from tests.people import machine, person

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from ledger.checkpointer import Checkpointer
    from tests.people import People

pytestmark = pytest.mark.db


@pytest.fixture
def acme(people: People, checkpointer: Checkpointer) -> People:
    machine(people.acme, "stock-bot")
    record(
        people.log,
        *[decision(f"Lowered the price of lamp {number}, as it sells slowly.") for number in range(11)],
        decision("Ordered forty kettles.", agent="stock-bot", action="order.place", risk="high"),
    )
    keep_up(log_id=people.log.id)
    checkpointer.turn()
    return people


def first(people: People) -> Entry:
    return people.log.entries.get(seq=0)


def tiles(page: str) -> dict[str, str]:
    found = re.findall(r"<span>([^<]+)</span> <strong>(.*?)</strong>", page)
    return {name: re.sub(r"<[^>]+>", "", value) for name, value in found}


def waiting(page: str) -> list[str]:
    section = re.search(r'aria-labelledby="attention".*?</section>', page, re.DOTALL)
    assert section is not None
    return [html.unescape(text) for text in re.findall(r"<li[^>]*><a[^>]*>([^<]*)</a>", section[0])]


# --- the first visit


def test_first_visit_shows_a_line_that_records_a_decision(people: People) -> None:
    page = shown(people.ada, CONSOLE)
    check(page)
    assert "Nothing is recorded in the ledger of Acme yet." in page
    line = re.search(r'<pre class="bytes"[^>]*>(.*?)</pre>', page, re.DOTALL)
    assert line is not None
    words = shlex.split(html.unescape(line[1]).replace("\\\n", " ").replace("$KEY", people.ada_agent.key))
    assert words[:2] == ["curl", "-sS"]
    headers = dict(word.split(": ") for word in words if re.match(r"[A-Z][A-Za-z-]+: ", word))
    answer = Client(headers={"authorization": headers["Authorization"]}).post(
        words[2].removeprefix("http://testserver"),
        words[words.index("-d") + 1],
        content_type=headers["Content-Type"],
    )
    assert answer.status_code == 201, answer.content
    assert "Nothing is recorded" not in shown(people.ada, CONSOLE)


@pytest.mark.usefixtures("people")
def test_an_organisation_without_a_log_is_told_so() -> None:
    empty = Organisation.objects.create(slug="empty", title="Empty")
    page = shown(person("nora", empty, Role.VIEWER), CONSOLE)
    check(page)
    assert "has no ledger yet" in page


# --- figures


def test_tiles_tell_the_range(acme: People) -> None:
    page = shown(acme.ben, CONSOLE)
    check(page)
    found = tiles(page)
    assert (found["Decisions"], found["High or critical risk"], found["Active agents"]) == (
        "12",
        "1",
        "2",
    )
    assert (found["Now"], found["Last full verification"]) == ("12", "none yet")
    assert "12 entries, all signed" in page
    assert tiles(shown(acme.ben, CONSOLE, since="2020-01-01", until="2020-01-02"))["Decisions"] == "0"


def test_charts_have_a_sentence_a_table_and_a_position(acme: People) -> None:
    page = shown(acme.ben, CONSOLE)
    sentence = re.search(r"<figcaption>([^<]*)</figcaption>", page)
    assert sentence is not None
    assert sentence[1].startswith("12 decisions from ")
    assert f'<svg role="img" aria-label="{sentence[1]}"' in page
    assert page.count("As of position 12.") == 2
    rows = re.findall(
        r'<tr><th scope="row"><a href="([^"]*)">[^<]*</a></th><td class="numeric">(\d+)</td>', page
    )
    assert sum(int(count) for _, count in rows) == 12


def test_a_bucket_leads_to_the_decisions_that_it_counts(acme: People) -> None:
    page = shown(acme.ben, CONSOLE, since="now-1h")
    rows = re.findall(
        r'<tr><th scope="row"><a href="([^"]*)">[^<]*</a></th><td class="numeric">(\d+)</td>', page
    )
    for url, count in rows:
        answer = signed_in(acme.ben).get(html.unescape(url))
        assert answer.content.decode().count('<td class="why">') == int(count)
    assert rows


def test_last_decisions_and_their_order(acme: People) -> None:
    texts = re.findall(r'<td class="why"><bdi>(.*?)</bdi>', shown(acme.ben, CONSOLE))
    assert len(texts) == 10
    assert texts[:2] == ["Ordered forty kettles.", "Lowered the price of lamp 10, as it sells slowly."]


def test_last_staff_acts_name_the_member(acme: People) -> None:
    adam = person("adam", acme.acme, Role.ADMIN)
    assert "Last staff actions" not in shown(acme.ben, CONSOLE)
    form = {"title": "Prices", "status": "active", "labels": "{}", "initial-labels": "{}"}
    signed_in(adam).post(f"/console/ledger/agent/{acme.ada_agent.agent.pk}/change/", form)
    page = re.sub(r"\s+", " ", shown(acme.ben, CONSOLE))
    assert '<bdi>adam</bdi></td><td class="what">changed an agent</td>' in page
    assert "<bdi>agent:pricing-bot</bdi>" in page


def test_presets_keep_the_log_and_mark_the_chosen_one(acme: People) -> None:
    page = shown(acme.ben, CONSOLE, since="now-7d")
    assert re.findall(r'href="\?log=acme&amp;since=([^"]+)"( aria-current="true")?', page) == [
        ("now-1h", ""), ("now-24h", ""), ("now-7d", ' aria-current="true"'), ("now-30d", ""),
    ]  # fmt: skip
    assert "own range" in shown(acme.ben, CONSOLE, since="2026-03-01", until="2026-03-02")


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"since": "now-401d"}, 422, "range_too_large"),
        ({"since": "soon"}, 400, "bad_value"),
        ({"colour": "red"}, 400, "unknown_key"),
        ({"log": "umbra"}, 404, "not_found"),
        ({"log": "no-such-log"}, 404, "not_found"),
        ({"since": ["now-1h", "now-7d"]}, 400, "bad_value"),
    ],
)
@pytest.mark.parametrize("path", [CONSOLE, "/console/analytics/"])
def test_what_is_no_range_or_no_log_of_ours_is_refused(
    acme: People, path: str, query: dict[str, Any], status: int, code: str
) -> None:
    answer = signed_in(acme.ben).get(path, query)
    assert answer.status_code == status
    assert f"<code>{code}</code>" in answer.content.decode()


def test_manufacturers_see_figures_of_their_agents_alone(acme: People) -> None:
    maker = person("mia", acme.acme, Role.MANUFACTURER)
    Membership.objects.get(user=maker).agents.add(acme.acme.agents.get(slug="stock-bot"))
    for path in (CONSOLE, "/console/analytics/"):
        page = shown(maker, path)
        assert "pricing-bot" not in page, path
        assert "1 decision from" in page
    assert tiles(shown(maker, CONSOLE))["Now"] == "1"


def test_strangers_of_another_organisation_see_nothing_of_it(acme: People) -> None:
    page = shown(acme.eve, CONSOLE)
    assert "Acme" not in page
    assert "pricing-bot" not in page


def test_hostile_names_stay_text(acme: People) -> None:
    record(acme.log, decision("<img src=x onerror=alert(1)> is what the label said."))
    page = shown(acme.ben, CONSOLE)
    assert "<img" not in page
    check(page)


# --- what needs attention


def test_nothing_waits_when_all_is_signed_and_searchable(acme: People) -> None:
    page = shown(acme.ben, CONSOLE)
    assert waiting(page) == []
    assert "Nothing waits" in page


def told(user: User, after: timedelta = timedelta()) -> list[str]:
    viewer = viewer_of(user)
    return [item.text for item in attention(viewer=viewer, states=logs_for(viewer), now=utc_now() + after)]


def test_entries_without_a_checkpoint_are_told_after_a_minute(
    acme: People, checkpointer: Checkpointer
) -> None:
    record(acme.log, decision(), decision())
    assert told(acme.ben, timedelta(seconds=50)) == []
    (text,) = told(acme.ben, timedelta(seconds=61))
    assert text.startswith("Acme: 2 entries wait for a checkpoint since ")
    checkpointer.turn()
    assert told(acme.ben, timedelta(hours=1)) == []


def test_search_behind_is_told_after_ten_seconds_or_a_hundred_entries(
    acme: People, checkpointer: Checkpointer
) -> None:
    append(acme.log, decision())
    checkpointer.turn()
    assert told(acme.ben, timedelta(seconds=8)) == []
    assert told(acme.ben, timedelta(seconds=11)) == ["Acme: search is 1 entry behind."]
    append(acme.log, *[decision() for _ in range(100)])
    checkpointer.turn()
    assert told(acme.ben) == ["Acme: search is 101 entries behind."]
    while project_search(log_id=acme.log.id):
        pass
    assert told(acme.ben, timedelta(hours=1)) == []


def test_failed_verification_and_mode_come_first_until_they_are_over(acme: People) -> None:
    now = utc_now()
    ErasureRequest.objects.create(
        log=acme.log, uid=first(acme).uid, basis="legal_order", requested_by="staff:x",
        requested_at=now,
    )  # fmt: skip
    acme.log.verifications.create(started_at=now, ok=False, kind="leaf_mismatch", first_bad_seq=7, next_seq=9)
    acme.log.mode = "halt"
    acme.log.save(update_fields=["mode"])
    page = shown(acme.ada, CONSOLE)
    check(page)
    assert waiting(page) == [
        "Acme: the last verification failed. First bad position: 7.",
        "Acme: the ledger is Halted and takes no new entries.",
        "1 erasure awaits approval.",
    ]
    acme.log.verifications.create(started_at=now + timedelta(seconds=1), ok=True, next_seq=12)
    acme.log.mode = "active"
    acme.log.save(update_fields=["mode"])
    assert told(acme.ada) == ["1 erasure awaits approval."]


def test_a_run_that_is_not_finished_hides_no_failure(acme: People) -> None:
    now = utc_now()
    acme.log.verifications.create(started_at=now, ok=False, kind="leaf_mismatch", next_seq=9)
    acme.log.verifications.create(started_at=now + timedelta(seconds=1), next_seq=3)
    assert told(acme.ben) == ["Acme: the last verification failed."]


def test_only_who_may_see_erasures_is_told_of_them(acme: People) -> None:
    ErasureRequest.objects.create(
        log=acme.log, uid=first(acme).uid, basis="legal_order", requested_by="staff:x",
        requested_at=utc_now(),
    )  # fmt: skip
    adam = person("adam", acme.acme, Role.ADMIN)
    assert (told(adam), told(acme.ben), told(acme.eve)) == (["1 erasure awaits approval."], [], [])


# --- its price


def test_overview_asks_no_more_for_more_rows(acme: People) -> None:
    browser = signed_in(acme.ben)
    browser.get(CONSOLE)
    with CaptureQueriesContext(connection) as few:
        browser.get(CONSOLE)
    record(
        acme.log,
        *[decision() for _ in range(60)],
        annotation(first(acme), "Looked at it again."),
    )
    keep_up(log_id=acme.log.id)
    with CaptureQueriesContext(connection) as many:
        assert browser.get(CONSOLE).status_code == 200
    assert len(many) <= len(few) + 1  # the first unsigned entry is looked up
    assert len(many) <= 24
    entry_queries = [query["sql"] for query in many if '"ledger_entry"' in query["sql"]]
    assert not [sql for sql in entry_queries if "OFFSET" in sql or "DISTINCT" in sql]
