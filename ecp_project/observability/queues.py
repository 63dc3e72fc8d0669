"""How many tasks wait in the broker, asked when somebody collects the metrics (OPERATIONS section 8).

The worker's port shows it: with Redis as the broker a queue is a list of that name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from redis.exceptions import RedisError

from ecp_project import redis

if TYPE_CHECKING:
    from collections.abc import Iterator

QUEUES = ("default", "polls")


class QueueDepth(Collector):
    def describe(self) -> Iterator[GaugeMetricFamily]:
        yield _family()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """No sample while Redis does not answer: nobody knows the number then."""
        family = _family()
        try:
            for queue in QUEUES:
                family.add_metric([queue], redis.client().llen(queue))
        except RedisError:
            family = _family()
        yield family


def _family() -> GaugeMetricFamily:
    return GaugeMetricFamily("ecp_celery_queue_depth", "Tasks that wait in the broker", labels=["queue"])
