"""Periodic work of polls: a message is a wake-up with an id at most, all state is in rows."""

from __future__ import annotations

import secrets
from uuid import UUID

from celery import shared_task

from advisory.polls.services import delivery, schedules
from ecp_project.celery import app
from ecp_project.kernel.clock import utc_now

QUEUE = "polls"
# A hint that nobody took in time is worth nothing; the next one follows.
_EVERY_S = {
    "polls.tick": (15.0, 14),
    "polls.draw_due": (5.0, 5),
    "polls.open_due": (5.0, 5),
    "polls.close_due": (5.0, 5),
    "polls.remind": (60.0, 55),
    "polls.schedule": (60.0, 55),
}
app.conf.beat_schedule.update({
    name: {"task": name, "schedule": every, "options": {"expires": expires, "queue": QUEUE}}
    for name, (every, expires) in _EVERY_S.items()
})  # fmt: skip
_random = secrets.SystemRandom()


@shared_task(name="polls.tick")
def tick() -> None:
    """Lease what is due, then send the ids: a lost message costs one lease, never an invitation."""
    for invitation_id in delivery.sweep(now=utc_now()):
        deliver.apply_async(args=(str(invitation_id),), queue=QUEUE)


@shared_task(
    name="polls.deliver",
    acks_late=True,
    reject_on_worker_lost=True,
    soft_time_limit=20,
    time_limit=30,
    ignore_result=True,
)
def deliver(invitation_id: str) -> None:
    delivery.invitation_deliver(
        invitation_id=UUID(invitation_id), clock=utc_now, jitter=lambda most: _random.uniform(0, most)
    )


@shared_task(name="polls.draw_due")
def draw_due() -> None:
    delivery.draw_due(now=utc_now())


@shared_task(name="polls.open_due")
def open_due() -> None:
    """Open, and send the first invitations without waiting for the sweep."""
    if delivery.open_due(now=utc_now()):
        tick()


@shared_task(name="polls.close_due")
def close_due() -> None:
    delivery.close_due(now=utc_now())


@shared_task(name="polls.remind")
def remind() -> None:
    delivery.remind(now=utc_now())


@shared_task(name="polls.schedule")
def schedule() -> None:
    schedules.schedules_due(now=utc_now())
