"""The pages of simulations: an operator asks, watches, stops and reads (FRICTION 10)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from advisory.friction.models import FrictionRuleSetVersion, FrictionSimulation, VersionState
from advisory.friction.services.replaying import simulation_step
from ecp_project.kernel.clock import utc_now
from tests.advisory.friction.app.test_simulations import LENIENT
from tests.advisory.friction.world import activate

if TYPE_CHECKING:
    from tests.advisory.friction.world import World

pytestmark = pytest.mark.db
PAGES = "/console/friction/frictionsimulation/"


def asked(world: World, **members: str) -> Any:
    lenient = activate(world.people, LENIENT, VersionState.SHADOW)
    form = {"version": str(lenient.pk), "last": "1000"} | members
    return world.client("operator").post(PAGES, form)


def test_a_simulation_is_asked_for_run_and_read(world: World) -> None:
    advice = world.ask().json()["id"]
    answer = asked(world)
    assert answer.status_code == 302, answer.content
    page = answer.headers["Location"]
    operator = world.client("operator")
    queued = operator.get(page).content.decode()
    assert "<strong>Waiting</strong>" in queued
    assert "Stop it" in queued
    assert simulation_step(clock=utc_now)
    read = operator.get(page).content.decode()
    result = FrictionSimulation.objects.get().result
    assert result is not None
    for told in (
        "1 of 1 would get another level", "1 replayed with everything the rules read", advice, "High before, Medium now",
        result["result_sha256"], result["new_hash"], "ecp-default, version 2", "PAY-100",
    ):  # fmt: skip
        assert told in read, told
    assert "Stop it" not in read
    assert f'href="{page}"' in operator.get(PAGES).content.decode()


def test_a_simulation_is_stopped(world: World) -> None:
    page = asked(world).headers["Location"]
    operator = world.client("operator")
    assert operator.post(page).status_code == 302
    assert not simulation_step(clock=utc_now)
    assert "<strong>Stopped</strong>" in operator.get(page).content.decode()


@pytest.mark.parametrize("members", [{"version": "0"}, {"version": ""}, {"last": "7"}, {"last": ""}])
def test_what_is_no_choice_is_refused_on_the_page(world: World, members: dict[str, str]) -> None:
    answer = asked(world, **members)
    assert (answer.status_code, b"bad_value" in answer.content) == (400, True)
    assert not FrictionSimulation.objects.exists()


def test_only_operators_of_the_organisation_see_simulations(world: World) -> None:
    page = asked(world).headers["Location"]
    for role in ("viewer", "auditor", "admin"):
        assert world.client(role).get(PAGES).status_code == 403, role
        assert world.client(role).get(page).status_code == 403, role
        assert world.client(role).post(page).status_code == 403, role
    assert world.client("stranger").get(page).status_code == 404
    assert FrictionSimulation.objects.get().state == "queued"


def test_without_a_version_the_page_says_what_to_do(bare_world: World) -> None:
    assert not FrictionRuleSetVersion.objects.exists()
    assert "There is no version to simulate" in bare_world.client("operator").get(PAGES).content.decode()
