"""Every address of the console, by method and role, as tests/security/matrix.yml says (SECURITY section 2).

Rows with `page` speak of people with a session. POST is asked with an empty form: whoever may act is told
what is missing, whoever may not is refused before.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client
from django.urls import reverse

from ecp_project.api.permissions import ROLES
from ecp_project.kernel.panels import registry
from ledger.models import Entry, Membership
from tests.console.furnished import furnish
from tests.console.pages import named_routes, places
from tests.installation import PROJECT
from tests.people import person
from tests.security.test_matrix import PAGE_ROWS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ledger.checkpointer import Checkpointer
    from tests.people import People

METHODS = ("GET", "POST")
OPEN = {"public", "public-log", "public-entry", "public-proof"}  # rows of their own, without a session
SIGNING_IN = {"admin:login", "admin:logout"}
CONTRIBUTED = {"admin:contributed"}  # its rows are by the path of each page
ABOUT = {
    "polls/poll/": "?poll={poll_open}",
    "polls/sheet/": "?poll={poll_open}",
    "polls/step/": "?poll={poll_open}&step=close",
    "polls/by-hand/": "?poll={poll_open}",
}
# What a cell lets an answer be. A form that lacks something is shown again or named as a problem.
DONE = {"R": {200, 302, 409}, "W": {200, 202, 302, 400, 422}, "-": {403}, 404: {404}, 405: {405}}


def rows() -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["page"], row["method"]): row for row in PAGE_ROWS}


def address(name: str, at: Mapping[str, Any]) -> str:
    """An address of the route, about an object of these places where it is about one."""
    if name.endswith("/"):
        return f"/console/{name}{ABOUT.get(name, '').format(**at)}"
    route = name.removeprefix("admin:")
    special: dict[str, list[Any]] = {
        "record": [at["uid"]],
        "position": [at["log"], at["seq"]],
        "hash": [at["hash"]],
        "saved_view": [at["view"]],
        "console_export_file": [at["export"]],
        "console_export_manifest": [at["export"]],
        "console_evidence_file": [at["pack"]],
        "view_on_site": [1, 1],
        "app_list": ["ledger"],
    }
    app, _, rest = route.partition("_")
    model = rest.partition("_")[0]
    is_list = rest.endswith(("_changelist", "_add", "_facets"))
    about = "erasure" if model == "erasurerequest" else model
    if app in {"ledger", "auth"} and not is_list:
        return reverse(name, args=[at[about]])
    return reverse(name, args=special.get(route, []))


@pytest.mark.unit
def test_every_address_and_method_has_a_row_and_every_row_an_address() -> None:
    pages = {page.path for page in registry.pages()}
    names = named_routes() - OPEN - SIGNING_IN - CONTRIBUTED | pages
    wanted = {(name, method) for name in names for method in METHODS}
    assert set(rows()) == wanted


@pytest.mark.unit
def test_rows_are_complete() -> None:
    for row in PAGE_ROWS:
        assert set(row) == {"page", "method", "foreign", *ROLES}
        assert {row[role] for role in ROLES} <= set(DONE)
        assert row["foreign"] in {404, "as"}


def as_document() -> str:
    """Rows of the table in docs/SECURITY.md."""
    cells = ("method", "page", *ROLES, "foreign")
    lines = []
    for row in PAGE_ROWS:
        shown = row | {"method": f"`{row['method']}`", "page": f"`{row['page'].removeprefix('admin:')}`"}
        lines.append("| " + " | ".join(str(shown[cell]) for cell in cells) + " |\n")
    return "".join(lines)


@pytest.mark.unit
def test_document_shows_this_table() -> None:
    document = PROJECT / "docs" / "SECURITY.md"
    text = document.read_text(encoding="utf-8")
    head, rule, rest = text.partition("\n|---|---|---|---|---|---|---|---|\n")
    assert rule
    _, _, after = rest.partition("\n\n")
    wanted = f"{head}{rule}{as_document()}\n{after}"
    if os.environ.get("ECP_UPDATE_DOCS") == "1":
        document.write_text(wanted, encoding="utf-8")
    else:
        assert text == wanted


@pytest.mark.db
def test_rows_hold_for_every_role_at_home_and_elsewhere(
    people: People, checkpointer: Checkpointer, settings: Any, tmp_path: Path
) -> None:
    settings.ECP_FILES_DIR = tmp_path / "files"
    furnished = furnish(people, checkpointer)
    decided = furnished.entries[0]
    at = places(log=furnished.log, user=furnished.user) | {
        "decision": decided.pk,
        "seq": decided.seq,
        "uid": decided.uid,
        "hash": bytes(decided.leaf_hash).hex(),
    }
    home = {role: session(person(f"{role}-here", people.acme, role)) for role in ROLES}
    maker = Membership.objects.get(organisation=people.acme, role="manufacturer")
    maker.agents.add(people.ada_agent.agent)
    away = {role: session(person(f"{role}-there", people.other, role)) for role in ROLES}
    size = Entry.objects.filter(kind="ecp.staff/1").count()
    wrong = []
    for (name, method), row in rows().items():
        url = address(name, at)
        stranger = Client().generic(method, url)
        if stranger.status_code != 302 or "/console/login/" not in stranger.headers["Location"]:
            wrong.append((name, method, "anonymous", stranger.status_code))
        for role in ROLES:
            status = asked(home[role], method, url)
            if status not in DONE[row[role]]:
                wrong.append((name, method, role, status))
            status = asked(away[role], method, url)
            if status not in (DONE[404] if row["foreign"] == 404 else DONE[row[role]]) | DONE["-"]:
                wrong.append((name, method, f"{role} of another organisation", status))
    assert wrong == []
    assert Entry.objects.filter(kind="ecp.staff/1").count() == size, "an empty form left an act on record"


def session(user: Any) -> Client:
    client = Client()
    client.force_login(user)
    return client


def asked(client: Client, method: str, url: str) -> int:
    answer = client.generic(method, url, content_type="application/x-www-form-urlencoded")
    status: int = answer.status_code
    if answer.streaming:
        answer.getvalue()
        answer.close()
    return status


@pytest.mark.db
@pytest.mark.parametrize("model", ["decision", "entry"])
def test_even_a_superuser_adds_changes_and_deletes_no_entry(
    people: People, checkpointer: Checkpointer, settings: Any, tmp_path: Path, model: str
) -> None:
    settings.ECP_FILES_DIR = tmp_path / "files"
    furnished = furnish(people, checkpointer)
    pk = furnished.entries[0].pk
    before = list(Entry.objects.order_by("id").values_list("id", "leaf_hash", "entry"))
    list_ = f"/console/ledger/{model}/"
    for url in (f"{list_}add/", f"{list_}{pk}/change/", f"{list_}{pk}/delete/"):
        assert asked(session(furnished.user), "POST", url) in {403, 405}, url
    assert list(Entry.objects.order_by("id").values_list("id", "leaf_hash", "entry")) == before
