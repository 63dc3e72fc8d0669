"""Metrics of the console. No label names an agent, a person or a decision."""

from __future__ import annotations

from prometheus_client import Counter

PANEL_FAILURES = Counter(
    "ecp_console_panel_failures_total", "Panels that were drawn as an error box", ["panel"]
)
