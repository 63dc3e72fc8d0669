"""The live feed over HTTP: who may listen, what comes when, what survives a fault (CONSOLE section 10)."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from prometheus_client import REGISTRY

from ecp_project.console.sse import Pace
from ecp_project.console.stream import StreamApplication
from ledger.models import Log, Membership
from ledger.selectors.heads import HEADS_SQL
from tests.console.desk import HOSTILE, ROLES, decision, record, signed_in
from tests.console.live import serving
from tests.people import person

if TYPE_CHECKING:
    from ledger.checkpointer import Checkpointer
    from tests.console.live import Live
    from tests.people import People

pytestmark = [pytest.mark.db, pytest.mark.e2e]


def without_id(problem: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in problem.items() if name != "request_id"}


def test_open_stream_hears_of_each_checkpoint_and_of_no_content(
    people: People, checkpointer: Checkpointer, live: Live
) -> None:
    with live.open(signed_in(people.ben), query={"log": "acme"}) as told:
        headers = dict(told.answer.getheaders())
        assert headers["content-type"] == "text/event-stream"
        assert headers["cache-control"] == "no-store"
        assert headers["x-accel-buffering"] == "no"
        assert "x-request-id" in headers
        assert told.answer.readline() == b"retry: 3000\n"
        assert told.next() == ("hello", {"log": "acme", "size": 0, "mode": "active"})
        record(people.log, decision(HOSTILE), decision())
        checkpointer.turn()
        assert told.until("grown") == {"log": "acme", "size": 2, "added": 2}
        assert told.until("checkpoint") == {"log": "acme", "size": 2}


def test_stream_that_comes_back_gets_the_difference_at_once(
    people: People, checkpointer: Checkpointer, live: Live
) -> None:
    record(people.log, decision(), decision(), decision())
    checkpointer.turn()
    browser = signed_in(people.ben)
    cases: list[tuple[dict[str, int], dict[str, str], int]] = [
        ({"after": 1}, {}, 2),
        ({}, {"Last_Event_ID": "1"}, 2),
        ({"after": 1}, {"Last_Event_ID": "2"}, 1),
        ({"after": 2}, {"Last_Event_ID": "1"}, 1),
    ]
    for query, headers, added in cases:
        with live.open(browser, headers=headers, query={"log": "acme"} | query) as told:
            assert told.next()[0] == "hello"
            assert told.next() == ("grown", {"log": "acme", "size": 3, "added": added})


def test_change_of_mode_and_unsigned_growth_come_with_the_next_reading(people: People, live: Live) -> None:
    with live.open(signed_in(people.ben)) as told:
        told.until("hello")
        record(people.log, decision())
        Log.objects.filter(pk=people.log.pk).update(mode="halt")
        assert told.until("grown")["size"] == 1
        assert told.until("mode") == {"log": "acme", "mode": "halt"}


def test_killed_listening_connection_is_made_anew(
    people: People, checkpointer: Checkpointer, live: Live, cluster: Any
) -> None:
    with live.open(signed_in(people.ben)) as told:
        told.until("hello")
        with cluster.connect() as admin:
            killed = admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = %s AND query = %s AND pid <> pg_backend_pid()",
                (connection.settings_dict["NAME"], HEADS_SQL.replace("%s", "$1")),
            ).fetchall()
        assert killed
        record(people.log, decision())
        checkpointer.turn()
        assert told.until("grown")["size"] == 1
        assert REGISTRY.get_sample_value("ecp_stream_listening") == 1


@pytest.mark.usefixtures("people")
def test_strangers_get_401_and_never_the_sign_in_page(live: Live) -> None:
    for path in ("/console/stream/", "/console/stream/?log=acme", "/console/stream/?log=nowhere"):
        with live.open(path=path) as told:
            assert told.status == 401
            assert told.problem()["code"] == "credentials_missing"
            assert told.answer.getheader("Location") is None


def test_another_organisation_s_log_is_one_that_does_not_exist(people: People, live: Live) -> None:
    with live.open(signed_in(people.eve), query={"log": "acme"}) as foreign:
        found = foreign.problem()
    with live.open(signed_in(people.eve), query={"log": "nowhere"}) as unknown:
        assert without_id(unknown.problem()) == without_id(found)
    assert (foreign.status, unknown.status) == (404, 404)


@pytest.mark.parametrize("role", ROLES)
def test_every_role_hears_of_its_own_organisation_alone(people: People, live: Live, role: str) -> None:
    for browser, status in (
        (signed_in(person(f"{role}-here", people.acme, role)), 200),
        (signed_in(person(f"{role}-there", people.other, role)), 404),
    ):
        with live.open(browser, query={"log": "acme"}) as told:
            assert told.status == status
        assert browser.get("/console/stream/poll/", {"log": "acme"}).status_code == status


def test_people_without_a_membership_or_staff_mark_are_refused(people: People, live: Live) -> None:
    lone = signed_in(people.ben)
    Membership.objects.filter(user=people.ben).delete()
    with live.open(lone) as told:
        assert (told.status, told.problem()["code"]) == (403, "role_missing")
    assert len(live.application.hub) == 0


@pytest.mark.parametrize(
    ("query", "code"),
    [("after=x", "invalid_cursor"), ("after=1&after=2", "bad_value"), ("colour=red", "unknown_key")],
)
def test_wrong_parameters_are_named(people: People, live: Live, query: str, code: str) -> None:
    with live.open(signed_in(people.ben), path=f"/console/stream/?{query}") as told:
        assert (told.status, told.problem()["code"]) == (400, code)


def test_seventh_stream_of_a_person_is_told_when_to_come_again(people: People, live: Live) -> None:
    browser = signed_in(people.ben)
    open_ = [live.open(browser) for _ in range(6)]
    live.until(6)
    with live.open(browser) as seventh:
        assert (seventh.status, seventh.problem()["code"]) == (429, "rate_limited")
        assert seventh.answer.getheader("Retry-After") == "10"
    with live.open(signed_in(people.ada)) as other:
        assert other.status == 200
    for told in open_:
        told.close()
    live.until(0)
    with live.open(browser) as again:
        assert again.status == 200


def test_process_serves_nothing_but_the_feed_and_probes(people: People, live: Live) -> None:
    browser = signed_in(people.ben)
    for path in ("/console/", "/console/stream/poll/", "/api/v1/logs/", "/console/stream", "/metrics"):
        with live.open(browser, path=path) as told:
            assert (told.status, told.problem()["code"]) == (404, "not_found"), path
    for path in ("/livez", "/readyz", "/startupz"):
        with live.open(path=path) as told:
            assert told.status == 200, path


def test_stream_whose_session_was_ended_goes_no_further_than_its_goodbye(people: People) -> None:
    browser = signed_in(people.ben)
    with serving(Pace(life_s=0.5)) as live:
        with live.open(browser) as told:
            assert told.next()[0] == "hello"
            Session.objects.all().delete()
            assert told.next()[0] == "bye"
            assert told.next()[0] == ""
        with live.open(browser) as told:
            assert told.status == 401


def test_server_that_ends_says_goodbye_to_all(people: People) -> None:
    with serving(Pace()) as live:
        open_ = [live.open(signed_in(user)) for user in (people.ada, people.ben)]
        for told in open_:
            assert told.next()[0] == "hello"
        began = time.monotonic()
    assert time.monotonic() - began < 1.5
    for told in open_:
        assert told.until("bye") == {"log": "acme"}
        told.close()


def test_client_that_takes_nothing_gives_its_place_up(people: People) -> None:
    session = signed_in(people.ben).cookies["sessionid"].value
    application = StreamApplication(per_user=6, pace=Pace(write_s=0.05))
    scope = {
        "type": "http", "method": "GET", "path": "/console/stream/", "query_string": b"",
        "headers": [(b"host", b"127.0.0.1"), (b"cookie", f"sessionid={session}".encode())],
        "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 9),
    }  # fmt: skip
    sent: list[Any] = []

    async def never() -> Any:
        await asyncio.Event().wait()

    async def stalled(message: Any) -> None:
        sent.append(message)
        if message["type"] == "http.response.body":
            assert len(application.hub) == 1
            await never()

    asyncio.run(application(scope, never, stalled))
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert len(application.hub) == 0


def test_pages_of_the_console_and_no_others_may_read_a_stream_of_another_origin(
    people: People, live: Live, settings: Any
) -> None:
    console, elsewhere = settings.ECP_BASE_URL, "http://127.0.0.1:9"
    settings.ECP_STREAM_URL = "http://127.0.0.1:8999"
    browser = signed_in(people.ben)
    for client, status in ((browser, 200), (None, 401)):
        with live.open(client, headers={"Origin": console}) as told:
            assert told.status == status
            assert told.answer.getheader("Access-Control-Allow-Origin") == console
            assert told.answer.getheader("Access-Control-Allow-Credentials") == "true"
        with live.open(client, headers={"Origin": elsewhere}) as told:
            assert told.answer.getheader("Access-Control-Allow-Origin") is None
    settings.ECP_STREAM_URL = ""
    with live.open(browser, headers={"Origin": console}) as told:
        assert told.answer.getheader("Access-Control-Allow-Origin") is None


def test_web_process_has_no_door_for_streams(people: People) -> None:
    assert Client().get("/console/stream/").status_code == 401
    answer = signed_in(people.ben).get("/console/stream/")
    assert (answer.status_code, answer.content) == (204, b"")


# --- the same news for browsers that cannot listen


def poll(user: Any, *, tag: str = "", **query: Any) -> Any:
    return signed_in(user).get("/console/stream/poll/", query, headers={"If-None-Match": tag} if tag else {})


def test_polling_tells_size_and_difference_and_nothing_when_nothing_is_new(people: People) -> None:
    record(people.log, decision(), decision())
    answer = poll(people.ben, log="acme", after=1)
    assert answer.json() == {"size": 2, "added": 1, "mode": "active"}
    assert answer.headers["ETag"] == '"2"'
    again = poll(people.ben, tag='"2"', log="acme", after=2)
    assert (again.status_code, again.content) == (304, b"")
    record(people.log, decision())
    assert poll(people.ben, tag='"2"', log="acme", after=2).json()["added"] == 1
    Log.objects.filter(pk=people.log.pk).update(mode="halt")
    assert poll(people.ben, tag='"3"', log="acme", after=3).json()["mode"] == "halt"


def test_polling_counts_what_a_list_would_gain(people: People) -> None:
    record(people.log, decision(zone="operator"))
    record(people.log, decision("Sold a chair, as it was in the way."), *[decision() for _ in range(100)])
    about: dict[str, Any] = {"log": "acme", "after": 1, "list": "decision"}
    assert poll(people.ben, **about, q="chair").json() == {
        "size": 102, "added": 101, "mode": "active", "matching": 1, "behind": 0,
    }  # fmt: skip
    assert poll(people.ben, **about, q="zone:operator").json()["matching"] == 0
    assert poll(people.ben, **about).json()["matching"] == 100
    maker = person("maker", people.acme, "manufacturer")
    assert poll(maker, **about).json()["matching"] == 0


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ({"after": "x"}, 400, "invalid_cursor"),
        ({"log": "umbra"}, 404, "not_found"),
        ({"list": "agent"}, 400, "bad_value"),
        ({"list": "entry", "q": "colour:red"}, 400, "unknown_key"),
        ({"before": 1}, 400, "unknown_key"),
    ],
)
def test_wrong_polls_are_problems(people: People, query: dict[str, Any], status: int, code: str) -> None:
    answer = poll(people.ben, **query)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_strangers_may_not_poll_and_nobody_may_write(people: People) -> None:
    answer = Client().get("/console/stream/poll/")
    assert (answer.status_code, answer.json()["code"]) == (401, "credentials_missing")
    assert signed_in(people.ben).post("/console/stream/poll/").status_code == 405
