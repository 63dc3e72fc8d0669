"""A wire between client and PostgreSQL that breaks when it carries a given text."""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


@dataclass
class BreakingWire:
    """Carries bytes both ways until a request of the client holds `text`; then both ends are closed.

    With `after`, the request still reaches the server and its answer is lost, else the request itself is. It
    breaks `times` times; a wire that `stays_down` refuses what comes later.
    """

    server: tuple[str, int]
    text: bytes = b""
    after: bool = False
    times: int = 1
    stays_down: bool = False
    on_break: Callable[[], None] = lambda: None
    broken: int = 0
    port: int = field(init=False)

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in list(self._open):
            _close(end)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.stays_down and self.broken:
                _close(client)
                continue
            server = socket.create_connection(self.server)
            self._open |= {client, server}
            ends = (client, server, threading.Event())
            threading.Thread(target=self._carry_requests, args=ends, daemon=True).start()
            threading.Thread(target=self._carry_answers, args=ends, daemon=True).start()

    def _carry_requests(self, client: socket.socket, server: socket.socket, lost: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                if self.text in data and self.broken < self.times and self.text:
                    self.broken += 1
                    self.on_break()
                    if not self.after:
                        break
                    lost.set()
                    server.sendall(data)
                    server.shutdown(socket.SHUT_WR)  # the server works it off before it sees the end
                    return
                server.sendall(data)
        _close(client)
        _close(server)

    def _carry_answers(self, client: socket.socket, server: socket.socket, lost: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if not lost.is_set():
                    client.sendall(data)
        _close(client)
        _close(server)


def _close(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
