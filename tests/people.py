"""Three people for every permission.

Ada owns it, Ben is her colleague, Eve is a stranger (STYLE section 8).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib.auth import get_user_model

from ecp_project.kernel.clock import utc_now
from ledger.models import Agent, Log, Membership, Organisation, Role
from ledger.services.identities import agent_create, apikey_create, organisation_create

if TYPE_CHECKING:
    from django.contrib.auth.models import User

ALL_SCOPES = (
    "decisions:write", "decisions:read", "ledger:read", "export", "advice", "polls:read", "polls:write",
    "polls:answer",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Machine:
    """An agent and the text of its API key."""

    agent: Agent
    key: str

    @property
    def headers(self) -> dict[str, Any]:
        return {"HTTP_AUTHORIZATION": f"Bearer {self.key}"}


@dataclass(frozen=True, slots=True)
class People:
    acme: Organisation
    log: Log
    other: Organisation
    other_log: Log
    ada: User
    ben: User
    eve: User
    ada_agent: Machine
    eve_agent: Machine


def machine(organisation: Organisation, slug: str, scopes: tuple[str, ...] = ALL_SCOPES) -> Machine:
    agent = agent_create(organisation=organisation, slug=slug)
    issued = apikey_create(organisation=organisation, agent=agent, scopes=scopes, now=utc_now())
    return Machine(agent, issued.text)


def person(name: str, organisation: Organisation, role: str) -> User:
    user = get_user_model().objects.create_user(name, password=f"{name} walks the dog at noon", is_staff=True)
    Membership.objects.create(user=user, organisation=organisation, role=role)
    return user


def staff_actor(number: int) -> str:
    """Somebody on staff as the log names people; equal numbers are the same person."""
    return f"staff:{UUID(int=number)}"


def make_people() -> People:
    now = utc_now()
    acme, log = organisation_create(slug="acme", title="Acme", now=now)
    other, other_log = organisation_create(slug="umbra", title="Umbra", now=now)
    return People(
        acme=acme,
        log=log,
        other=other,
        other_log=other_log,
        ada=person("ada", acme, Role.OPERATOR),
        ben=person("ben", acme, Role.VIEWER),
        eve=person("eve", other, Role.ADMIN),
        ada_agent=machine(acme, "pricing-bot"),
        eve_agent=machine(other, "eve-bot"),
    )
