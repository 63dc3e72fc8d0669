"""Messages to people: by mail and over real HTTP, retried, and never lost from sight (FRICTION 10.1)."""

from __future__ import annotations

import json
import smtplib
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from advisory.friction.models import FrictionNotice, NotificationTarget, TargetKind
from advisory.friction.services.notifying import MAX_ATTEMPTS, notice_deliver, notices_due
from ecp_project.api import delivery
from ecp_project.kernel.clock import utc_now
from tests.advisory.friction.rulefile import HEAD, SCALE, rulefile
from tests.advisory.friction.world import activate

if TYPE_CHECKING:
    from pathlib import Path

    from tests.advisory.friction.world import World

pytestmark = pytest.mark.db
NOTIFY = SCALE.replace("low: {steps: []}", "low: {steps: [{type: notify, to: [duty], within_minutes: 15}]}")


@pytest.fixture
def told(bare_world: World) -> World:
    """Rules under which every proposal is told to `duty`."""
    activate(bare_world.people, rulefile(head=HEAD, scale=NOTIFY).encode())
    return bare_world


def target(world: World, address: str = "duty@acme.example", kind: TargetKind = TargetKind.MAIL) -> Any:
    return NotificationTarget.objects.create(
        organisation=world.people.acme, name="duty", kind=kind, address=address
    )


def turn(minutes: int = 0) -> None:
    """What a worker does with all that is due."""
    at = utc_now() + timedelta(minutes=minutes)
    for notice_id in notices_due(now=at):
        notice_deliver(notice_id=notice_id, clock=lambda: at)


def state() -> tuple[str, int, str]:
    row = FrictionNotice.objects.get()
    return row.state, row.attempts, row.last_error


def test_a_mail_names_the_advice_and_nothing_private(told: World, mailoutbox: list[Any]) -> None:
    target(told)
    advice = told.ask().json()
    turn()
    [mail] = mailoutbox
    assert (mail.to, state()) == (["duty@acme.example"], ("delivered", 1, ""))
    assert advice["id"] in mail.body
    assert "2500000" not in mail.body + mail.subject
    turn(10)
    assert len(mailoutbox) == 1


def test_a_name_without_an_active_target_is_shown_as_undeliverable(
    told: World, mailoutbox: list[Any]
) -> None:
    target(told)
    NotificationTarget.objects.update(active=False)
    advice = told.ask().json()
    turn()
    assert (mailoutbox, state()[0]) == ([], "undeliverable")
    page = told.client("viewer").get(f"/console/friction/frictionadvice/{advice['id']}/change/")
    assert b"no active target of this name" in page.content


class DeadServer:
    def __init__(self, **_: Any) -> None: ...

    def send_messages(self, _: Any) -> int:
        raise smtplib.SMTPServerDisconnected("gone")


def test_a_mail_server_that_is_down_is_tried_again_and_then_shown(told: World, settings: Any) -> None:
    settings.EMAIL_BACKEND = f"{__name__}.DeadServer"
    target(told)
    advice = told.ask().json()
    turn()
    turn()
    assert state() == ("pending", 1, "mail_failed")
    for minutes in range(10, 100, 10):
        turn(minutes)
    assert state() == ("failed", MAX_ATTEMPTS, "mail_failed")
    page = told.client("viewer").get(f"/console/friction/frictionadvice/{advice['id']}/change/")
    assert b"mail_failed" in page.content


def test_a_message_whose_workers_are_killed_ends_as_failed(told: World, mailoutbox: list[Any]) -> None:
    target(told)
    told.ask()
    FrictionNotice.objects.update(attempts=MAX_ATTEMPTS)  # each one claimed it and told nothing any more
    turn()
    assert (mailoutbox, state()) == ([], ("failed", MAX_ATTEMPTS, "worker_lost"))


@pytest.fixture
def delivery_key(settings: Any, tmp_path: Path) -> None:
    settings.ECP_DELIVERY_KEY_FILE = tmp_path / "delivery.key"
    settings.ECP_DELIVERY_PUBLIC_KEYS = tmp_path / "delivery-keys.json"
    delivery.make_key(now=utc_now())


@pytest.mark.usefixtures("delivery_key")
def test_a_webhook_gets_a_signed_document(told: World, settings: Any) -> None:
    settings.ECP_OUTBOUND_LOOPBACK = True
    calls: list[tuple[dict[str, str], bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            calls.append((dict(self.headers.items()), body))
            self.send_response(202)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    server.timeout = 30  # a message that never comes must fail the test, not stop it
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    target(told, f"http://127.0.0.1:{server.server_port}/hook", TargetKind.WEBHOOK)
    advice = told.ask().json()
    turn()
    thread.join()
    server.server_close()
    [(headers, body)] = calls
    document = json.loads(body)
    assert (document["v"], document["occasion"]) == ("ecp.friction.notice/1", "first")
    assert (document["advice"]["id"], document["step"]["type"]) == (advice["id"], "notify")
    sent = {name.lower(): value for name, value in headers.items()}
    assert "signature" in sent
    assert sent["idempotency-key"] == document["id"]
    assert state() == ("delivered", 1, "")


@pytest.mark.usefixtures("delivery_key")
def test_a_webhook_to_a_private_address_is_refused_by_the_guard(told: World) -> None:
    target(told, "https://10.0.0.7/hook", TargetKind.WEBHOOK)
    told.ask()
    turn()
    found, attempts, error = state()
    assert (found, attempts) == ("failed", 1)
    assert error.startswith("blocked_")


def test_admins_keep_the_targets_and_each_change_is_on_record(told: World) -> None:
    admin, path = told.client("admin"), "/console/friction/notificationtarget/add/"
    form = {"organisation": str(told.people.acme.pk), "name": "duty", "kind": "webhook", "active": "on"}
    refused = admin.post(path, form | {"address": "http://10.0.0.7/"})
    assert refused.status_code == 200
    assert not NotificationTarget.objects.exists()
    before = len(told.statements("ecp.staff/1"))
    assert admin.post(path, form | {"address": "https://hooks.example.com/ecp"}).status_code == 302
    [act] = told.statements("ecp.staff/1")[before:]
    assert (act["action"], act["object"]) == ("notificationtarget.register", "notificationtarget:duty")
    assert told.client("operator").post(path, form).status_code == 403
