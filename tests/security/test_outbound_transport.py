"""The transport against real peers on loopback.

Hang, trickle, flood, redirect, rebinding, wrong certificate.
"""

from __future__ import annotations

import ssl
import time
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from prometheus_client import REGISTRY

from ecp_project.api.outbound import MAX_ANSWER, GuardedTransport, client, system_resolver
from ecp_project.kernel.outbound import Refused
from tests.security.peers import Peer, answering, certificate, listening, read_request

if TYPE_CHECKING:
    import socket
    from collections.abc import Collection
    from pathlib import Path

pytestmark = pytest.mark.unit

NAME = "agents.acme-pay.com"
LOOPBACK = (ip_network("127.0.0.0/8"),)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nSet-Cookie: a=b\r\n\r\nhi"


class Resolver:
    """Gives its answers in turn, then the last one for ever."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    def __call__(self, host: str, port: int) -> Collection[str]:
        self.asked.append((host, port))
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def guarded(**changes: Any) -> httpx.Client:
    options: dict[str, Any] = {
        "resolver": Resolver(["127.0.0.1"]),
        "allowed_networks": LOOPBACK,
        "allow_loopback_http": True,
        "total_timeout_s": 3.0,
    }
    return httpx.Client(transport=GuardedTransport(**options | changes), trust_env=False)


def plain(peer: Peer) -> str:
    return f"http://127.0.0.1:{peer.port}/poll?x=1"


def blocked(reason: str) -> float:
    return REGISTRY.get_sample_value("ecp_outbound_blocked_total", {"reason": reason}) or 0.0


def test_honest_peer_is_heard() -> None:
    with listening(answering(OK)) as peer, guarded() as http:
        answer = http.post(plain(peer), content=b"{}", headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.content) == (200, b"hi")
    head = peer.requests[0].decode()
    assert head.startswith("POST /poll?x=1 HTTP/1.1\r\n")
    assert "Accept-Encoding: identity" in head
    assert "gzip" not in head


def test_nothing_is_remembered_between_requests() -> None:
    with listening(answering(OK)) as peer, guarded() as http:
        http.get(plain(peer))
        http.get(plain(peer))
        assert dict(http.cookies) == {}
    assert b"cookie" not in peer.requests[1].lower()
    assert peer.connections == 2


def test_name_is_kept_for_host_and_certificate_while_the_checked_address_is_dialled(tmp_path: Path) -> None:
    server, trust = certificate(tmp_path, NAME)
    resolver = Resolver(["127.0.0.1"])
    with (
        listening(answering(OK), tls=server) as peer,
        guarded(resolver=resolver, ssl_context=trust, allowed_ports={peer.port}) as http,
    ):
        answer = http.get(f"https://{NAME}:{peer.port}/")
    assert answer.status_code == 200
    assert peer.server_names == [NAME]
    assert f"Host: {NAME}:{peer.port}".encode() in peer.requests[0]
    assert resolver.asked == [(NAME, peer.port)]


def test_certificate_of_another_name_is_refused(tmp_path: Path) -> None:
    server, trust = certificate(tmp_path, "other.acme-pay.com")
    with (
        listening(answering(OK), tls=server) as peer,
        guarded(ssl_context=trust, allowed_ports={peer.port}) as http,
        pytest.raises(httpx.TransportError),
    ):
        http.get(f"https://{NAME}:{peer.port}/")
    assert peer.requests == []


def test_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    server, _ = certificate(tmp_path, NAME)
    with (
        listening(answering(OK), tls=server) as peer,
        guarded(allowed_ports={peer.port}) as http,
        pytest.raises(httpx.TransportError),
    ):
        http.get(f"https://{NAME}:{peer.port}/")
    assert peer.requests == []


def test_name_that_changes_its_address_is_asked_once_and_dialled_where_it_was_checked(tmp_path: Path) -> None:
    server, trust = certificate(tmp_path, NAME)
    resolver = Resolver(["127.0.0.1"], ["10.0.0.1"])
    with (
        listening(answering(OK), tls=server) as peer,
        guarded(resolver=resolver, ssl_context=trust, allowed_ports={peer.port}) as http,
    ):
        assert http.get(f"https://{NAME}:{peer.port}/").status_code == 200
        with pytest.raises(Refused):
            http.get(f"https://{NAME}:{peer.port}/")
    assert len(resolver.asked) == 2
    assert peer.connections == 1


def test_one_private_address_among_public_ones_is_refused_before_any_connection() -> None:
    before = blocked("address")
    with guarded(resolver=Resolver(["8.8.8.8", "10.0.0.1"])) as http, pytest.raises(Refused):
        http.get(f"https://{NAME}/")
    assert blocked("address") == before + 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 304])
def test_redirect_is_a_failure_and_is_not_followed(status: int) -> None:
    with listening(answering(OK)) as inside:
        answer = (
            f"HTTP/1.1 {status} X\r\nLocation: http://127.0.0.1:{inside.port}/\r\nContent-Length: 0\r\n\r\n"
        )
        with (
            listening(answering(answer.encode())) as peer,
            guarded() as http,
            pytest.raises(Refused) as caught,
        ):
            http.get(plain(peer), follow_redirects=True)
    assert caught.value.reason == "redirect"
    assert inside.connections == 0


def test_answer_of_64_kib_passes_and_one_byte_more_does_not() -> None:
    for size, passes in ((MAX_ANSWER, True), (MAX_ANSWER + 1, False)):
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size
        with listening(answering(answer)) as peer, guarded() as http:
            if passes:
                assert len(http.get(plain(peer)).content) == size
            else:
                with pytest.raises(Refused) as caught:
                    http.get(plain(peer))
                assert caught.value.reason == "too_large"


def test_endless_answer_is_cut_off() -> None:
    sent = 0

    def flood(connection: socket.socket, peer: Peer) -> None:
        nonlocal sent
        peer.requests.append(read_request(connection))
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            sent += connection.send(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")

    with listening(flood) as peer, guarded() as http, pytest.raises(Refused):
        http.get(plain(peer))
    assert sent < 20_000_000


def test_compressed_answer_is_refused_unread() -> None:
    bomb = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00"
    with listening(answering(bomb)) as peer, guarded() as http, pytest.raises(Refused) as caught:
        http.get(plain(peer))
    assert caught.value.reason == "encoding"


def hang(connection: socket.socket, peer: Peer) -> None:
    peer.requests.append(read_request(connection))
    connection.recv(1)


def trickle_head(connection: socket.socket, peer: Peer) -> None:
    peer.requests.append(read_request(connection))
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while True:
        connection.sendall(b"x")
        time.sleep(0.05)


def trickle_body(connection: socket.socket, peer: Peer) -> None:
    peer.requests.append(read_request(connection))
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        connection.sendall(b"x")
        time.sleep(0.05)


@pytest.mark.parametrize("speak", [hang, trickle_head, trickle_body])
def test_slow_peer_ends_by_wall_clock(speak: Any) -> None:
    started = time.monotonic()
    with (
        listening(speak) as peer,
        guarded(total_timeout_s=0.6) as http,
        pytest.raises(httpx.TimeoutException),
    ):
        http.get(plain(peer))
    assert time.monotonic() - started < 1.5


def test_silence_in_the_tls_handshake_ends_by_wall_clock() -> None:
    def silent(connection: socket.socket, peer: Peer) -> None:
        peer.requests.append(connection.recv(65536))
        time.sleep(2)

    started = time.monotonic()
    with (
        listening(silent) as peer,
        guarded(total_timeout_s=0.6, allowed_ports={peer.port}) as http,
        pytest.raises(httpx.TransportError),
    ):
        http.get(f"https://{NAME}:{peer.port}/")
    assert time.monotonic() - started < 1.5


@pytest.mark.parametrize("junk", [b"\x15\x03\x01\x00\x02\x02\x28", b"not tls at all\r\n\r\n", b""])
def test_junk_instead_of_tls_is_a_transport_error(junk: bytes) -> None:
    def speak(connection: socket.socket, peer: Peer) -> None:
        peer.requests.append(connection.recv(65536))
        connection.sendall(junk)

    with (
        listening(speak) as peer,
        guarded(allowed_ports={peer.port}) as http,
        pytest.raises(httpx.TransportError),
    ):
        http.get(f"https://{NAME}:{peer.port}/")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhi",
        b"HTTP/1.1 99999 X\r\n\r\n",
    ],
)
def test_broken_answer_is_a_transport_error(answer: bytes) -> None:
    with listening(answering(answer)) as peer, guarded() as http, pytest.raises(httpx.TransportError):
        http.get(plain(peer))


def test_nobody_listening_is_a_transport_error() -> None:
    with listening(answering(OK)) as peer:
        pass
    with guarded() as http, pytest.raises(httpx.TransportError):
        http.get(plain(peer))


def test_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(answering(OK)) as proxy, listening(answering(OK)) as peer:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        with client() as http:
            assert http.get(plain(peer)).status_code == 200
    assert proxy.connections == 0


def test_client_of_production_speaks_no_plain_http(settings: Any) -> None:
    settings.ECP_OUTBOUND_LOOPBACK = False
    with listening(answering(OK)) as peer, client() as http, pytest.raises(Refused):
        http.get(plain(peer))
    assert peer.connections == 0


def test_settings_open_ports_and_networks(settings: Any, tmp_path: Path) -> None:
    server, _ = certificate(tmp_path, "127.0.0.1")
    with listening(answering(OK), tls=server) as peer:
        settings.ECP_AGENT_ALLOWED_PORTS = [peer.port]
        settings.ECP_AGENT_ALLOWED_NETS = list(LOOPBACK)
        with client() as http, pytest.raises(httpx.TransportError) as caught:
            http.get(f"https://127.0.0.1:{peer.port}/")
    assert "certificate" in str(caught.value).lower()
    assert peer.connections == 1


def test_own_resolver_names_the_addresses_of_this_machine() -> None:
    assert set(system_resolver("localhost", 443)) <= {"127.0.0.1", "::1"}
    with pytest.raises(Refused) as caught:
        system_resolver("127.0.0.1%no-such-zone", 443)
    assert caught.value.reason == "resolve"


def test_verification_of_certificates_is_on() -> None:
    context = httpx.create_ssl_context(trust_env=False)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
