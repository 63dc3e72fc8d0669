"""Metrics of the console. No label names an agent, a person or a decision."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

PANEL_FAILURES = Counter(
    "ecp_console_panel_failures_total", "Panels that were drawn as an error box", ["panel"]
)
STREAM_CLIENTS = Gauge(
    "ecp_stream_clients", "Live views that are open in a stream process", multiprocess_mode="mostrecent"
)
STREAM_LISTENING = Gauge(
    "ecp_stream_listening",
    "1 while the stream process has its connection to the database, else 0",
    multiprocess_mode="mostrecent",
)
