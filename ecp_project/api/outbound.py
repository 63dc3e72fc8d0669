"""The one way out: an httpx transport under the guard of `ecp_project.kernel.outbound` (SECURITY section 6).

Each request resolves its name once and connects to the address that was checked, while Host, SNI and the
certificate check keep the name. A socket that obeys one deadline carries the whole exchange, so that a peer
that sends a byte a second, in the TLS handshake, the header or the body, ends with it. Nothing is
decompressed, followed, remembered or sent through a proxy.
"""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as ResolverTimeoutError
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import httpcore
import httpx
from django.conf import settings
from structlog.contextvars import get_contextvars

from ecp_project.api.metrics import OUTBOUND_BLOCKED
from ecp_project.kernel import outbound
from ecp_project.kernel.tracing import headers_of

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Collection, Iterable

CONNECT_TIMEOUT_S = 3.0
TOTAL_TIMEOUT_S = 10.0
RESOLVE_TIMEOUT_S = 2.0
MAX_ANSWER = 64 * 2**10
_DROPPED_HEADERS = frozenset({b"set-cookie", b"content-encoding", b"transfer-encoding"})


class _Deadline:
    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self, wanted: float | None = None) -> float:
        rest = self._end - time.monotonic()
        if rest <= 0:
            raise httpcore.ReadTimeout("the exchange took too long")
        return rest if wanted is None else min(wanted, rest)


class _TimedStream(httpcore.NetworkStream):
    """A socket whose every wait ends at the deadline."""

    def __init__(self, inner: httpcore.NetworkStream, deadline: _Deadline) -> None:
        self._inner = inner
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._deadline.left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._deadline.left(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        inner = self._inner.start_tls(ssl_context, server_hostname, self._deadline.left(timeout))
        return _TimedStream(inner, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Dialler(httpcore.NetworkBackend):
    """Connects to the checked address, whatever host it is asked for."""

    def __init__(self, address: outbound.Address, deadline: _Deadline) -> None:
        self._address = address
        self._deadline = deadline
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,  # noqa: ARG002 - httpcore's signature; the name was resolved and checked before
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        stream = self._backend.connect_tcp(
            str(self._address),
            port,
            timeout=self._deadline.left(timeout),
            local_address=local_address,
            socket_options=socket_options,
        )
        return _TimedStream(stream, self._deadline)


@cache
def _resolver_threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(8, thread_name_prefix="resolver")


def _look_up(host: str, port: int) -> list[str]:
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def system_resolver(host: str, port: int) -> Collection[str]:
    """All addresses of a name; the system's resolver has no timeout of its own."""
    try:
        return _resolver_threads().submit(_look_up, host, port).result(RESOLVE_TIMEOUT_S)
    except ResolverTimeoutError as error:
        raise outbound.Refused("resolve", "the name did not resolve in time") from error
    except (OSError, UnicodeError) as error:
        raise outbound.Refused("resolve", "the name does not resolve") from error


@cache
def _trust() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


@dataclass(frozen=True, slots=True)
class GuardedTransport(httpx.BaseTransport):
    """Raises `outbound.Refused` for what the guard forbids and `httpx.TransportError` for what fails."""

    resolver: Callable[[str, int], Collection[str]] = system_resolver
    allowed_ports: Collection[int] = ()
    allowed_networks: Collection[outbound.Network] = ()
    allow_loopback_http: bool = False
    ssl_context: ssl.SSLContext | None = None
    total_timeout_s: float = TOTAL_TIMEOUT_S

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return self._exchange(request)
        except outbound.Refused as error:
            OUTBOUND_BLOCKED.labels(reason=error.reason).inc()
            raise
        except httpcore.TimeoutException as error:
            raise httpx.TimeoutException(str(error), request=request) from error
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol) as error:
            raise httpx.TransportError(str(error)) from error

    def _exchange(self, request: httpx.Request) -> httpx.Response:
        deadline = _Deadline(self.total_timeout_s)
        target = outbound.check_url(
            str(request.url),
            allowed_ports=self.allowed_ports,
            allowed_networks=self.allowed_networks,
            allow_loopback_http=self.allow_loopback_http,
        )
        address = outbound.resolve(
            target,
            self.resolver,
            allowed_networks=self.allowed_networks,
            allow_loopback_http=self.allow_loopback_http,
        )
        with httpcore.ConnectionPool(
            ssl_context=self.ssl_context or _trust(),
            network_backend=_Dialler(address, deadline),
            max_keepalive_connections=0,
        ) as pool:
            answer = pool.handle_request(_core_request(request))
            try:
                _refuse_detours(answer)
                body = _limited(answer)
            finally:
                answer.close()
        headers = [pair for pair in answer.headers if pair[0].lower() not in _DROPPED_HEADERS]
        return httpx.Response(answer.status, headers=headers, content=body, request=request)


def _core_request(request: httpx.Request) -> httpcore.Request:
    headers = [pair for pair in request.headers.raw if pair[0].lower() not in {b"accept-encoding", b"cookie"}]
    url = httpcore.URL(
        scheme=request.url.raw_scheme,
        host=request.url.raw_host,
        port=request.url.port,
        target=request.url.raw_path,
    )
    return httpcore.Request(
        request.method.encode(),
        url,
        headers=[*headers, (b"Accept-Encoding", b"identity")],
        content=request.read(),
        extensions={"timeout": {"connect": CONNECT_TIMEOUT_S}},
    )


def _refuse_detours(answer: httpcore.Response) -> None:
    if 300 <= answer.status < 400:  # noqa: PLR2004 - the class of redirections
        raise outbound.Refused("redirect", f"the endpoint redirected ({answer.status})")
    encodings = [value for name, value in answer.headers if name.lower() == b"content-encoding"]
    if any(value.strip().lower() not in {b"", b"identity"} for value in encodings):
        raise outbound.Refused("encoding", "the endpoint compressed its answer although it was asked not to")


def _limited(answer: httpcore.Response) -> bytes:
    body = bytearray()
    for chunk in answer.iter_stream():
        body += chunk
        if len(body) > MAX_ANSWER:
            raise outbound.Refused("too_large", f"the answer is longer than {MAX_ANSWER} bytes")
    return bytes(body)


def client() -> httpx.Client:
    """Make a client over the guard as the settings open it; no environment, redirects or proxies."""
    transport = GuardedTransport(
        allowed_ports=tuple(settings.ECP_AGENT_ALLOWED_PORTS),
        allowed_networks=tuple(settings.ECP_AGENT_ALLOWED_NETS),
        allow_loopback_http=settings.ECP_OUTBOUND_LOOPBACK,
    )
    return httpx.Client(
        transport=transport, trust_env=False, follow_redirects=False, event_hooks={"request": [_tell_trace]}
    )


def _tell_trace(request: httpx.Request) -> None:
    """Name the request that led to this one, so that both sides' logs can be read together."""
    for name, value in headers_of(get_contextvars()).items():
        request.headers.setdefault(name, value)
