"""A WSGI application that tells which process answers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def application(environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
    del environ
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "10")])
    return [f"{os.getpid():010}".encode()]
