"""The agent hears of a person's answer at its own endpoint, over real HTTP (FRICTION 10.1)."""

from __future__ import annotations

import base64
import json
import threading
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from django.db import IntegrityError, connections, transaction

from advisory.friction.models import (
    FrictionAdvice,
    FrictionComment,
    FrictionNotice,
    FrictionStepOutcome,
    FrictionWait,
    NoticeState,
    NotificationTarget,
    Occasion,
    TargetKind,
)
from advisory.friction.services.notifying import MAX_ATTEMPTS, notice_deliver, notices_due
from advisory.friction.services.reminding import remind
from ecp_project.api import delivery
from ecp_project.kernel.clock import format_time, utc_now
from ecp_project.kernel.ids import new_uuid7
from ecp_project.kernel.signing import b64url_decode, verify
from ledger.models import Agent, AgentStatus, Log, Mode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from tests.advisory.friction.world import World

pytestmark = pytest.mark.db
QUESTION = "Which of the invoices is it, please?"


class Endpoint:
    """An agent's own server; it answers by `statuses` in turn, and by 202 when they are used up."""

    def __init__(self) -> None:
        self.port = 0
        self.statuses: list[int] = []
        self.calls: list[tuple[dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/ecp"

    @property
    def documents(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.calls]


@contextmanager
def listening() -> Iterator[Endpoint]:
    endpoint = Endpoint()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            endpoint.calls.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(endpoint.statuses.pop(0) if endpoint.statuses else 202)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    endpoint.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def endpoint(world: World, settings: Any, tmp_path: Path) -> Iterator[Endpoint]:
    """The endpoint of the agent that asks in `world`."""
    settings.ECP_OUTBOUND_LOOPBACK = True
    settings.ECP_DELIVERY_KEY_FILE = tmp_path / "delivery.key"
    settings.ECP_DELIVERY_PUBLIC_KEYS = tmp_path / "delivery-keys.json"
    delivery.make_key(now=utc_now())
    with listening() as found:
        register(world, found.url)
        yield found


def register(world: World, url: str, **more: Any) -> None:
    Agent.objects.filter(pk=world.agent.agent.pk).update(endpoint=url, **more)


def answer(world: World, advice: dict[str, Any], n: int, what: str = "done", note: str = "") -> Any:
    page = f"/console/friction/frictionadvice/{advice['id']}/change/"
    return world.client("operator").post(page, {"n": str(n), "answer": what, "note": note})


def turn(minutes: int = 0) -> None:
    """What a worker does with all that is due."""
    at = utc_now() + timedelta(minutes=minutes)
    for notice_id in notices_due(now=at):
        notice_deliver(notice_id=notice_id, clock=lambda: at)


def told() -> list[tuple[str, int, str]]:
    rows = FrictionNotice.objects.filter(occasion=Occasion.ANSWERED).order_by("created_at", "pk")
    return list(rows.values_list("state", "attempts", "last_error"))


def test_done_is_told_once_with_ids_and_states_only(world: World, endpoint: Endpoint) -> None:
    advice = world.ask().json()
    answer(world, advice, 1, note="The counterparty is known to us since 2019.")
    turn()
    turn(10)
    row, outcome = FrictionNotice.objects.get(occasion="answered"), FrictionStepOutcome.objects.get()
    assert endpoint.documents == [
        {
            "v": "ecp.friction.answer/1",
            "id": str(row.pk),
            "org": "acme",
            "agent": "pay-agent-3",
            "advice_id": advice["id"],
            "n": 1,
            "outcome": "completed",
            "outcome_id": str(outcome.pk),
            "at": format_time(outcome.at),
            "url": endpoint.documents[0]["url"],
        }
    ]
    assert told() == [("delivered", 1, "")]
    path = endpoint.documents[0]["url"].partition("/api/v1/friction/")[2]
    [seen] = world.get(path).json()["outcomes"]
    assert (seen["note"], seen["at"]) == (
        "The counterparty is known to us since 2019.",
        format_time(outcome.at),
    )


def test_declined_and_a_comment_are_told_without_their_words(world: World, endpoint: Endpoint) -> None:
    advice = world.ask().json()
    answer(world, advice, 3, "comment", QUESTION)
    answer(world, advice, 3, "comment", QUESTION + " And when?")
    answer(world, advice, 2, "declined", QUESTION)
    turn()
    found = sorted((one["n"], one["outcome"], one["outcome_id"]) for one in endpoint.documents)
    comments = sorted(str(pk) for pk in FrictionComment.objects.values_list("pk", flat=True))
    declined = str(FrictionStepOutcome.objects.get().pk)
    assert found == [(2, "skipped", declined), *((3, "commented", pk) for pk in comments)]
    assert not any(b"invoices" in body for _, body in endpoint.calls)


def test_expiry_is_told_under_a_standing_bypass_too(world: World, endpoint: Endpoint) -> None:
    body = {
        "reason_text": "The whole team is watching.",
        "expires_at": (utc_now() + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    assert world.post("standing-bypasses/", body, "operator").status_code == 201
    world.ask()
    assert FrictionAdvice.objects.get().standing_id is not None
    past = utc_now() - timedelta(days=2)
    FrictionWait.objects.update(opened_at=past, due_at=past + timedelta(days=1), next_at=past)
    remind(log=world.people.log, now=utc_now())
    turn()
    assert sorted((one["n"], one["outcome"]) for one in endpoint.documents) == [
        (1, "expired"), (2, "expired"), (3, "expired"),
    ]  # fmt: skip


def test_what_the_agent_reports_itself_is_not_told_to_it(world: World, endpoint: Endpoint) -> None:
    advice = world.ask().json()
    done = world.post(f"advice/{advice['id']}/steps/1/outcome/", {"outcome": "completed"})
    assert (done.status_code, told(), endpoint.calls) == (201, [], [])


def test_an_operator_s_report_by_the_api_is_told(world: World, endpoint: Endpoint) -> None:
    advice = world.ask().json()
    path = f"advice/{advice['id']}/steps/1/outcome/"
    assert world.post(path, {"outcome": "not_applicable"}, "operator").status_code == 201
    turn()
    assert [(one["n"], one["outcome"]) for one in endpoint.documents] == [(1, "not_applicable")]


@pytest.mark.parametrize(
    "change",
    [{"url": ""}, {"status": AgentStatus.SUSPENDED}, {"status": AgentStatus.RETIRED}],
)
def test_an_agent_without_an_active_endpoint_gets_no_message(
    world: World, endpoint: Endpoint, change: dict[str, Any]
) -> None:
    advice = world.ask().json()
    register(world, **({"url": endpoint.url} | change))
    assert answer(world, advice, 1).status_code == 302
    answer(world, advice, 2, "comment", QUESTION)
    assert (told(), endpoint.calls) == ([], [])
    assert FrictionStepOutcome.objects.count() == 1


def test_an_endpoint_of_another_organisation_s_agent_of_this_name_is_not_called(
    world: World, endpoint: Endpoint
) -> None:
    register(world, "")
    Agent.objects.filter(pk=world.stranger.agent.pk).update(endpoint=endpoint.url)
    answer(world, world.ask().json(), 1)
    assert told() == []


def test_503_is_tried_again_with_the_same_key_and_bytes_under_a_signature_that_verifies(
    world: World, endpoint: Endpoint
) -> None:
    endpoint.statuses = [503]
    answer(world, world.ask().json(), 1)
    turn()
    assert told() == [("pending", 1, "status_503")]
    turn()
    assert len(endpoint.calls) == 1  # not at once
    turn(10)
    assert told() == [("delivered", 2, "")]
    (first, body), (second, again) = endpoint.calls
    row = FrictionNotice.objects.get(occasion="answered")
    assert body == again
    assert first["idempotency-key"] == second["idempotency-key"] == str(row.pk)
    [key] = delivery.public_keys()
    for headers in (first, second):
        parameters = headers["signature-input"].removeprefix("ecp=")
        base = delivery.signature_base(endpoint.url, headers["content-digest"], str(row.pk), parameters)
        signature = base64.b64decode(headers["signature"].removeprefix("ecp=:").removesuffix(":"))
        assert verify(b64url_decode(key["public_key"]), signature, base)


def test_attempts_end_and_the_page_shows_it(world: World, endpoint: Endpoint) -> None:
    endpoint.statuses = [503] * 9
    advice = world.ask().json()
    answer(world, advice, 1)
    for minutes in range(0, 100, 10):
        turn(minutes)
    assert told() == [("failed", MAX_ATTEMPTS, "status_503")]
    assert len(endpoint.calls) == MAX_ATTEMPTS
    page = world.client("viewer").get(f"/console/friction/frictionadvice/{advice['id']}/change/")
    text = page.content.decode()
    assert "<bdi>pay-agent-3</bdi>: The agent is told (Completed)</th><td>Failed, 6 attempts" in text


def test_404_is_final_and_changes_nothing_of_the_answer(world: World, endpoint: Endpoint) -> None:
    endpoint.statuses = [404]
    advice = world.ask().json()
    answer(world, advice, 1)
    turn()
    turn(10)
    assert (told(), len(endpoint.calls)) == ([("failed", 1, "status_404")], 1)
    [outcome] = world.get(f"advice/{advice['id']}/").json()["outcomes"]
    assert (outcome["n"], outcome["outcome"]) == (1, "completed")


def test_a_private_address_is_refused_by_the_guard(world: World, endpoint: Endpoint) -> None:
    register(world, "https://10.0.0.7/hook")
    answer(world, world.ask().json(), 1)
    turn()
    turn(10)
    [(state, attempts, error)] = told()
    assert (state, attempts, error.partition("_")[0]) == ("failed", 1, "blocked")
    assert endpoint.calls == []


def test_an_endpoint_that_is_taken_away_meanwhile_is_not_called(world: World, endpoint: Endpoint) -> None:
    answer(world, world.ask().json(), 1)
    register(world, endpoint.url, status=AgentStatus.SUSPENDED)
    turn()
    assert (told(), endpoint.calls) == ([("failed", 1, "no_active_endpoint")], [])


def test_two_workers_send_once(world: World, endpoint: Endpoint) -> None:
    answer(world, world.ask().json(), 1)
    now = utc_now()
    [due] = [one for one in notices_due(now=now) if FrictionNotice.objects.get(pk=one).outcome_id]
    barrier = threading.Barrier(2)

    def work() -> None:
        barrier.wait(10)
        notice_deliver(notice_id=due, clock=lambda: now)
        connections.close_all()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert (told(), len(endpoint.calls)) == ([("delivered", 1, "")], 1)


def test_a_ledger_that_takes_nothing_keeps_neither_answer_nor_message(
    world: World, endpoint: Endpoint
) -> None:
    advice = world.ask().json()
    Log.objects.filter(pk=world.people.log.pk).update(mode=Mode.HALT)
    refused = [answer(world, advice, 1), answer(world, advice, 2, "comment", QUESTION)]
    assert [one.status_code for one in refused] == [503, 503]
    turn()
    assert (told(), endpoint.calls, FrictionStepOutcome.objects.count()) == ([], [], 0)
    assert FrictionComment.objects.count() == 0


def test_without_a_delivery_key_nothing_is_sent_unsigned_and_the_answer_stands(
    world: World, endpoint: Endpoint, settings: Any, tmp_path: Path
) -> None:
    settings.ECP_DELIVERY_KEY_FILE = tmp_path / "absent.key"
    advice = world.ask().json()
    answer(world, advice, 1)
    turn()
    assert (told(), endpoint.calls) == ([("pending", 1, "no_delivery_key")], [])
    assert world.get(f"advice/{advice['id']}/").json()["outcomes"][0]["outcome"] == "completed"


@pytest.mark.usefixtures("endpoint")
def test_the_database_refuses_a_message_that_is_about_no_answer(world: World) -> None:
    answer(world, world.ask().json(), 1)
    answer(world, {"id": str(FrictionAdvice.objects.get().pk)}, 2, "comment", QUESTION)
    desk = NotificationTarget.objects.create(
        organisation=world.people.acme, name="desk", kind=TargetKind.MAIL, address="desk@acme.example"
    )
    first, second = FrictionNotice.objects.filter(occasion="answered").order_by("n")
    rows = FrictionNotice.objects.filter(pk=first.pk)
    for change in (
        {"outcome": None},
        {"comment": second.comment},
        {"target": desk},
        {"state": NoticeState.UNDELIVERABLE},
        {"occasion": Occasion.FIRST},
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            rows.update(**change)
    now: datetime = utc_now()
    again = {"advice": first.advice, "n": 1, "occasion": Occasion.ANSWERED, "created_at": now}
    with pytest.raises(IntegrityError, match="outcome"), transaction.atomic():
        FrictionNotice.objects.create(
            id=new_uuid7(now), target_name="pay-agent-3", outcome=first.outcome, state="pending", **again
        )
