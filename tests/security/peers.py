"""Hostile and honest peers on loopback: a listening socket and a function that speaks for it."""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@dataclass
class Peer:
    port: int
    requests: list[bytes] = field(default_factory=list)
    server_names: list[str | None] = field(default_factory=list)
    connections: int = 0


def read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return data
        data += more
    return data


def answering(answer: bytes) -> Callable[[socket.socket, Peer], None]:
    def speak(connection: socket.socket, peer: Peer) -> None:
        peer.requests.append(read_request(connection))
        connection.sendall(answer)

    return speak


@contextmanager
def listening(
    speak: Callable[[socket.socket, Peer], None], *, tls: ssl.SSLContext | None = None
) -> Iterator[Peer]:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.1)
    peer, stopped, open_now = Peer(listener.getsockname()[1]), threading.Event(), set[socket.socket]()
    if tls is not None:
        tls.sni_callback = lambda _socket, name, _context: peer.server_names.append(name)

    def serve(connection: socket.socket) -> None:
        spoken = connection
        with suppress(OSError):  # the client may hang up whenever it likes
            if tls is not None:
                spoken = tls.wrap_socket(connection, server_side=True)
            speak(spoken, peer)
        with suppress(OSError):
            spoken.close()

    def accept() -> None:
        while not stopped.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                continue
            connection.settimeout(5)
            peer.connections += 1
            open_now.add(connection)
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield peer
    finally:
        stopped.set()
        thread.join()
        listener.close()
        for connection in open_now:
            with suppress(OSError):
                connection.close()


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts of a server that is `name`, and of a client that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([_alternative(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    public, private = folder / f"{name}.pem", folder / f"{name}.key.pem"
    public.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(public, private)
    return server, ssl.create_default_context(cafile=str(public))


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
