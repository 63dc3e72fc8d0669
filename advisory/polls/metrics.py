"""Metrics of polls (OPERATIONS section 8). No label names an agent, an option or a poll."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

OPEN = Gauge("ecp_polls_open", "Polls that take answers", multiprocess_mode="mostrecent")
POLLS = Counter("ecp_polls_total", "Polls that ended", ["outcome"])
INVITATIONS = Counter("ecp_poll_invitations_total", "Invitations that reached their final state", ["state"])
REQUEST_SECONDS = Histogram(
    "ecp_poll_agent_request_seconds", "Calls to agents' endpoints", ["result"], buckets=SECONDS
)
ATTEMPTS = Counter("ecp_poll_delivery_attempts_total", "Attempts to deliver an invitation", ["outcome"])
SCHEDULE_RUNS = Counter("ecp_poll_schedule_runs_total", "Times at which a schedule was due", ["outcome"])
SWEEP_SECONDS = Histogram("ecp_poll_sweep_seconds", "Finding the invitations that are due", buckets=SECONDS)
SWEEP_SUCCESS = Gauge(
    "ecp_poll_sweep_last_success_timestamp_seconds", "End of the last sweep", multiprocess_mode="mostrecent"
)
OVERDUE = Gauge(
    "ecp_poll_overdue_invitations",
    "Invitations due for more than a minute that nobody has taken",
    multiprocess_mode="mostrecent",
)
