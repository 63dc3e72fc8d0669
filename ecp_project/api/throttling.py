"""Rate limits (SECURITY section 8).

Append scopes count in this process alone, each web process with its share of the rate: that path never
touches Redis. The others count in Redis by one atomic script; while Redis does not answer they count here
instead, at the full rate, with a metric and a log line. Advice never becomes a limit.
"""

from __future__ import annotations

import itertools
import math
import secrets
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Any

import structlog
from django.conf import settings
from redis.exceptions import RedisError

from ecp_project import redis
from ecp_project.api.metrics import THROTTLE_FALLBACKS, THROTTLED
from ecp_project.env import Rate
from ecp_project.kernel.errors import RateLimited

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rest_framework.request import Request

    from ecp_project.api.authentication import Principal

PROCESS_SCOPES = frozenset({"append", "append_batch"})
REDIS_LOST = "throttle_redis_lost"
_RETRY_REDIS_S = 5.0
_MAX_BUCKETS = 10_000
_LEASE_S = 900
_log = structlog.get_logger("ecp.throttling")

# KEYS[1] bucket; ARGV rate per second, burst. Returns the wait in milliseconds, 0 when admitted.
_BUCKET_SCRIPT = """
local rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
local kept = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local passed = math.max(0, now - (tonumber(kept[2]) or now))
local tokens = math.min(burst, (tonumber(kept[1]) or burst) + passed * rate)
local wait = 0
if tokens >= 1 then tokens = tokens - 1 else wait = math.ceil((1 - tokens) / rate * 1000) end
redis.call('HSET', KEYS[1], 'tokens', tostring(tokens), 'at', tostring(now))
redis.call('PEXPIRE', KEYS[1], math.ceil(burst / rate * 1000) + 1000)
return wait
"""
# KEYS[1] set of leases; ARGV limit, lease name, seconds. Returns 1 when admitted.
_LEASE_SCRIPT = """
local now = tonumber(redis.call('TIME')[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[3]), ARGV[2])
redis.call('EXPIRE', KEYS[1], tonumber(ARGV[3]))
return 1
"""


