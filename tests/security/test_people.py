"""Private values and people's data in the console against every role, as tests/security/people.yml says."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from ecp_project.api.permissions import ROLES
from ecp_project.console.models import RevealSession
from ecp_project.console.urls import people_urls
from ecp_project.console.views.context_policy import EXAMPLE
from ecp_project.kernel import strict_yaml
from ecp_project.kernel.clock import utc_now
from ledger.services.erasure import erasure_request
from tests.console.desk import REASON, decision, record, revealing, signed_in, staff_acts
from tests.installation import PROJECT
from tests.people import person, staff_actor

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from ledger.models import ErasureRequest
    from tests.people import People

ROWS: list[dict[str, str]] = strict_yaml.load(
    (Path(__file__).parent / "people.yml").read_text(encoding="utf-8")
)
HANDLE = "customer-7"


def name_of(row: dict[str, str]) -> str:
    return f"{row['method']} {row['does']}"


def addresses() -> dict[str, str]:
    """Name and path of every route of this part that is not a record's page."""
    found = {str(route.name): str(route.pattern) for route in people_urls(admin.site)}
    return {name: place for name, place in found.items() if not name.startswith("ledger_")}


@pytest.mark.unit
def test_every_route_has_a_row_and_every_row_a_route() -> None:
    assert {row["route"] for row in ROWS} == set(addresses())
    assert all(set(row) == {"route", "method", "does", *ROLES} for row in ROWS)


def as_document() -> str:
    lines = []
    for row in ROWS:
        place = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", addresses()[row["route"]])
        page = f"{row['does']}: `{row['method']} /console/{place}`"
        lines.append("| " + " | ".join([page, *(row[role] for role in ROLES)]) + " |\n")
    return "".join(lines)


@pytest.mark.unit
def test_document_shows_this_table() -> None:
    document = PROJECT / "docs" / "PRIVACY.md"
    text = document.read_text(encoding="utf-8")
    head, rule, rest = text.partition(
        "| page | viewer | auditor | operator | manufacturer | admin |\n|---|---|---|---|---|---|\n"
    )
    assert rule
    shown, gap, after = rest.partition("\n\n" if rest.startswith("|") else "\n")
    if os.environ.get("ECP_UPDATE_DOCS") == "1":
        document.write_text(f"{head}{rule}{as_document()}\n{after}", encoding="utf-8")
    else:
        assert f"{shown}\n" == as_document()
        assert gap == "\n\n"


# --- what each role meets

pytestmark = pytest.mark.db


@dataclass(frozen=True, slots=True)
class World:
    """A decision about a person, a proposal to erase it, somebody's session; and one person for each role."""

    people: People
    request: ErasureRequest
    session: RevealSession
    staff: dict[str, User]


@pytest.fixture
def world(people: People) -> World:
    record(people.log, decision(context={"customer": "Erika"}, data_subject=HANDLE))
    request = erasure_request(
        log=people.log, handle=HANDLE, basis="legal_order", requested_by=staff_actor(1), now=utc_now()
    )
    revealing(people.ada, people.log)
    staff = {role: person(f"{role}-here", people.acme, role) for role in ROLES}
    return World(people, request, RevealSession.objects.get(), staff)


def ask(row: dict[str, str], world: World, client: Client, *, log: str = "acme") -> Any:
    places: dict[str, dict[str, Any]] = {
        "reveal_list": {"session_id": world.session.pk},
        "erasure_decide": {"pk": world.request.pk},
    }
    form = {
        "log": log,
        "reason": REASON,
        "handle": HANDLE,
        "basis": "legal_order",
        "erasure_reason": REASON,
        "record": EXAMPLE,
        "act": row["does"].partition(" ")[0],
    }
    url = reverse(f"admin:{row['route']}", kwargs=places.get(row["route"]))
    return (
        client.get(url, {"log": log} if row["route"] != "reveal_list" else {})
        if row["method"] == "GET"
        else client.post(url, form)
    )


def browser_of(row: dict[str, str], world: World, user: User, role: str) -> Client:
    is_opener = row["route"] == "data_subject_pack" and role in {"auditor", "operator"}
    return revealing(user, world.people.log) if is_opener else signed_in(user)


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_row_holds_for_every_role(row: dict[str, str], world: World) -> None:
    assert ask(row, world, Client()).status_code == 302
    for role, user in world.staff.items():
        client, before = browser_of(row, world, user, role), len(staff_acts(world.people.log))
        answer = ask(row, world, client)
        if row[role] == "own":  # it is somebody else's
            assert answer.status_code == (404 if row["method"] == "GET" else 403), role
        else:
            assert answer.status_code in ({403} if row[role] == "-" else {200, 302}), role
        if row[role] in {"-", "R", "own"}:
            assert len(staff_acts(world.people.log)) == before, role


@pytest.mark.parametrize("row", ROWS, ids=name_of)
def test_another_organisation_meets_404(row: dict[str, str], world: World) -> None:
    before = len(staff_acts(world.people.log))
    for role in ROLES:
        if row[role] == "-" or row["route"] == "reveal_end":  # which ends only one's own
            continue
        answer = ask(row, world, signed_in(person(f"{role}-there", world.people.other, role)))
        assert answer.status_code == 404, role
    if row["route"] == "erasure_decide":
        admin_there = person("adam-there", world.people.other, "admin")
        assert ask(row, world, signed_in(admin_there), log="umbra").status_code == 404
    assert len(staff_acts(world.people.log)) == before


@pytest.mark.parametrize("route", ["reveal_end", "data_subject_pack", "erasure_propose"])
def test_what_acts_is_not_read(route: str, people: People) -> None:
    answer = signed_in(people.ada).get(reverse(f"admin:{route}"))
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
