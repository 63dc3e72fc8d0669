"""A WSGI application that tells which process answers, and at /thread which of its threads."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def application(environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
    number = threading.get_native_id() if environ["PATH_INFO"] == "/thread" else os.getpid()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "10")])
    return [f"{number:010}".encode()]
