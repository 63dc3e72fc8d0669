"""What a form of the console is sent with, and the one entry that it must leave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.urls import reverse

from ledger.models import Entry, ErasureRequest, Membership

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.auth.models import User

    from ledger.models import Agent
    from tests.people import People

STAFF, ANNOTATION = "ecp.staff/1", "ecp.annotation/1"
HANDLE, TEXT = "customer-7", "The customer was told on the phone."
LOG = {"log": "acme"}


@dataclass(frozen=True, slots=True)
class World:
    """A decision about a person, a note on it, somebody's act and proposal; one person for each role."""

    people: People
    decided: Entry
    noted: Entry
    acted: Entry
    proposal: ErasureRequest
    staff: dict[str, User]
    newcomer: User
    opened: dict[str, Any]

    @property
    def agent(self) -> Agent:
        return self.people.ada_agent.agent

    def member(self, role: str) -> Membership:
        return Membership.objects.get(user=self.staff[role])


@dataclass(frozen=True, slots=True)
class Write:
    """A form as a person of this role sends it, what it records, and what of it is kept when it is refused.

    `about` names the object in the address: arguments of the route, or pairs of the query of a page that an
    app contributes. `action` is the action or kind that the statement `v` names, where it names one.
    `in_session`: sent in the working session that shows private values. `in_halt` is another answer than 503.
    """

    page: str
    role: str
    action: str
    form: Callable[[World], dict[str, Any]]
    about: Callable[[World], list[Any]] = lambda _: []
    kept: str = ""
    in_session: bool = False
    in_halt: int = 503
    v: str = STAFF

    @property
    def told(self) -> str:
        return f"{self.action or self.v} by {self.role} at {self.page}"

    def address(self, world: World) -> str:
        if self.page.endswith("/"):
            return f"{reverse('admin:index')}{self.page}?{urlencode(self.about(world))}"
        return reverse(f"admin:{self.page}", args=self.about(world))
