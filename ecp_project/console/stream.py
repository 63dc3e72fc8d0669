"""The ASGI application of the stream process: the live feed and the probes, nothing else.

A request passes Django's middleware and the view of its address in a thread, as in a web process, so session,
permission and headers are judged by the same code. The view lets it in at the `Door` that comes with the
request; what follows is the loop's: no thread and no pooled connection waits with an open stream.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.base import BaseHandler
from django.core.signals import request_started

from ecp_project.api import problems
from ecp_project.console.listener import listen
from ecp_project.console.metrics import STREAM_CLIENTS
from ecp_project.console.sse import DOOR, Door, Hub, Pace, told
from ecp_project.kernel.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from django.http.response import HttpResponseBase

    from ecp_project.console.sse import Client

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

PATH = "/console/stream/"
SERVED = frozenset({PATH, "/readyz", "/startupz"})
THREADS = 4


class StreamApplication(BaseHandler):
    def __init__(self, *, per_user: int, pace: Pace | None = None) -> None:
        self.load_middleware()
        self.hub = Hub(per_user=per_user)
        self._pace = pace or Pace()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="stream")
        self._listening: asyncio.Task[None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._listening = asyncio.create_task(listen(self.hub, heads_s=self._pace.heads_s))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._listening
        self._threads.shutdown(wait=False)
        await send({"type": "lifespan.shutdown.complete"})

    async def _serve(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["path"] == "/livez":  # needs no thread, so it answers also while the database keeps all busy
            await _head(send, 200, [(b"content-type", b"text/plain")])
            await send({"type": "http.response.body", "body": b"ok"})
            return
        door = Door(self.hub)
        try:
            answer = await asyncio.get_running_loop().run_in_executor(
                self._threads, self._answer, {**scope, DOOR: door}
            )
            await _head(send, answer.status_code, _headers(answer))
            if door.client is None or answer.status_code != 200:  # noqa: PLR2004 - HTTP
                await send({"type": "http.response.body", "body": b"".join(answer)})
                return
            await self._feed(door, door.client, receive, send)
        finally:
            if door.client is not None:
                self.hub.leave(door.client)
                STREAM_CLIENTS.set(len(self.hub))

    def _answer(self, scope: Any) -> HttpResponseBase:
        """One request and its answer, with every layer of a web process between."""
        request_started.send(sender=type(self), scope=scope)
        request = ASGIRequest(scope, io.BytesIO())
        if request.path not in SERVED:
            return problems.response_of(NotFound("not_found"), request)
        answer = self.get_response(request)
        answer.close()  # gives the database connection back
        return answer

    async def _feed(self, door: Door, client: Client, receive: Receive, send: Send) -> None:
        STREAM_CLIENTS.set(len(self.hub))
        leaving = asyncio.create_task(_wait_for_leave(receive, client))
        pieces = told(client, log=door.log, after=door.after, pace=self._pace, clock=time.monotonic)
        try:
            async for piece in pieces:
                # Whoever takes nothing for so long is gone, or as good as gone.
                async with asyncio.timeout(self._pace.write_s):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        except (TimeoutError, OSError):
            return
        finally:
            leaving.cancel()


async def _wait_for_leave(receive: Receive, client: Client) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    client.end()


async def _head(send: Send, status: int, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})


def _headers(answer: HttpResponseBase) -> list[tuple[bytes, bytes]]:
    named = [
        (name.lower().encode("ascii"), value.encode("latin-1")) for name, value in answer.headers.items()
    ]
    cookies = [
        (b"set-cookie", cookie.output(header="").strip().encode()) for cookie in answer.cookies.values()
    ]
    return named + cookies
