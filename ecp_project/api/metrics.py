"""Security metrics (OPERATIONS section 8). No label names an agent, a person or a decision."""

from __future__ import annotations

from prometheus_client import Counter

AUTH_FAILURES = Counter("ecp_auth_failures_total", "Refused credentials", ["method", "reason"])
AUTHZ_DENIED = Counter("ecp_authz_denied_total", "Refused for want of a role or scope", ["role"])
THROTTLED = Counter("ecp_throttled_total", "Refused by a rate limit", ["scope"])
THROTTLE_FALLBACKS = Counter(
    "ecp_throttle_fallbacks_total", "Rate limits judged in process because Redis did not answer", ["scope"]
)
SIGNATURE_FAILURES = Counter("ecp_signature_failures_total", "Signatures that did not verify", ["reason"])
OUTBOUND_BLOCKED = Counter(
    "ecp_outbound_blocked_total", "Outbound requests that the guard refused", ["reason"]
)
