"""Serve the console's live feed."""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any

import uvicorn
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from ecp_project import env
from ecp_project.observability import metrics

if TYPE_CHECKING:
    from types import FrameType

    from ecp_project.console.sse import Hub

GOODBYE_S = 3
BACKLOG = 1024


class Server(uvicorn.Server):
    """Says goodbye to every client before it waits for them to go."""

    def __init__(self, config: uvicorn.Config, hub: Hub) -> None:
        super().__init__(config)
        self._hub = hub

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._hub.close()
        await super().shutdown(sockets)


def bound(address: str) -> socket.socket:
    """A socket at HOST:PORT, or the one that the parent process left open as fd://NUMBER."""
    scheme, _, number = address.partition("fd://")
    try:
        if not scheme:
            return socket.socket(fileno=int(number))
        host, _, port = address.rpartition(":")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host.strip("[]"), int(port)), family=family, backlog=BACKLOG)
    except (OSError, ValueError) as error:
        raise CommandError(f"ECP_STREAM_BIND is {address!r}: {error}") from error


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


class Command(BaseCommand):
    help = (
        "Serve the console's live feed at ECP_STREAM_BIND: it tells open pages that a log has grown, and no "
        "content. SIGTERM says goodbye to all of them; they come back to the process that follows."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        del args, options
        if os.environ.get("ECP_SIGNING_KEY_FILE"):
            raise CommandError("ECP_SIGNING_KEY_FILE is set; only the checkpointer may hold the signing key")
        from ecp_project.asgi import application  # noqa: PLC0415 - it opens for work, and not for --help

        listener = bound(env.text("ECP_STREAM_BIND", f"127.0.0.1:{settings.ECP_PORT + 1}"))
        metrics.empty_folder()
        metrics.process_started(settings.ECP_COMMIT)
        metrics.serve(settings.ECP_METRICS_PORT, settings.ECP_METRICS_ADDRESS)
        config = uvicorn.Config(
            application, http="h11", ws="none", lifespan="on", loop="asyncio", log_config=None,
            access_log=False, server_header=False, proxy_headers=False,
            timeout_graceful_shutdown=GOODBYE_S, backlog=BACKLOG,
        )  # fmt: skip
        for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn sends itself again what it was ended with
            signal.signal(number, _leave)
        Server(config, application.hub).run(sockets=[listener])
