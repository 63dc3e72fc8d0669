"""The two request metrics of django-prometheus that are worth their price.

Its pair of middlewares writes fourteen metrics and cost 120 microseconds a request on two cores; these two,
under the library's own names, cost about ten. Its database wrapper is left out too: appends run on
cursors that it never sees, so its numbers would lack the path that matters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django_prometheus.middleware import Metrics  # type: ignore[import-untyped]  # as it is published

if TYPE_CHECKING:
    from django.http import HttpRequest

LATENCY = "django_http_requests_latency_seconds_by_view_method"
RESPONSES = "django_http_responses_total_by_status_view_method"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RequestMetrics(Metrics):  # type: ignore[misc]  # untyped in the library
    requests_latency_by_view_method: Any
    responses_by_status_view_method: Any

    def register_metric(self, metric_cls: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        """Leave out what nobody sets here: it would be shown as zero."""
        if name not in {LATENCY, RESPONSES}:
            return None
        return super().register_metric(metric_cls, name, *args, **kwargs)

    def observe(self, request: HttpRequest, status: int, seconds: float) -> None:
        """Label by the view's name; what callers make up, paths and methods, makes no series."""
        match = request.resolver_match
        view = (match.view_name if match else "") or "none"
        method = request.method if request.method in _METHODS else "other"
        self.requests_latency_by_view_method.labels(view=view, method=method).observe(seconds)
        self.responses_by_status_view_method.labels(status=str(status), view=view, method=method).inc()
