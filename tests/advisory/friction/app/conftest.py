"""Fixtures of friction's tests over HTTP and the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ledger.models import Role
from tests.advisory.friction.world import World, activate
from tests.people import ALL_SCOPES, machine, person

if TYPE_CHECKING:
    from tests.people import People


@pytest.fixture
def bare_world(people: People) -> World:
    """The same without any rules."""
    scopes = ALL_SCOPES
    return World(
        people=people,
        agent=machine(people.acme, "pay-agent-3", scopes),
        colleague=machine(people.acme, "refund-bot", scopes),
        stranger=machine(people.other, "pay-agent-3", scopes),
        staff={role: person(f"{role}-here", people.acme, role) for role in Role.values}
        | {"stranger": person("stranger-admin", people.other, Role.ADMIN)},
    )


@pytest.fixture
def world(bare_world: World) -> World:
    activate(bare_world.people)
    return bare_world
