"""Agents: how much they decide, when last, with which key; and who sees which of them."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from ecp_project.console.models import Rollup
from ecp_project.console.rollups import keep_up
from ecp_project.kernel.clock import utc_now
from ledger.models import ApiKey, Membership, Role
from ledger.services.identities import agent_create
from tests.console.desk import decision, record, shown, signed_in
from tests.console.test_frame import check
from tests.factories.entries import KEY_SEED, announced_key
from tests.people import machine, person

if TYPE_CHECKING:
    from tests.people import People

pytestmark = pytest.mark.db
AGENTS = "/console/ledger/agent/"


@pytest.fixture
def acme(people: People) -> People:
    machine(people.acme, "stock-bot")
    agent_create(organisation=people.acme, slug="idle-bot")
    record(people.log, decision(), decision(), decision("Ordered forty kettles.", agent="stock-bot"))
    keep_up(log_id=people.log.id)
    return people


def rows(page: str) -> dict[str, dict[str, str]]:
    """Cells of the list by agent and column."""
    found = {}
    for row in re.findall(r"<tr><t.*?</tr>", page, re.DOTALL):
        cells = {
            name: re.sub(r"<[^>]+>", "", text).strip()
            for name, text in re.findall(r'class="field-(\w+)[^"]*">(.*?)</t[dh]>', row, re.DOTALL)
        }
        found[cells.get("slug", "")] = cells
    return found


def test_list_tells_decisions_keys_and_last_seen(acme: People) -> None:
    found = rows(shown(acme.ben, AGENTS))
    assert set(found) == {"pricing-bot", "stock-bot", "idle-bot"}
    cells = found["pricing-bot"]
    assert (cells["day"], cells["month"], cells["keys"]) == ("2", "2", "API key valid")
    assert re.fullmatch(r"\d+ s", cells["last_seen"])
    idle = found["idle-bot"]
    assert (idle["day"], idle["month"], idle["keys"], idle["last_seen"]) == ("0", "0", "no key", "never")


def test_counts_forget_what_is_too_old(acme: People) -> None:
    now = utc_now()
    Rollup.objects.filter(agent="pricing-bot").update(hour=now - timedelta(days=2))
    Rollup.objects.filter(agent="stock-bot").update(hour=now - timedelta(days=31))
    found = rows(shown(acme.ben, AGENTS))
    assert [(found[name]["day"], found[name]["month"]) for name in ("pricing-bot", "stock-bot")] == [
        ("0", "2"), ("0", "0"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({"expires_at": timedelta(days=3)}, "API key ends soon"),
        ({"expires_at": timedelta(days=-3)}, "API key expired"),
        ({"revoked_at": timedelta(days=-3)}, "no key"),
    ],
)
def test_state_of_keys(acme: People, change: dict[str, timedelta], state: str) -> None:
    ((name, length),) = change.items()
    keys = ApiKey.objects.filter(agent=acme.ada_agent.agent)
    keys.update(**{name: utc_now() + length})
    assert rows(shown(acme.ben, AGENTS))["pricing-bot"]["keys"] == state
    for seed in (KEY_SEED, bytes(32)):
        announced_key(acme.log, seed)
    assert rows(shown(acme.ben, AGENTS))["pricing-bot"]["keys"] == f"signing key, {state}"


def test_list_costs_the_same_for_many_agents(acme: People, django_assert_max_num_queries: Any) -> None:
    for number in range(30):
        machine(acme.acme, f"robot-{number}")
    browser = signed_in(acme.ben)
    with django_assert_max_num_queries(14):
        browser.get(AGENTS)


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.ADMIN])
def test_page_tells_activity_keys_and_how_to_record(acme: People, role: str) -> None:
    announced_key(acme.log)
    page = shown(person("sam", acme.acme, role), f"{AGENTS}{acme.ada_agent.agent.pk}/change/")
    check(page)
    assert "2 decisions from" in page
    assert page.count('<td class="why">') == 2
    assert "Ordered forty kettles." not in page
    assert '"agent": "pricing-bot"' in page.replace("&quot;", '"')
    assert "signing key, API key valid" in page
    assert 'href="/console/ledger/decision/?log=acme&amp;q=agent%3Apricing-bot"' in page
    assert ('name="_save"' in page) == (role == Role.ADMIN)


def test_page_of_an_idle_agent_says_what_is_missing(acme: People) -> None:
    idle = acme.acme.agents.get(slug="idle-bot")
    page = shown(acme.ada, f"{AGENTS}{idle.pk}/change/")
    check(page)
    assert "No decision from" in page
    assert "has no key and cannot record" in page


def test_viewers_and_manufacturers_read_what_an_agent_does_and_not_its_keys(acme: People) -> None:
    announced_key(acme.log)
    maker = person("mia", acme.acme, Role.MANUFACTURER)
    Membership.objects.get(user=maker).agents.add(acme.ada_agent.agent)
    prefix = ApiKey.objects.get(agent=acme.ada_agent.agent).prefix
    place = f"{AGENTS}{acme.ada_agent.agent.pk}/"
    assert f"ecp_{prefix}" in shown(acme.ada, f"{place}change/")
    for reader in (acme.ben, maker):
        page = shown(reader, f"{place}change/")
        check(page)
        assert "2 decisions from" in page
        for kept_back in (prefix, 'id="keys"', "Registration", 'name="_save"'):
            assert kept_back not in page
        assert signed_in(reader).get(f"{place}history/").status_code == 403


def test_registering_is_the_plain_form(acme: People) -> None:
    page = shown(acme.ada, f"{AGENTS}add/")
    check(page)
    assert "Last decisions" not in page


def test_manufacturers_see_their_agents_alone(acme: People) -> None:
    maker = person("mia", acme.acme, Role.MANUFACTURER)
    Membership.objects.get(user=maker).agents.add(acme.acme.agents.get(slug="stock-bot"))
    assert set(rows(shown(maker, AGENTS))) == {"stock-bot"}
    assert signed_in(maker).get(f"{AGENTS}{acme.ada_agent.agent.pk}/change/").status_code == 404


def test_agents_of_one_name_in_two_organisations_are_counted_apart(acme: People) -> None:
    machine(acme.other, "pricing-bot")
    record(acme.other_log, decision())
    keep_up(log_id=acme.other_log.id)
    assert rows(shown(acme.ben, AGENTS))["pricing-bot"]["month"] == "2"
    assert rows(shown(acme.eve, AGENTS))["pricing-bot"]["month"] == "1"
