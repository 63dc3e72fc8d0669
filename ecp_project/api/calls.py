"""One POST to an endpoint of somebody else: through the outbound guard, signed by the delivery key."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
from django.core.exceptions import ImproperlyConfigured

from ecp_project.api import delivery, outbound
from ecp_project.kernel.canonical import encode
from ecp_project.kernel.outbound import Refused

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

MAX_REQUEST = 16 * 2**10
DELIVERED = frozenset({200, 202, 409})  # 409: the receiver has had it before
RETRIABLE = frozenset({408, 425, 429})
SERVER_ERRORS = range(500, 600)
_SECONDS = re.compile(r"[0-9]{1,6}")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call went. `error` is one of few words, for metrics and what is shown beside a delivery."""

    is_delivered: bool
    body: bytes = b""
    error: str = ""
    may_retry: bool = False
    retry_after_s: int | None = None


def call(*, url: str, document: Mapping[str, Any], idempotency_key: str, now: datetime) -> Outcome:
    """Deliver one document. Whatever the peer does, it ends within the guard's ten seconds."""
    body = encode(dict(document))
    assert len(body) <= MAX_REQUEST, len(body)
    try:
        seed = delivery.read_seed()
    except ImproperlyConfigured:  # unsigned questions are not sent; the administrator sees the reason
        return Outcome(is_delivered=False, error="no_delivery_key", may_retry=True)
    headers = delivery.signed_headers(url=url, body=body, idempotency_key=idempotency_key, seed=seed, now=now)
    try:
        with outbound.client() as client:
            answer = client.post(url, content=body, headers=headers)
    except Refused as error:
        return Outcome(is_delivered=False, error=f"blocked_{error.reason}")
    except httpx.TimeoutException:
        return Outcome(is_delivered=False, error="timeout", may_retry=True)
    except (httpx.TransportError, httpx.InvalidURL, httpx.DecodingError):
        return Outcome(is_delivered=False, error="connection", may_retry=True)
    if answer.status_code in DELIVERED:
        return Outcome(is_delivered=True, body=b"" if answer.status_code == 202 else answer.content)  # noqa: PLR2004 - the answer comes later
    may_retry = answer.status_code in RETRIABLE or answer.status_code in SERVER_ERRORS
    after = answer.headers.get("Retry-After", "")
    return Outcome(
        is_delivered=False,
        error=f"status_{answer.status_code}",
        may_retry=may_retry,
        retry_after_s=int(after) if may_retry and _SECONDS.fullmatch(after) else None,
    )