@dataclass(slots=True)
class Buckets:
    """Token buckets of one scope in this process."""

    rate: Rate
    # guarded by self._lock
    _levels: dict[str, tuple[float, float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def wait(self, key: str, now: float) -> float:
        """Seconds until the next token; 0 takes one."""
        with self._lock:
            tokens, at = self._levels.get(key, (float(self.rate.burst), now))
            tokens = min(self.rate.burst, tokens + max(0.0, now - at) * self.rate.per_second)
            admitted = tokens >= 1
            if len(self._levels) >= _MAX_BUCKETS and key not in self._levels:
                self._drop_full(now)
            self._levels[key] = (tokens - admitted, now)
        return 0.0 if admitted else (1 - tokens) / self.rate.per_second

    def _drop_full(self, now: float) -> None:
        """Forget buckets that have refilled; when that frees nothing, the oldest half."""
        refill_s = self.rate.burst / self.rate.per_second
        kept = {key: level for key, level in self._levels.items() if now - level[1] < refill_s}
        if len(kept) >= _MAX_BUCKETS:
            newest_first = sorted(kept.items(), key=lambda pair: -pair[1][1])
            kept = dict(itertools.islice(newest_first, _MAX_BUCKETS // 2))
        self._levels = kept


def share(rate: Rate, processes: int) -> Rate:
    return Rate(rate.per_second / processes, max(1, rate.burst // processes))


@dataclass(slots=True)
class _Limits:
    """All limits of this process, as the settings give them."""

    rates: Mapping[str, Rate]
    processes: int
    buckets: dict[str, Buckets] = field(default_factory=dict)
    redis_back_at: float = 0.0  # a lost Redis is asked again only then
    leases: dict[str, dict[str, float]] = field(default_factory=dict)  # guarded by self.lock
    lock: threading.Lock = field(default_factory=threading.Lock)

    def local(self, scope: str) -> Buckets:
        found = self.buckets.get(scope)
        if found is None:
            rate = self.rates[scope]
            found = Buckets(share(rate, self.processes) if scope in PROCESS_SCOPES else rate)
            found = self.buckets.setdefault(scope, found)
        return found

    def wait(self, scope: str, key: str) -> float:
        if scope in PROCESS_SCOPES:
            return self.local(scope).wait(key, time.monotonic())
        rate = self.rates[scope]
        answer = self.ask_redis(_BUCKET_SCRIPT, f"ecp:rate:{scope}:{key}", scope, rate.per_second, rate.burst)
        return self.local(scope).wait(key, time.monotonic()) if answer is None else answer / 1000

    def ask_redis(self, script: str, key: str, scope: str, *arguments: Any) -> int | None:
        """Run the script; None while Redis does not answer."""
        if time.monotonic() >= self.redis_back_at:
            try:
                return int(redis.client().eval(script, 1, key, *arguments))
            except RedisError as error:
                self.redis_back_at = time.monotonic() + _RETRY_REDIS_S
                _log.warning(REDIS_LOST, scope=scope, exc_info=error)
        THROTTLE_FALLBACKS.labels(scope=scope).inc()
        return None

    def lease_here(self, key: str, lease: str, limit: int) -> bool:
        now = time.monotonic()
        with self.lock:
            alive = {name: until for name, until in self.leases.get(key, {}).items() if until > now}
            admitted = len(alive) < limit
            self.leases[key] = alive | ({lease: now + _LEASE_S} if admitted else {})
        return admitted


_limits: _Limits | None = None


def limits() -> _Limits:
    global _limits  # noqa: PLW0603 - one set of buckets for each process
    if _limits is None:
        _limits = _Limits(settings.ECP_RATES, settings.ECP_WEB_PROCESSES)
    return _limits


def reset() -> None:
    """Start with full buckets and the present settings."""
    global _limits  # noqa: PLW0603 - one per process
    _limits = None


def client_address(meta: Mapping[str, Any]) -> str:
    """Who really calls: `X-Forwarded-For` counts only as far as our own proxies wrote it."""
    hops: int = settings.ECP_TRUSTED_PROXIES
    forwarded = [
        part.strip() for part in str(meta.get("HTTP_X_FORWARDED_FOR", "")).split(",") if part.strip()
    ]
    given = forwarded[-hops] if 0 < hops <= len(forwarded) else str(meta.get("REMOTE_ADDR", ""))
    try:
        return str(ip_address(given))
    except ValueError:
        return "unknown"


def client_network(meta: Mapping[str, Any]) -> str:
    """Name the address; for IPv6 its /64, since one customer owns all of that."""
    address = client_address(meta)
    if address != "unknown" and isinstance(ip_address(address), IPv6Address):
        return str(ip_network(f"{address}/64", strict=False))
    return address


def take(scope: str, key: str) -> None:
    """Take one token, or 429."""
    wait = limits().wait(scope, key)
    if wait > 0:
        THROTTLED.labels(scope=scope).inc()
        raise RateLimited("rate_limited", retry_after=max(1, math.ceil(wait)))


def enforce(scope: str, request: Request) -> None:
    """Machines count by key under the scope of the view, people by person, strangers by address."""
    principal: Principal | None = request.auth  # type: ignore[assignment]  # our authenticators give no Token
    if principal is None:
        take("static", client_network(request.META))
    elif principal.kind == "staff":
        take("staff", principal.throttle_key)
    else:
        take(scope, principal.throttle_key)


@contextmanager
def running(scope: str, organisation_id: int) -> Iterator[None]:
    """Run at most `ECP_RUNNING[scope]` of these for an organisation; a crash's lease ends by itself."""
    limit, key, state = settings.ECP_RUNNING[scope], f"ecp:running:{scope}:{organisation_id}", limits()
    lease = secrets.token_hex(8)
    answer = state.ask_redis(_LEASE_SCRIPT, key, scope, limit, lease, _LEASE_S)
    admitted = state.lease_here(key, lease, limit) if answer is None else bool(answer)
    if not admitted:
        THROTTLED.labels(scope=scope).inc()
        raise RateLimited("rate_limited", f"At most {limit} of these run at one time.", retry_after=5)
    try:
        yield
    finally:
        if answer is None:
            state.leases.get(key, {}).pop(lease, None)
        else:
            _give_back(key, lease)


def _give_back(key: str, lease: str) -> None:
    try:
        redis.client().zrem(key, lease)
    except RedisError as error:
        _log.warning(REDIS_LOST, scope="running", exc_info=error)
