"""An agent's address that wants to hurt its caller: F16 of OPERATIONS section 13, with the real timings."""

from __future__ import annotations

import gzip
import resource
import time
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network
from typing import TYPE_CHECKING

import httpx
import pytest

from ecp_project.api.outbound import TOTAL_TIMEOUT_S, GuardedTransport
from ecp_project.kernel.outbound import Refused
from tests.security.peers import Peer, answering, listening, read_request

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

pytestmark = pytest.mark.fault

MEMORY_MB = 50
HUNDRED_MB = 100 * 2**20


def hang(connection: socket.socket, peer: Peer) -> None:
    peer.requests.append(read_request(connection))
    connection.settimeout(None)
    connection.recv(1)


def one_byte_a_second(connection: socket.socket, peer: Peer) -> None:
    peer.requests.append(read_request(connection))
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        connection.sendall(b"x")
        time.sleep(1)


def hundred_megabytes(connection: socket.socket, peer: Peer) -> None:
    peer.requests.append(read_request(connection))
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % HUNDRED_MB)
    for _ in range(HUNDRED_MB // 2**16):
        connection.sendall(bytes(2**16))


def bomb() -> Callable[[socket.socket, Peer], None]:
    packed = gzip.compress(bytes(HUNDRED_MB))
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    return answering(head + packed)


def redirect(connection: socket.socket, peer: Peer) -> None:
    peer.requests.append(read_request(connection))
    connection.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/\r\n\r\n" % peer.port)


def junk(connection: socket.socket, peer: Peer) -> None:
    peer.requests.append(connection.recv(65536))
    connection.sendall(b"not tls at all\r\n\r\n")


PEERS = {
    "hang": (hang, "http"), "1 B/s": (one_byte_a_second, "http"), "100 MB": (hundred_megabytes, "http"),
    "gzip bomb": (bomb(), "http"), "redirect": (redirect, "http"), "junk TLS": (junk, "https"),
}  # fmt: skip


def ask(name: str) -> tuple[str, float, int]:
    """How the exchange ended, how long it took in seconds, how many connections it made."""
    speak, scheme = PEERS[name]
    began = time.monotonic()
    with listening(speak) as peer:
        transport = GuardedTransport(
            allowed_ports={peer.port}, allowed_networks=[ip_network("127.0.0.0/8")], allow_loopback_http=True
        )
        with httpx.Client(transport=transport, trust_env=False) as client:
            try:
                client.get(f"{scheme}://127.0.0.1:{peer.port}/")
            except Refused as refused:
                ended = refused.reason
            except httpx.TransportError as error:
                ended = type(error).__name__
            else:
                ended = "heard"
        return ended, time.monotonic() - began, peer.connections


def test_f16_hostile_agent(tell: Callable[..., None]) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with ThreadPoolExecutor(len(PEERS)) as callers:
        ended = dict(zip(PEERS, callers.map(ask, PEERS), strict=True))
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    tell(grown_mb=grown_mb, **{name: f"{how}, {took:.1f} s" for name, (how, took, _) in ended.items()})
    assert {name: how for name, (how, _, _) in ended.items()} == {
        "hang": "TimeoutException", "1 B/s": "TimeoutException", "100 MB": "too_large",
        "gzip bomb": "encoding", "redirect": "redirect", "junk TLS": "TransportError",
    }  # fmt: skip
    assert max(took for _, took, _ in ended.values()) < TOTAL_TIMEOUT_S + 1
    assert {connections for _, _, connections in ended.values()} == {1}
    assert grown_mb < MEMORY_MB
