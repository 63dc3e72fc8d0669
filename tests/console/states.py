"""Installations to look at: empty, with the sample data, with an airline's decisions, with very many."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ecp_project.console.rollups import keep_up
from ecp_project.kernel.clock import Clock, utc_now
from ledger.models import Log, Membership, Organisation
from ledger.services.demo import demo_load
from ledger.services.identities import agent_create, organisation_create
from ledger.services.ingest import ingest
from ledger.services.projections import project_search
from ledger.services.verification_runs import verification_request, verification_step
from tests.console.desk import decision
from tests.console.furnished import overseer
from tests.shared import shared_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from django.contrib.auth.models import User

    from ledger.checkpointer import Checkpointer

MANY = 100_000
TURN_S = 0.2


@contextmanager
def turning(checkpointer: Checkpointer) -> Iterator[None]:
    """The checkpointer as its own process would run, for loads that wait for it."""
    over = threading.Event()

    def sign() -> None:
        while not over.wait(TURN_S):
            checkpointer.turn()

    thread = threading.Thread(target=sign)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def demo(
    checkpointer: Checkpointer,
    now: datetime | None = None,
    clock: Clock = utc_now,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> tuple[Log, User]:
    with turning(checkpointer):
        demo_load(now=now or utc_now(), clock=clock, progress=progress)
    return _settled(Log.objects.get(slug="northwind-retail"), checkpointer)


def airline(checkpointer: Checkpointer) -> tuple[Log, User]:
    lines = shared_path("data/airline-agent/decisions.ndjson").read_bytes().splitlines()
    organisation, log = organisation_create(slug="airline", title="Airline", now=utc_now())
    agent_create(organisation=organisation, slug="airline-desk", title="Service desk")
    return _filled(log, lines, checkpointer)


def many(checkpointer: Checkpointer) -> tuple[Log, User]:
    organisation, log = organisation_create(slug="large", title="Large", now=utc_now())
    agent_create(organisation=organisation, slug="pricing-bot", title="Shelf prices")
    lines = [json.dumps(decision(risk=("low", "high")[number % 2])).encode() for number in range(MANY)]
    return _filled(log, lines, checkpointer)


def empty(checkpointer: Checkpointer) -> tuple[Log, User]:
    _, log = organisation_create(slug="empty", title="Empty", now=utc_now())
    Log.objects.filter(pk=log.pk).update(is_public=True)
    checkpointer.turn()
    return log, overseer(log.organisation)


def _filled(log: Log, lines: list[bytes], checkpointer: Checkpointer) -> tuple[Log, User]:
    with turning(checkpointer):
        tally = ingest(log=log, lines=lines, actor="system:test", clock=utc_now)
    assert not tally.rejects, tally.rejects[0]
    return _settled(log, checkpointer)


def _settled(log: Log, checkpointer: Checkpointer) -> tuple[Log, User]:
    """Projected, counted, signed and verified once."""
    user = overseer(Organisation.objects.get(pk=log.organisation_id))
    actor = f"staff:{Membership.objects.get(user=user).pseudonym}"
    Log.objects.filter(pk=log.pk).update(is_public=True)
    for each in Log.objects.all():
        while project_search(log_id=each.pk):
            pass
        while keep_up(log_id=each.pk):
            pass
    checkpointer.turn()
    verification_request(log=log, requested_by=actor, now=utc_now())
    verification_step(now=utc_now())
    return log, user


STATES = {"empty": empty, "demo": demo, "airline": airline, "many": many}
