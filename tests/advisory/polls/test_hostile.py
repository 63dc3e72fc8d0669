"""Agents that mean harm: whatever they do, the delivery ends at its cap and the invitation in its class."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from django.conf import settings as project_settings

from advisory.polls.models import PollInvitation, PollResponse
from advisory.polls.services import delivery as deliveries
from ecp_project.api import calls, delivery, outbound
from ecp_project.api.outbound import GuardedTransport
from ecp_project.kernel.clock import utc_now
from ledger.models import Agent
from tests.factories.polls import Story, asked_agents
from tests.security.peers import answering, listening, read_request

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from tests.people import People
    from tests.security.peers import Peer

pytestmark = pytest.mark.db
CAP_S = 0.6  # stands in for the ten seconds of the whole exchange
SLACK_S = 1.5


@pytest.fixture(autouse=True)
def _hurried(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.ECP_DELIVERY_KEY_FILE = tmp_path / "delivery.key"
    settings.ECP_DELIVERY_PUBLIC_KEYS = tmp_path / "delivery-keys.json"
    delivery.make_key(now=utc_now())
    assert outbound.TOTAL_TIMEOUT_S == 10
    assert outbound.CONNECT_TIMEOUT_S == 3
    monkeypatch.setattr(GuardedTransport, "_exchange", _exchange(CAP_S, GuardedTransport._exchange))


def _exchange(cap_s: float, ordinary: Any) -> Any:
    """The ordinary exchange with less patience; everything else is as in production."""

    def hurried(guard: GuardedTransport, request: Any) -> Any:
        object.__setattr__(guard, "total_timeout_s", cap_s)
        return ordinary(guard, request)

    return hurried


def hang(connection: socket.socket, peer: Peer) -> None:
    peer.requests.append(read_request(connection))
    time.sleep(CAP_S + SLACK_S)


def trickle(connection: socket.socket, peer: Peer) -> None:
    peer.requests.append(read_request(connection))
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n" + b"x" * 64:
        connection.sendall(bytes([byte]))
        time.sleep(0.1)


def flood(connection: socket.socket, peer: Peer) -> None:
    peer.requests.append(read_request(connection))
    connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    while True:  # ends when the other side hangs up
        connection.sendall(b"x" * 65_536)


REDIRECT = answering(
    b"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
)
BOMB = answering(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00")


def delivered(people: People, url: str) -> PollInvitation:
    (agent,) = asked_agents(people, 1)
    Agent.objects.filter(pk=agent.pk).update(endpoint=url)
    story = Story(people, {"n": 1}).opened()
    (invitation_id,) = deliveries.sweep(now=story.now)
    started = time.monotonic()
    deliveries.invitation_deliver(
        invitation_id=invitation_id, clock=lambda: story.now, jitter=lambda most: most
    )
    assert time.monotonic() - started < CAP_S + SLACK_S
    return PollInvitation.objects.get(pk=invitation_id)


@pytest.mark.parametrize(
    ("speak", "state", "error"),
    [
        (hang, "pending", "timeout"),
        (trickle, "pending", "timeout"),
        (flood, "unreachable", "blocked_too_large"),
        (REDIRECT, "unreachable", "blocked_redirect"),
        (answering(b"\x16\x03\x01 this is no HTTP\r\n\r\n"), "pending", "connection"),
        (BOMB, "unreachable", "blocked_encoding"),
    ],
    ids=["hang", "trickle", "flood", "redirect", "junk", "bomb"],
)
def test_whatever_the_agent_does_ends_at_its_cap(
    people: People, speak: Callable[[socket.socket, Peer], None], state: str, error: str
) -> None:
    with listening(speak) as peer:
        invitation = delivered(people, f"http://127.0.0.1:{peer.port}/poll")
        assert peer.connections == 1
    assert invitation.state == state
    assert invitation.last_error == error
    assert not PollResponse.objects.exists()


def test_name_that_turns_to_this_machine_between_look_ups_is_not_called(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rebinding: the address that was checked is the one that is called, and each delivery checks anew."""
    looked_up: list[str] = []

    def turning(host: str, _port: int) -> list[str]:
        looked_up.append(host)
        return ["10.0.0.7"] if len(looked_up) > 1 else ["127.0.0.1"]

    with listening(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as peer:
        monkeypatch.setattr(outbound, "client", lambda: _client(turning))
        invitation = delivered(people, "https://agents.acme-pay.com/poll")
        assert peer.connections == 0
    assert looked_up == ["agents.acme-pay.com"]
    assert (invitation.state, invitation.last_error) == ("unreachable", "blocked_address")


def _client(resolver: Any) -> Any:
    import httpx  # noqa: PLC0415 - of this test alone

    guard = GuardedTransport(resolver=resolver, allowed_ports=project_settings.ECP_AGENT_ALLOWED_PORTS)
    return httpx.Client(transport=guard, trust_env=False)


def test_request_is_small_and_answer_is_counted_after_its_last_byte() -> None:
    assert calls.MAX_REQUEST == 16 * 1024
    assert outbound.MAX_ANSWER == 64 * 1024
