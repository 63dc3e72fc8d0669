"""Metrics of the live feed. No label names an agent, a person or a decision."""

from __future__ import annotations

from prometheus_client import Gauge

STREAM_CLIENTS = Gauge(
    "ecp_stream_clients", "Live views that are open in a stream process", multiprocess_mode="mostrecent"
)
STREAM_LISTENING = Gauge(
    "ecp_stream_listening",
    "1 while the stream process has its connection to the database, else 0",
    multiprocess_mode="mostrecent",
)
