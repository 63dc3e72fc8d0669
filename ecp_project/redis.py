"""The process's Redis client, for throttles and probes; nothing that must survive is kept there."""

from __future__ import annotations

from functools import cache

import redis
from django.conf import settings

_TIMEOUT_S = 0.25


def plain_url(url: str) -> str:
    """Celery writes a Unix socket as `redis+socket://`, the client library as `unix://`."""
    if not url.startswith("redis+socket://"):
        return url
    return "unix://" + url.removeprefix("redis+socket://").replace("virtual_host=", "db=")


@cache
def client() -> redis.Redis:
    if not settings.REDIS_URL:
        raise redis.ConnectionError("no Redis: start `make run` or set REDIS_URL")
    return redis.Redis.from_url(
        plain_url(settings.REDIS_URL), socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S
    )
