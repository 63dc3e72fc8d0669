"""The registry of pages is complete, and each page answers with demo data to somebody who may see all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.urls import include, path, resolve

from tests.console.desk import signed_in
from tests.console.pages import NOT_PAGES, PAGES, addresses, named_routes, status_of

if TYPE_CHECKING:
    from tests.console.furnished import Furnished


@pytest.mark.unit
def test_every_route_is_a_page_or_says_what_it_is_instead() -> None:
    assert named_routes() == set(PAGES) | set(NOT_PAGES)
    assert not set(PAGES) & set(NOT_PAGES)


urlpatterns = [
    path("", include("ecp_project.urls")),
    path("public/planted/page/", lambda _: None, name="planted"),  # type: ignore[arg-type,return-value]  # never called
]


@pytest.mark.unit
@pytest.mark.urls(__name__)
def test_new_route_that_is_not_registered_is_noticed() -> None:
    assert named_routes() - set(PAGES) - set(NOT_PAGES) == {"planted"}


@pytest.mark.unit
@pytest.mark.parametrize("name", PAGES)
def test_addresses_lead_to_the_route_under_which_they_stand(name: str) -> None:
    for form in PAGES[name]:
        numbers = dict.fromkeys(("decision", "entry", "act", "agent", "user", "group", "seq", "size"), 1)
        others = dict.fromkeys(("agentkey", "apikey", "organisation", "membership"), 1)
        uids = dict.fromkeys(
            ("advice", "bypass", "simulation", "poll_schedule"), "0199f3c0-0000-7000-8000-000000000000"
        )
        more = dict.fromkeys((
            "version", "older_version", "duty", "target", "poll_closed", "poll_open", "poll_draft",
        ), 1)  # fmt: skip
        address = form.format(log="acme", **numbers, **others, **uids, **more)
        assert resolve(address.partition("?")[0]).view_name == name


@pytest.mark.db
def test_every_page_answers_with_the_status_that_its_address_deserves(furnished: Furnished) -> None:
    browser = signed_in(furnished.user)
    answers = {address: browser.get(address) for address in addresses(furnished.places)}
    assert len(answers) == sum(map(len, PAGES.values())), "a page cannot be reached with this data"
    for address, answer in answers.items():
        assert answer.status_code == status_of(address), address
