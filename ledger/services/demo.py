"""Sample data: three organisations, seven agents, thirty days of plausible decisions, the same for every seed."""

from __future__ import annotations

import json
import random
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import transaction

from ecp_project.kernel.clock import format_time
from ecp_project.kernel.ids import uuid7
from ledger.models import Agent, Head, Log, Membership, Organisation, Role
from ledger.services import projections
from ledger.services.identities import agent_create, apikey_create, organisation_create
from ledger.services.ingest import Tally, ingest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SEED = 20_260_302
DAYS = 30
DECISIONS = 3_000
STAFF = "ada"
SCOPES = ("decisions:write", "decisions:read", "ledger:read", "export")


@dataclass(frozen=True, slots=True)
class Story:
    """One sort of decision: what is done, why, and what its context holds."""

    organisation: str
    agent: str
    action: str
    risk: str
    explanation: str
    facts: Callable[[random.Random], dict[str, Any]]
    context: Callable[[random.Random], dict[str, Any]]
    outcomes: tuple[tuple[str, str], ...]


NAMES = (
    "Erika Sommer",
    "Jonas Vogel",
    "Amara Okafor",
    "Luca Bianchi",
    "Mei Tanaka",
    "Sofia Petrov",
    "Omar Haddad",
)
ORGANISATIONS = {
    "northwind-retail": "Northwind Retail",
    "harbour-bank": "Harbour Bank",
    "cloudline-ops": "Cloudline Operations",
}
AGENTS = {
    ("northwind-retail", "pricing-bot"): "Shelf prices",
    ("northwind-retail", "refund-desk"): "Refund desk",
    ("northwind-retail", "stock-planner"): "Stock planning",
    ("harbour-bank", "card-fraud-watch"): "Card fraud watch",
    ("harbour-bank", "loan-triage"): "Loan triage",
    ("cloudline-ops", "deploy-pilot"): "Deployments",
    ("cloudline-ops", "incident-scout"): "Incident scout",
}
STORIES = (
    Story(
        "northwind-retail", "pricing-bot", "price.change", "low",
        "Lowered the price of {item} by {share} %, because it has been in stock for {days} days and sells slowly.",
        lambda r: {"item": r.choice(("the desk lamp", "the oak shelf", "the rain jacket", "the kettle")), "share": r.randint(3, 20), "days": r.randint(45, 200)},
        lambda r: {"old_price_eur": round(r.uniform(8, 240), 2), "stock": r.randint(3, 900), "channel": r.choice(("web", "store"))},
        (("success", "Sales of the item rose within the week."), ("partial", "Sales did not change noticeably.")),
    ),
    Story(
        "northwind-retail", "refund-desk", "refund.approve", "medium",
        "Approved a refund, as the parcel arrived damaged and the customer sent {photos} photos within {days} days.",
        lambda r: {"photos": r.randint(1, 5), "days": r.randint(1, 14)},
        lambda r: {"amount_eur": round(r.uniform(9, 480), 2), "customer": {"name": r.choice(NAMES), "number": f"C-{r.randint(10_000, 99_999)}"}, "is_repeat": r.randint(1, 10) == 1},
        (("success", "The customer confirmed that the money arrived."), ("failure", "The carrier later proved delivery without damage.")),
    ),
    Story(
        "northwind-retail", "refund-desk", "refund.decline", "medium",
        "Declined a refund, because the return window of 30 days ended {days} days ago and no defect was reported.",
        lambda r: {"days": r.randint(2, 90)},
        lambda r: {"amount_eur": round(r.uniform(9, 320), 2), "customer": {"name": r.choice(NAMES), "number": f"C-{r.randint(10_000, 99_999)}"}},
        (("success", "The customer accepted the explanation."), ("failure", "A person granted the refund after a complaint.")),
    ),
    Story(
        "northwind-retail", "stock-planner", "order.place", "low",
        "Ordered {count} pieces of {item}, as the stock lasts {days} more days and delivery takes two weeks.",
        lambda r: {"count": r.randint(20, 600), "item": r.choice(("rain jackets", "kettles", "oak shelves")), "days": r.randint(5, 13)},
        lambda r: {"supplier": r.choice(("Nordform", "Textila", "Casa Viva")), "unit_cost_eur": round(r.uniform(4, 60), 2)},
        (("success", "Delivered on time."), ("partial", "Delivered in two parts.")),
    ),
    Story(
        "harbour-bank", "card-fraud-watch", "card.block", "high",
        "Blocked the card for {hours} hours: {count} payments in two countries within ten minutes do not fit its history.",
        lambda r: {"hours": r.choice((12, 24, 48)), "count": r.randint(3, 9)},
        lambda r: {"card": f"**** {r.randint(1000, 9999)}", "score": round(r.uniform(0.8, 0.99), 3), "holder": r.choice(NAMES)},
        (("success", "The holder confirmed that the payments were not hers."), ("failure", "The holder was travelling; the card was released.")),
    ),
    Story(
        "harbour-bank", "loan-triage", "loan.refer", "critical",
        "Referred the application to a loan officer, as the stated income could not be matched with {count} statements.",
        lambda r: {"count": r.randint(1, 4)},
        lambda r: {"amount_eur": r.randrange(2_000, 60_000, 500), "applicant": r.choice(NAMES), "months": r.choice((12, 24, 36, 60))},
        (("success", "The officer asked for further papers and approved."), ("unknown", "The applicant withdrew.")),
    ),
    Story(
        "cloudline-ops", "deploy-pilot", "deploy.start", "medium",
        "Started the rollout of {service} to {share} % of the fleet, after all {count} checks of the release were green.",
        lambda r: {"service": r.choice(("billing-api", "search", "image-store")), "share": r.choice((1, 5, 25, 100)), "count": r.randint(80, 900)},
        lambda r: {"version": f"{r.randint(1, 9)}.{r.randint(0, 40)}.{r.randint(0, 9)}", "region": r.choice(("eu-1", "us-2", "ap-1"))},
        (("success", "Error rate stayed flat for an hour."), ("failure", "Rolled back after the error rate doubled.")),
    ),
    Story(
        "cloudline-ops", "incident-scout", "incident.page", "high",
        "Woke the engineer on call, because {service} answered {share} % of requests with errors for five minutes.",
        lambda r: {"service": r.choice(("billing-api", "search", "image-store")), "share": r.randint(4, 60)},
        lambda r: {"on_call": r.choice(NAMES), "p95_ms": r.randint(400, 9_000)},
        (("success", "Resolved within the hour."), ("partial", "The cause was found on the next day.")),
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Demo:
    """What a person needs to look around; the password and the key are known to nobody else."""

    login: str
    password: str
    api_key: str
    organisation: str
    agent: str
    entries: int


class Part(Protocol):
    """What an installed app adds to the sample data of the first organisation, once its decisions are there."""

    def __call__(self, *, log: Log, clock: Callable[[], datetime]) -> None: ...


_parts: list[Part] = []


def part_add(part: Part) -> None:
    _parts.append(part)


def is_empty() -> bool:
    return not Log.objects.exists()


def demo_load(*, now: datetime, clock: Callable[[], datetime], progress: Callable[[int, int], None]) -> Demo:
    """Make the organisations, their people and agents, then record the decisions as the agents would."""
    rng = random.Random(SEED)
    logs: dict[str, Log] = {}
    with transaction.atomic():
        for slug, title in ORGANISATIONS.items():
            # The clock's time and not the end of the story: nothing is received before its log was made.
            _, logs[slug] = organisation_create(slug=slug, title=title, now=clock())
        for (organisation, slug), title in AGENTS.items():
            agent_create(organisation=logs[organisation].organisation, slug=slug, title=title)
        password = secrets.token_urlsafe(12)
        user = get_user_model().objects.create_user(STAFF, password=password, is_staff=True, first_name="Ada")
        user.groups.set(Group.objects.filter(name__in=[Role.ADMIN, Role.AUDITOR]))
        for log in logs.values():
            Membership.objects.create(user=user, organisation=log.organisation, role=Role.AUDITOR)
        home: Organisation = logs["northwind-retail"].organisation
        agent = Agent.objects.get(organisation=home, slug="pricing-bot")
        key = apikey_create(organisation=home, agent=agent, scopes=SCOPES, now=now, title="Sample data")
    lines: dict[str, list[bytes]] = {slug: [] for slug in logs}
    for story, line in story_lines(rng, now):
        lines[story.organisation].append(line)
    total, done = sum(map(len, lines.values())), 0
    for slug, log in logs.items():
        tally: Tally = ingest(
            log=log,
            lines=lines[slug],
            actor="system:demo",
            clock=clock,
            progress=partial(_shifted, progress, done, total),
        )
        assert not tally.rejects, tally.rejects[0]
        done += tally.done
    for part in _parts:
        part(log=logs[home.slug], clock=clock)
    for log in logs.values():
        while projections.project_search(log_id=log.pk):  # searchable and countable at first sight
            pass
    entries = sum(Head.objects.values_list("size", flat=True))
    return Demo(STAFF, password, key.text, home.slug, agent.slug, entries)


def _shifted(progress: Callable[[int, int], None], before: int, total: int, count: int) -> None:
    progress(before + count, total)


def story_lines(rng: random.Random, now: datetime) -> Iterator[tuple[Story, bytes]]:
    """Day by day: the decisions in the order of their time, then what became of about a third of them."""
    told = [(at, *_told(rng, at)) for at in _moments(rng, now)]
    seen = [
        (at + timedelta(hours=rng.randint(1, 12)), story, uid)
        for at, story, uid, _ in told
        if rng.random() < 1 / 3
    ]
    lines = [(at, story, record) for at, story, _, record in told]
    lines += [(at, story, _outcome(rng, story, uid, at)) for at, story, uid in seen if at < now]
    # Whole days, because a load takes decisions in batches and each outcome would end one.
    for _, story, line in sorted(lines, key=lambda line: (line[0].date(), "target" in line[2], line[0])):
        yield story, json.dumps(line).encode()


def _moments(rng: random.Random, now: datetime) -> list[datetime]:
    """Instants of the decisions: fewer at night and at weekends, as the work that agents do comes from people."""
    found: list[datetime] = []
    while len(found) < DECISIONS:
        at = now - timedelta(seconds=rng.random() * DAYS * 86_400)
        busy = 1.0 if 7 <= at.hour < 20 else 0.25  # noqa: PLR2004 - hours of a working day
        if rng.random() < busy * (0.45 if at.isoweekday() > 5 else 1.0):  # noqa: PLR2004 - Saturday and Sunday
            found.append(at)
    return sorted(found)


def _told(rng: random.Random, at: datetime) -> tuple[Story, str, dict[str, Any]]:
    story = rng.choice(STORIES)
    uid = uuid7(now_ms=int(at.timestamp() * 1000), rand=rng.randbytes(10))
    record = {
        "id": uid,
        "agent": story.agent,
        "action": story.action,
        "ts": format_time(at),
        "risk": story.risk,
        "explanation": story.explanation.format(**story.facts(rng)),
        "model": {"name": f"{story.agent}-model", "version": "2026-02"},
        "context": story.context(rng),
    }
    return story, uid, record


def _outcome(rng: random.Random, story: Story, target: str, at: datetime) -> dict[str, Any]:
    status, text = rng.choice(story.outcomes)
    uid = uuid7(now_ms=int(at.timestamp() * 1000), rand=rng.randbytes(10))
    return {"id": uid, "target": target, "kind": "outcome", "status": status, "text": text}
