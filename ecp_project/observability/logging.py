"""One JSON object a line, ASCII-escaped, on standard error (OPERATIONS section 9).

Standard output stays free for what commands print. Never logged: explanations, contexts, keys, tokens,
sealed content. So an exception is logged as its type and its frames: messages of database errors quote rows.
"""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog

from ecp_project import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping
    from types import TracebackType

    ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]

# Event names of the project's own edge; each app keeps its own constants beside the code that logs them.
REQUEST = "request"
UNHANDLED = "unhandled_exception"
LIBRARY = "library_message"

_FRAMES = 12
_encode = json.JSONEncoder(
    ensure_ascii=True, separators=(",", ":"), default=lambda value: type(value).__name__
).encode


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def described(error: BaseException) -> dict[str, Any]:
    """Type, SQLSTATE and innermost frames of an exception and of its causes, without any message."""
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    members: dict[str, Any] = {
        "type": type(error).__qualname__,
        "frames": [f"{frame.filename}:{frame.lineno}:{frame.name}" for frame in frames],
    }
    if sqlstate := getattr(error, "sqlstate", None):
        members["sqlstate"] = sqlstate
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        members["cause"] = described(cause)
    return members


def _exception(exc_info: Any) -> BaseException | None:
    if isinstance(exc_info, BaseException):
        return exc_info
    if exc_info is True:
        return sys.exc_info()[1]
    return exc_info[1] if exc_info else None


def render(logger: Any, level: str, event: MutableMapping[str, Any]) -> str:
    """Last structlog processor: the line itself, with the leading members in a fixed order."""
    error = _exception(event.pop("exc_info", None))
    name = event.pop("logger", None) or getattr(logger, "name", "")
    line = {"ts": _now(), "level": level, "event": event.pop("event"), "logger": name, "version": __version__}
    line |= event
    if error is not None:
        line["exception"] = described(error)
    return _encode(line)


class _StandardError:
    """Writes to what `sys.stderr` is now, each line in one call."""

    def __init__(self, name: str = "") -> None:
        self.name = name

    def msg(self, line: str) -> None:
        sys.stderr.write(line + "\n")

    debug = info = warning = error = critical = msg


class JsonFormatter(logging.Formatter):
    """Lines of libraries that log through the standard module."""

    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, Any] = {
            **structlog.contextvars.get_contextvars(),
            "event": LIBRARY,
            "logger": record.name,
            "message": record.getMessage(),
            "exc_info": record.exc_info,
        }
        return render(None, record.levelname.lower(), event)


class StandardErrorHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(self.format(record) + "\n")


def configure_structlog(level: str) -> None:
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, render],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=_StandardError,
        cache_logger_on_first_use=True,
    )


def logging_config(level: str) -> Mapping[str, Any]:
    """Value of Django's `LOGGING`; structlog is set up beside it, at the same level."""
    configure_structlog(level)
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": JsonFormatter}},
        "handlers": {"stderr": {"()": StandardErrorHandler, "formatter": "json"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "django": {"handlers": [], "level": level, "propagate": True},
            # the request line and the unhandled exception are logged once, by us
            "django.request": {"handlers": [], "level": "CRITICAL", "propagate": True},
            "django.server": {"handlers": [], "level": "ERROR", "propagate": False},
            # two lines for each task, of which some run every other second
            "celery.worker.strategy": {"handlers": [], "level": "WARNING", "propagate": True},
            "celery.app.trace": {"handlers": [], "level": "WARNING", "propagate": True},
            "httpx": {"handlers": [], "level": "WARNING", "propagate": True},
            "httpcore": {"handlers": [], "level": "WARNING", "propagate": True},
        },
    }
