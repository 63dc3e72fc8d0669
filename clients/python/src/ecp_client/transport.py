"""Carries calls over HTTP: TLS verified, no redirects, the API key in no log line and no message."""

from __future__ import annotations

import asyncio
import encodings.idna  # noqa: F401 - else the first look-up of a name imports it, in a thread
import ipaddress
import re
import time
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx

from ecp_client.calls import Answer, Call, Lost, Pause, Steps
from ecp_client.errors import InvalidInput, problem

_KEY = re.compile(r"[!-~]{8,512}", re.ASCII)
_PREFIX = re.compile(r"ecp_[a-z0-9]{8}_")
T = TypeVar("T")


class Access:
    """Address and key of a ledger."""

    def __init__(self, url: str, key: str, timeout_s: float) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc:
            raise InvalidInput(problem("bad_value", "url must be http(s)://host, without user and password"))
        if parts.query or parts.fragment:
            raise InvalidInput(problem("bad_value", "url must end with the path"))
        if not _KEY.fullmatch(key):
            raise InvalidInput(problem("bad_value", "key must be the text of an API key"))
        self.url = url.rstrip("/")
        self.is_local = _is_loopback(parts.hostname)
        self.is_plain = parts.scheme == "http" and not self.is_local
        self.key_prefix = found[0] if (found := _PREFIX.match(key)) else ""
        self._key = key
        self._timeout_s = timeout_s
        # Made here once, and not by the sender's thread: what a thread imports while another one forks stays
        # locked in the child for ever.
        self._tls = httpx.create_ssl_context(trust_env=not self.is_local)
        self.client().close()

    def __repr__(self) -> str:
        return f"{self.url}, key {self.key_prefix}…"

    def client(self) -> httpx.Client:
        return httpx.Client(**self._options())

    def async_client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(**self._options())

    def _options(self) -> dict[str, Any]:
        return {
            "headers": {"Authorization": f"Bearer {self._key}", "User-Agent": "ecp-client"},
            "timeout": self._timeout_s,
            "verify": self._tls,
            "follow_redirects": False,
            "trust_env": not self.is_local,  # no proxy stands between two programs of one machine
        }


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Http:
    """Holds conversations; safe for several threads."""

    def __init__(self, access: Access) -> None:
        self._url = access.url
        self._client = access.client()

    def send(self, call: Call) -> Answer | Lost:
        try:
            found = self._client.request(
                call.method, self._url + call.path, content=call.body or None, headers=dict(call.headers)
            )
        except httpx.HTTPError as error:
            return _lost(error)
        return _answer(found)

    def hold(self, steps: Steps[T]) -> T:
        answer: Answer | Lost | None = None
        while True:
            try:
                wish = steps.send(answer)
            except StopIteration as end:
                result: T = end.value
                return result
            if isinstance(wish, Pause):
                time.sleep(wish.seconds)
                answer = None
            else:
                answer = self.send(wish)

    def close(self) -> None:
        self._client.close()


class AsyncHttp:
    """The same for asyncio; made where a loop runs."""

    def __init__(self, access: Access) -> None:
        self._url = access.url
        self._client = access.async_client()

    async def send(self, call: Call) -> Answer | Lost:
        try:
            found = await self._client.request(
                call.method, self._url + call.path, content=call.body or None, headers=dict(call.headers)
            )
        except httpx.HTTPError as error:
            return _lost(error)
        return _answer(found)

    async def hold(self, steps: Steps[T]) -> T:
        answer: Answer | Lost | None = None
        while True:
            try:
                wish = steps.send(answer)
            except StopIteration as end:
                result: T = end.value
                return result
            if isinstance(wish, Pause):
                await asyncio.sleep(wish.seconds)
                answer = None
            else:
                answer = await self.send(wish)

    async def close(self) -> None:
        await self._client.aclose()


def _answer(found: httpx.Response) -> Answer:
    return Answer(found.status_code, found.headers, found.content)


def _lost(error: httpx.HTTPError) -> Lost:
    return Lost(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)
